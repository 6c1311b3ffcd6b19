"""What MLflow takes: names, flat parameters, and nothing that looks secret."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from descant.core.spec import SECRET_KEY

LONGEST_PARAM = 500
HIDDEN = "(not logged: its name looks secret)"
_NOT_A_NAME = re.compile(r"[^\w\-. :/]", re.ASCII)
_CREDENTIALS = re.compile(r"//[^/@\s]+@")


def name_of(text: str) -> str:
    """``text`` as MLflow takes it for a name: ``ndcg@10`` becomes ``ndcg_at_10``."""
    return _NOT_A_NAME.sub("_", text.replace("@", "_at_"))[:250]


def as_params(spec: Mapping[str, Any]) -> dict[str, str]:
    """The leaves of a canonical spec by dotted name; text as it is, all else as JSON.

    Lists of plain values stay together. Values of more than 500 characters become their sha256 and length.
    """
    params = {}
    for key, value in _leaves(spec):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if len(text) > LONGEST_PARAM:
            digest = hashlib.sha256(text.encode()).hexdigest()
            text = f"sha256:{digest} ({len(text)} characters, whole in spec.json)"
        params[name_of(key)] = text
    return params


def without_secrets(value: Any) -> Any:
    """A canonical value without what stands under a key that looks secret, and without passwords in URLs."""
    if isinstance(value, dict):
        return {k: HIDDEN if SECRET_KEY.search(k) else without_secrets(v) for k, v in value.items()}
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return without_credentials(value) if isinstance(value, str) else value


def has_secrets(value: Any) -> bool:
    """Whether ``without_secrets`` takes something out."""
    return bool(without_secrets(value) != value)


def without_credentials(text: str) -> str:
    """``text`` with ``user:password@`` taken out of every URL in it."""
    return _CREDENTIALS.sub("//", text)


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and (value or not prefix):
        items = list(value.items())
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        items = list(enumerate(value))
    else:
        yield prefix, value
        return
    for key, item in items:
        yield from _leaves(item, f"{prefix}.{key}" if prefix else str(key))

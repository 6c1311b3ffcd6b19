"""Write ``docs/methods.md`` from the specs: ``make methods``."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from descant.adapters import METHODS, Method
from descant.adapters.library import PeftMethod

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"

HEAD = """# Adaptation methods

Written by `make methods` from the specs in `platform/descant/adapters`. A recipe names a method by its kind
and sets what differs from the defaults, under PEFT's own argument names: `method: {kind: lora, r: 8}`.
[How to add one](adding/method.md).

Trained parameters are summed over the adapted layers; inputs, outputs: the sizes of a layer.
"""
SUPPORT = """
## What each supports

- merge: the change can be folded into the base's weights.
- start: whether the untrained adapter leaves the base's outputs as they are.
- base kept: attaching leaves the base's weights alone, and a disabled adapter gives the base. Where it does
  not, the base must be fp32, and what is saved is LoRA of rank 2r for the base as it was.
- ZeRO: DeepSpeed stages that give the same numbers.
- quantised: trains, saves and loads over bitsandbytes' 8-bit and 4-bit weights, tried on a CPU, where only dora
  over 8-bit weights fails. A bf16 base needs autocast with adalora, randlora, shira and ia3. Merging rounds the
  weights anew; adalora and ia3 cannot merge there.
- several: one base can carry several adapters, switched and deleted through PEFT.
- trains: whether the training stage takes the method.
"""


def methods_page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_overview(), SUPPORT, *_support(), *_sections()]) + "\n"


def _overview() -> Iterator[str]:
    yield from _table_head("method", "kind", "paper", "trained parameters")
    for method in METHODS:
        title, _, paper = _described(method)
        yield _row(
            f"[{title}](#{_anchor(title)})", f"`{_kind(method)}`", paper, _first(method.num_parameters)
        )


def _support() -> Iterator[str]:
    yield from _table_head(
        "kind", "merge", "start", "base kept", "ZeRO", "layers", "quantised", "several", "trains"
    )
    for m in METHODS:
        tuner = m if issubclass(m, PeftMethod) else None
        yield _row(
            f"`{_kind(m)}`",
            _yes(m.mergeable),
            "at the base" if m.starts_at_base else "elsewhere",
            _yes(m.keeps_base and m.adapter_only),
            ", ".join(map(str, m.zero_stages)) or "not tried",
            (", ".join(tuner.layers) or "none") if tuner else "all",
            _yes(tuner.quantised) if tuner else "no",
            _yes(tuner.several_adapters) if tuner else "no",
            _yes(not m.untrainable),
        )


def _sections() -> Iterator[str]:
    for method in METHODS:
        title, what, paper = _described(method)
        yield f"\n## {title}\n"
        yield f"{what[0].upper()}{what[1:]}{f' ({paper})' if paper else ''}."
        if notes := " ".join(_text(method).split("\n\n", 1)[1:]).split():
            yield f"\n{' '.join(notes)}"
        if method.untrainable:
            yield f"\nRefused by the training stage: {method.untrainable}."
        fields = {name: field for name, field in method.model_fields.items() if name != "kind"}
        if fields:
            yield ""
            yield from _table_head("field", "default", "meaning")
            for name, field in fields.items():
                default = "required" if field.is_required() else f"`{_yaml(field.default)}`"
                yield _row(f"`{name}`", default, field.description or "")


def _described(method: type[Method]) -> tuple[str, str, str]:
    """Name, sentence and linked paper, from the first line of the docstring."""
    first = _text(method).split("\n")[0]
    found = re.fullmatch(r"(.+?): (.+?)(?: \(arXiv:([\d.]+)\))?\.", first)
    assert found is not None, f"{method.__name__}: {first}"
    title, what, number = found.groups()
    return title, what, f"[{number}](https://arxiv.org/abs/{number})" if number else ""


def _text(thing: Any) -> str:
    return re.sub(r"``", "`", re.sub(r"\n    ", "\n", (thing.__doc__ or "").strip()))


def _first(thing: Any) -> str:
    return _text(thing).split("\n")[0].removesuffix(".")


def _kind(method: type[Method]) -> str:
    return str(method.model_fields["kind"].default)


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _yaml(value: Any) -> str:
    """``value`` as a recipe writes it."""
    return json.dumps(value) if not isinstance(value, str) else value


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _table_head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield _row(*["---"] * len(names))


def _row(*cells: str) -> str:
    return f"| {' | '.join(' '.join(cell.replace('``', '`').split()) for cell in cells)} |"


def main() -> None:
    """Write the page."""
    PAGE.write_text(methods_page(), "utf-8")
    sys.stdout.write(f"{PAGE}: {len(METHODS)} methods\n")


if __name__ == "__main__":
    main()

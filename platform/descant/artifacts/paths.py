"""The one function that turns names into paths."""

import os
import re
from pathlib import Path

from descant.core.errors import PolicyError

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")


def inside(root: Path, *names: str) -> Path:
    """``root`` joined with ``names``; every part of every name is checked and the result stays under ``root``.

    A name may hold several parts separated by ``/``. Raises PolicyError for absolute paths, ``..``, hidden files,
    control characters and anything else outside ``[A-Za-z0-9._-]``, and for links that lead out of ``root``.
    """
    parts = [part for name in names for part in name.split("/")]
    bad = [part for part in parts if not NAME.match(part) or part in (".", "..")]
    if bad or not parts:
        raise PolicyError(
            "E-PATH-NAME",
            repr("/".join(names))[:200],
            f"the part {bad[0][:80]!r} does not match {NAME.pattern}" if bad else "the name is empty",
            "Nothing outside the store was opened. Use letters, digits, '.', '_' and '-'.",
        )
    path = root.joinpath(*parts)
    if not path.resolve().is_relative_to(root.resolve()):
        raise PolicyError(
            "E-PATH-ROOT", str(path), f"leads out of {root}", "Nothing was opened. Remove the link."
        )
    return path


def home() -> Path:
    """``DESCANT_HOME``, in the user's home unless the variable says otherwise: clusters, and stores on URLs."""
    return Path(os.environ.get("DESCANT_HOME") or Path.home() / ".descant").absolute()

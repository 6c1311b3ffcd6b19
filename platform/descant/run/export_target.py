"""Where an export goes: a folder that appears whole, once it was checked, or not at all."""

import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from descant.artifacts.commit import storage_errors
from descant.core.errors import ConfigError


@contextmanager
def drafted(target: Path) -> Iterator[Path]:
    """A new folder beside ``target`` that becomes it where nothing is raised.

    Raises ConfigError where ``target`` is there already and not empty.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(
            "E-EXP-TARGET", str(target), "is there already", "Nothing was written. Name a new folder."
        )
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    with storage_errors(target.parent):
        try:
            draft.mkdir(parents=True)
            yield draft
            if target.is_dir():
                target.rmdir()
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def unknown_form(form: str, known: Sequence[str]) -> ConfigError:
    """The error of a form that a model cannot be exported in."""
    return ConfigError("E-EXP-FORM", form, f"expected one of {', '.join(known)}", "Nothing was written.")

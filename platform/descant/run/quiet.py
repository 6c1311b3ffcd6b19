"""Keeping the terminal for people: what libraries say goes to a file."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def noise_in(path: Path) -> Iterator[None]:
    """Send standard error of this process and of what it starts to ``path``, from the C++ of libraries too, and
    DeepSpeed's log.

    Our own warnings still reach the terminal.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    terminal = os.dup(2)
    with path.open("w", encoding="utf-8") as log, os.fdopen(terminal, "w", closefd=False) as shown:
        handler = logging.StreamHandler(shown)
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        ours = logging.getLogger("descant")
        ours.addHandler(handler)
        propagated, ours.propagate = ours.propagate, False
        os.dup2(log.fileno(), 2)
        deepspeed = logging.getLogger("DeepSpeed")  # writes to standard output
        deepspeed.addFilter(_to_standard_error)
        try:
            yield
        finally:
            deepspeed.removeFilter(_to_standard_error)
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            ours.removeHandler(handler)
            ours.propagate = propagated


def _to_standard_error(record: logging.LogRecord) -> bool:
    """A filter that lets nothing through, since it has written the record itself."""
    os.write(2, f"{record.getMessage()}\n".encode())
    return False

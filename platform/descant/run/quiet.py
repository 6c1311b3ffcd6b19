"""Keeping the terminal for people: what libraries say goes to a file."""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast


@contextlib.contextmanager
def noise_in(path: Path) -> Iterator[None]:
    """Send standard error of this process and of what it starts to ``path``, from the C++ of libraries too, DeepSpeed's
    log and what Ray says of its nodes.

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
        output, sys.stdout = sys.stdout, cast(TextIO, _WithoutRay(sys.stdout))
        deepspeed = logging.getLogger("DeepSpeed")  # writes to standard output
        deepspeed.addFilter(_to_standard_error)
        try:
            yield
        finally:
            sys.stdout = output
            deepspeed.removeFilter(_to_standard_error)
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            ours.removeHandler(handler)
            ours.propagate = propagated


class _WithoutRay:
    """Standard output, but for the threads in which Ray prints whatever happens to its nodes and workers."""

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def write(self, text: str) -> int:
        """Where ``text`` goes depends on the thread."""
        if not threading.current_thread().name.startswith("ray_"):
            return self._output.write(text)
        os.write(2, text.encode())
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._output, name)


def _to_standard_error(record: logging.LogRecord) -> bool:
    """A filter that lets nothing through, since it has written the record itself."""
    os.write(2, f"{record.getMessage()}\n".encode())
    return False

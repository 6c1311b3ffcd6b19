"""Any error of a command as one message, its exit code and, where it helps, a file with the trace."""

import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NoReturn

from descant.artifacts.store import Store, store_root
from descant.core.errors import DescantError
from descant.core.printable import printable


def fail(message: str, code: int, error: BaseException) -> NoReturn:
    """Print ``message`` and end with ``code``; except after bad usage and Ctrl-C the trace goes to a file."""
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, stderr=True)
    console.print(Text(printable(message)))
    if code not in (2, 130):
        path = _trace_file(code)
        if path is not None:
            path.write_text("".join(traceback.format_exception(error)), "utf-8", "backslashreplace")
            console.print(Text(f"(the trace is in {path})", style="dim"))
    sys.exit(code)


def _trace_file(code: int) -> Path | None:
    """In the store; where there is none, a temporary file for our own bugs and nothing for the rest."""
    try:
        folder = Store(store_root()).root
    except DescantError:  # DESCANT_STORE is what is wrong
        return None
    if folder.is_dir() and os.access(folder, os.W_OK):
        return folder / "last-error.txt"
    if code != 1:
        return None
    descriptor, path = tempfile.mkstemp(prefix="descant-error-", suffix=".txt")
    os.close(descriptor)
    return Path(path)

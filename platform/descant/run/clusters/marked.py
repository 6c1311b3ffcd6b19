"""Processes that carry a mark in their environment: found and ended, whatever became of who started them."""

import os
from contextlib import suppress

import psutil

END_SECONDS = 5.0
"""What processes may take to end when they are asked to, before they are killed."""


def end_marked(name: str, value: str) -> int:
    """End every process whose variable ``name`` is ``value``, and all that these started; how many there were."""
    left = list(marked(name, value))
    number = len(left)
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for process in left:
            with suppress(psutil.NoSuchProcess):
                end(process)
        _, left = psutil.wait_procs(left, timeout=END_SECONDS)
    return number


def marked(name: str, value: str) -> set[psutil.Process]:
    """Every process whose variable ``name`` is ``value``, and all that these started: one that renames itself, as Ray's
    workers do, may lose what was written beside its name.
    """
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with suppress(psutil.AccessDenied, psutil.NoSuchProcess):
            if process.environ().get(name) == value:
                found |= {process, *process.children(recursive=True)}
    return {process for process in found if process.pid != os.getpid()}

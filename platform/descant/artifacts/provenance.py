"""Which code, on which machine, made a result."""

import functools
import platform
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from descant import __version__

_PACKAGES = ("ray", "torch", "transformers", "peft", "deepspeed", "faiss-cpu", "faiss-gpu", "bm25s", "mlflow")


@functools.cache
def provenance() -> dict[str, Any]:
    """Commit and dirty flag (None outside a git checkout), package versions, Python, host and command line."""
    commit = _git("rev-parse", "HEAD")
    return {
        "descant": __version__,
        "commit": commit,
        "dirty": bool(_git("status", "--porcelain")) if commit else None,
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "host": socket.gethostname(),
        "argv": [part if len(part) < 500 else part[:500] for part in sys.argv],
    }


def code_of(made: Mapping[str, Any]) -> dict[str, str]:
    """Of a provenance, the code: version and, from a checkout, the commit, with a mark when files have changed."""
    commit = f"{made['commit']}{' with changes' if made['dirty'] else ''}"
    return {"descant": made["descant"], **({"commit": commit} if made["commit"] else {})}


def made_by(made: Mapping[str, Any]) -> dict[str, str]:
    """Of a provenance, what a report names: versions and commit, the same wherever and however it was run."""
    return {**code_of(made), "python": made["python"], **made["packages"]}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

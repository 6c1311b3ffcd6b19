"""The command line as a user runs it, and what it leaves in the store."""

import os
import subprocess
import sys
from pathlib import Path

from descant.artifacts.store import Artifact, Store

ROOT = Path(__file__).parents[2]


def descant(store: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``descant ARGUMENTS --store STORE`` in the repository; no test setting reaches it but the store."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTEST"))}
    command = [sys.executable, "-m", "descant.cli", *arguments, "--store", str(store)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)


def finished_run(recipe: str, store: Path) -> tuple[Store, str]:
    """The store after ``descant run RECIPE`` and what that printed; an exit code other than 0 fails the test."""
    done = descant(store, "run", recipe, "--compute", "clusters/local")
    assert done.returncode == 0, done.stdout + done.stderr
    return Store(store.absolute()), done.stdout


def labelled(store: Store, label: str) -> Artifact:
    """The result of the step called ``label``."""
    return next(artifact for artifact in store.all() if artifact.manifest.label == label)

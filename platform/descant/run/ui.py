"""Opening the MLflow pages of a store."""

import os
import sys
from pathlib import Path

from descant.core.errors import ConfigError
from descant.run.loggable import without_credentials
from descant.run.mlflow_client import ARTIFACTS, DATABASE, ENVIRONMENT
from descant.run.tracking import send_spooled


def serve(root: Path, port: int) -> None:
    """Become an MLflow server on the loopback address over the store at ``root``; returns only by raising.

    Raises ConfigError when nothing was tracked there, or when runs are tracked by a server already.
    """
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        raise ConfigError(
            "E-UI-SERVER",
            without_credentials(uri),
            "runs are tracked by that server",
            "Open its pages in a browser, or unset MLFLOW_TRACKING_URI.",
        )
    database = (root / DATABASE).resolve()
    if not database.is_file():
        raise ConfigError("E-UI-EMPTY", str(database), "nothing was tracked here yet", "Run a recipe first.")
    send_spooled(root)
    arguments = [
        *("-m", "mlflow", "server"),
        *("--backend-store-uri", f"sqlite:///{database}"),
        *("--artifacts-destination", (root / ARTIFACTS).resolve().as_uri()),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--allowed-hosts", f"localhost:{port},127.0.0.1:{port}"),
    ]
    os.execve(sys.executable, [sys.executable, *arguments], {**os.environ, **ENVIRONMENT})

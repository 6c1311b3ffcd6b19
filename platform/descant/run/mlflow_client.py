"""Reaching MLflow: the server that MLFLOW_TRACKING_URI names, or a SQLite database inside the store.

Only ``mlflow.MlflowClient`` is used, with its address given: the fluent functions share one active run and
one address per process, so two jobs in one process would write into each other.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from descant.artifacts.commit import storage_errors
from descant.core.errors import ConfigError, DependencyError
from descant.run.loggable import without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
LOCK = "mlflow.lock"
DEFAULT_EXPERIMENT = "descant"
SETTING = "DESCANT_TRACKING"

ENVIRONMENT = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


@dataclass(frozen=True)
class Connection:
    """An MLflow that answered, and the experiment in it."""

    client: MlflowClient
    uri: str
    experiment_id: str
    artifacts: str | None
    """Where new experiments keep their files; None leaves it to the server."""

    @property
    def address(self) -> str:
        """The address for messages, without user name and password."""
        return without_credentials(self.uri)


def connect(root: Path, experiment: str | None = None) -> Connection:
    """The MLflow of the store at ``root``, or the server that MLFLOW_TRACKING_URI names.

    The experiment is ``experiment``, else MLFLOW_EXPERIMENT_NAME, else ``descant``; it is created when there
    is none. Raises DependencyError after three tries when nothing answers, ConfigError when the experiment
    was deleted.
    """
    prepare()
    from mlflow import MlflowClient

    uri, name = tracking_uri(root), experiment_name(experiment)
    if os.environ.get("MLFLOW_TRACKING_URI"):
        with answering(uri):
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            return Connection(client, uri, experiment_id(client, name, None), None)
    with storage_errors(root), _one_at_a_time(root), answering(uri):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        artifacts = (root / ARTIFACTS).resolve().as_uri()
        return Connection(client, uri, experiment_id(client, name, artifacts), artifacts)


def is_strict() -> bool:
    """Whether DESCANT_TRACKING=strict asks for an error where records stay behind; ConfigError for other values."""
    value = os.environ.get(SETTING, "spool")
    if value not in ("spool", "strict"):
        raise ConfigError(
            "E-TRK-SETTING",
            f"{SETTING}={value}"[:100],
            "expected 'spool' or 'strict'",
            "Nothing was started.",
        )
    return value == "strict"


def prepare() -> None:
    """Give MLflow our settings, where the user has not set them, and import it: seconds the first time."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401

    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.WARNING)


def tracking_uri(root: Path) -> str:
    """The server that MLFLOW_TRACKING_URI names, else the database in the store at ``root``."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(root / DATABASE).resolve()}"


def experiment_name(experiment: str | None = None) -> str:
    """``experiment``, else MLFLOW_EXPERIMENT_NAME, else ``descant``."""
    return experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """Turn what MLflow raises into a DependencyError that names its address without credentials."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    try:
        yield
    except (MlflowException, RequestException) as error:
        reason = without_credentials(str(error)).splitlines() or [type(error).__name__]
        raise DependencyError(
            "E-TRK-MLFLOW",
            without_credentials(uri),
            f"MLflow did not do what was asked ({reason[0][:300]})",
            "Finished results are kept. Start that server, or unset MLFLOW_TRACKING_URI to use the store's "
            "own database, and run the same command.",
        ) from None


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """MLflow's own creation of a database fails when several processes begin it at once."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed, and when the process dies
        yield


def experiment_id(client: MlflowClient, name: str, artifacts: str | None) -> str:
    """The id of the experiment ``name``, which is created when there is none; ConfigError when it was deleted."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, artifact_location=artifacts)
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process made it in between
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise ConfigError(
            "E-TRK-EXPERIMENT",
            f"experiment {name!r}",
            "it was deleted in MLflow, and a deleted experiment takes no runs",
            f"Nothing was started. Restore it (mlflow experiments restore -x {found.experiment_id}) or set "
            "MLFLOW_EXPERIMENT_NAME to another name.",
        )
    return str(found.experiment_id)

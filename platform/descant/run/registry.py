"""The registry: versions of models that say what they were made from and whether they are better.

A version is the folder of a retriever, a classifier or a causal language model among the artifacts of a run,
with tags: the sha256 of every file, of its base model, tokenizer and data, the commit, scores with intervals,
and the outcome of the paired test that decides whether it becomes the ``champion``.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from descant.artifacts.commit import files_of, storage_errors
from descant.artifacts.provenance import code_of, provenance
from descant.artifacts.store import Store
from descant.core.errors import ConfigError
from descant.core.fingerprint import file_digest, folder_digest
from descant.run.gate import CHAMPION, EVIDENCE, Evidence, PairedTest, judge
from descant.run.lineage import lineage_of
from descant.run.mlflow_client import Connection, answering, connect
from descant.run.pyfunc import mlmodel
from descant.run.runs import JobRun
from descant.run.tracking import send_spooled
from descant.run.versions import (
    MODEL,
    RETRIEVER,
    Version,
    check_digests,
    check_formats,
    check_name,
    find_version,
    opened,
    versions_of,
)


def register(
    job: JobRun,
    folder: Path,
    name: str,
    *,
    lineage: Mapping[str, str],
    evidence: Evidence,
    paired_test: PairedTest,
    force: bool = False,
) -> Version:
    """Register the model in ``folder`` as a version of ``name``; equal bytes are registered once.

    ``lineage`` holds what the folder does not know: digests of data, judgements and recipe, fingerprints. The
    version becomes the champion when ``paired_test`` finds it better than the present one or, for the first,
    than its base model; or when ``force`` is set, which is recorded with user and time.

    Raises ConfigError for the name or a folder that holds no model, PolicyError for files that could run
    code, DependencyError when MLflow does not answer, and what ``judge`` raises; the version is registered by
    then, and the same call judges it again.
    """
    check_name(name)
    connection = job.connection
    tags = {**_digests(folder), **lineage_of(folder), **code_of(provenance()), **lineage}
    known = [v for v in versions_of(connection, name) if v.digest == tags["digest"]]
    version = known[0] if known else _create(job, folder, name, evidence, tags)
    if "promotion" not in version.tags:
        better, why = judge(connection, version, evidence, paired_test)
        if better:
            _crown(connection, version)
        _set_tags(connection, version, {"promotion": why})
    if force:
        _force(connection, version)
    return find_version(connection, version.uri)


def promote(source: str, store: Store) -> Version:
    """Make the version ``source`` the champion of its name without a test; recorded with user and time."""
    connection = connected(store)
    version = find_version(connection, source)
    _force(connection, version)
    return find_version(connection, version.uri)


def list_versions(store: Store, name: str | None = None) -> list[Version]:
    """Every version, or those of ``name``, by name and number."""
    return versions_of(connected(store), name)


def show(source: str, store: Store) -> Version:
    """The version that ``models:/NAME@ALIAS`` or ``models:/NAME/NUMBER`` names; ConfigError where none is."""
    return find_version(connected(store), source)


def connected(store: Store) -> Connection:
    """The MLflow of the store, which first gets what earlier commands could not send; raises as ``connect``."""
    connection = connect(store.root)
    send_spooled(store.root)
    return connection


def model_folder(source: str, store: Store) -> Path:
    """The checked folder of a registered version, or of the training with the fingerprint ``source``.

    Raises what ``opened`` raises, ConfigError when there is no such version or result, or no model in it.
    """
    if source.startswith("models:"):
        connection = connected(store)
        return opened(connection, find_version(connection, source), store.root)
    artifact = store.resolve(source)
    found = [name for name in (RETRIEVER, MODEL) if name in artifact.names()]
    if not found:
        raise ConfigError(
            "E-REG-SOURCE",
            artifact.address,
            f"has no part '{RETRIEVER}' or '{MODEL}'; it has {', '.join(artifact.names()[:5])}",
            "Give models:/NAME@champion or the fingerprint of a training. See: descant show",
        )
    return artifact.path(found[0])


def load(source: str, store: Store, *, device: str = "cpu") -> Any:
    """The Retriever, Classifier or CausalModel that ``source`` names.

    All of its files are hashed before any of them is loaded. Raises what ``model_folder`` raises.
    """
    folder = model_folder(source, store)
    if lineage_of(folder)["kind"] == RETRIEVER:
        from descant.models.retriever import load_retriever

        return load_retriever(folder, device=device)
    from descant.models.trained import load_trained

    return load_trained(folder, device=device)


def pull(source: str, target: Path, store: Store) -> Path:
    """Copy the folder of the version ``source`` to ``target``, every file of the copy checked; returns ``target``.

    Raises ConfigError where ``target`` is there already, and what ``opened`` raises.
    """
    if target.exists():
        raise ConfigError(
            "E-REG-TARGET", str(target), "is there already", "Nothing was written. Name another folder."
        )
    connection = connected(store)
    version = find_version(connection, source)
    folder = opened(connection, version, store.root)
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as draft:
            copy = Path(shutil.copytree(folder, Path(draft) / target.name))
            check_digests(copy, json.loads(version.tags["files"]))
            copy.rename(target)
    return target


def _digests(folder: Path) -> dict[str, str]:
    check_formats(folder)
    files = {relative: file_digest(path) for relative, path in files_of(folder).items()}
    return {"digest": folder_digest(files), "files": json.dumps(files)}


def _create(job: JobRun, folder: Path, name: str, evidence: Evidence, tags: dict[str, str]) -> Version:
    text = evidence.text()
    tags = {**tags, "evidence_sha256": hashlib.sha256(text.encode()).hexdigest()}
    tags |= {
        f"score.{m}": "{:.4f} [{:.4f}, {:.4f}]".format(*three) for m, three in evidence.intervals.items()
    }
    kind = tags["kind"]
    with job.stage(f"register {name}", tags["digest"][:12], tags) as run:
        run.artifacts(folder, f"{MODEL}/{kind}")
        run.text(f"{MODEL}/MLmodel", mlmodel(kind))
        run.text(EVIDENCE, text)
        connection = run.connection  # everything has arrived
        client = connection.client
        with answering(connection.uri):
            if not client.search_registered_models(f"name = '{name}'"):
                client.create_registered_model(name)
            source = f"{client.get_run(run.run_id).info.artifact_uri}/{MODEL}"
            made = client.create_model_version(name, source, run.run_id, tags=tags)
    return find_version(job.connection, f"models:/{name}/{made.version}")


def _force(connection: Connection, version: Version) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    _set_tags(connection, version, {"forced_by": _user(), "forced_at": now})
    _crown(connection, version)


def _crown(connection: Connection, version: Version) -> None:
    with answering(connection.uri):
        connection.client.set_registered_model_alias(version.name, CHAMPION, str(version.number))


def _set_tags(connection: Connection, version: Version, tags: Mapping[str, str]) -> None:
    with answering(connection.uri):
        for key, value in tags.items():
            connection.client.set_model_version_tag(version.name, str(version.number), key, value)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"

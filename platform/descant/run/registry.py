"""The registry: versions of retrievers that say what they were made from and whether they are better.

A version is a retriever's folder among the artifacts of a run, with tags: the sha256 of every file, of its
base model, tokenizer and data, the commit, scores with intervals, and the outcome of the paired test that
decides whether it becomes the ``champion``.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from descant.artifacts.commit import files_of
from descant.artifacts.models import StoredModel
from descant.artifacts.store import Store
from descant.artifacts.weights import model_digest, pinned_files
from descant.core.errors import ConfigError
from descant.core.fingerprint import file_digest, folder_digest
from descant.run.gate import CHAMPION, EVIDENCE, Evidence, PairedTest, judge
from descant.run.loggable import made_by
from descant.run.mlflow_client import Connection, answering, connect
from descant.run.pyfunc import mlmodel
from descant.run.tracking import JobRun
from descant.run.versions import (
    MODEL,
    RETRIEVER,
    Version,
    check_formats,
    check_name,
    find_version,
    opened,
    versions_of,
)

if TYPE_CHECKING:
    from descant.models.retriever import Retriever


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
    """Register the retriever in ``folder`` as a version of ``name``; equal bytes are registered once.

    ``lineage`` holds what the folder does not know: digests of data, judgements and recipe, fingerprints. The
    version becomes the champion when ``paired_test`` finds it better than the present one or, for the first,
    than its base model; or when ``force`` is set, which is recorded with user and time.

    Raises ConfigError for the name or a folder that holds no retriever, PolicyError for files that could run
    code, and what ``judge`` raises; the version is registered by then, and the same call judges it again.
    """
    check_name(name)
    connection = job.connection
    tags = {**_digests(folder), **lineage_of(folder), **made_by(), **lineage}
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
    connection = connect(store.root)
    version = find_version(connection, source)
    _force(connection, version)
    return find_version(connection, version.uri)


def list_versions(store: Store, name: str | None = None) -> list[Version]:
    """Every version, or those of ``name``, by name and number."""
    return versions_of(connect(store.root), name)


def show(source: str, store: Store) -> Version:
    """The version that ``models:/NAME@ALIAS`` or ``models:/NAME/NUMBER`` names; ConfigError where none is."""
    return find_version(connect(store.root), source)


def retriever_folder(source: str, store: Store) -> Path:
    """The checked folder of a registered version, or of the training with the fingerprint ``source``.

    Raises what ``opened`` raises, ConfigError when there is no such version or result, or no retriever in it.
    """
    if source.startswith("models:"):
        connection = connect(store.root)
        return opened(connection, find_version(connection, source), store.root)
    artifact = store.resolve(source)
    if RETRIEVER not in artifact.names():
        raise ConfigError(
            "E-REG-SOURCE",
            artifact.address,
            f"has no part '{RETRIEVER}'; it has {', '.join(artifact.names()[:5])}",
            "Give models:/NAME@champion or the fingerprint of a training. See: descant show",
        )
    return artifact.path(RETRIEVER)


def load(source: str, store: Store, *, device: str = "cpu") -> Retriever:
    """The retriever that ``source`` names; all of its files are hashed before any of them is loaded."""
    from descant.models.retriever import load_retriever

    return load_retriever(retriever_folder(source, store), device=device)


def lineage_of(folder: Path) -> dict[str, str]:
    """What a retriever's folder says of its base model, tokenizer and adapter; ConfigError if it is none."""
    from descant.models.encoder import EncoderSpec
    from descant.models.retriever import SETTINGS

    path = folder / SETTINGS
    if not path.is_file():
        raise ConfigError("E-REG-FOLDER", str(path), "is missing: not a retriever", "Nothing was registered.")
    settings = json.loads(path.read_text("utf-8"))
    lineage = {"base": json.dumps(settings["base"], sort_keys=True)}
    if "adapter_sha256" in settings:
        lineage["adapter_sha256"] = settings["adapter_sha256"]
    model = EncoderSpec.model_validate(settings["encoder"]).model
    if isinstance(model, StoredModel):
        base = model.locate()
        texts = {p.name: file_digest(p) for p in pinned_files(base) if _is_of_tokenizer(p.name)}
        lineage |= {"base_sha256": model_digest(base), "tokenizer_sha256": folder_digest(texts)}
    return lineage


def _is_of_tokenizer(name: str) -> bool:
    return name != "config.json" and not name.endswith((".safetensors", ".index.json"))


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
    client = job.connection.client
    with job.stage(f"register {name}", tags["digest"][:12], tags) as run:
        run.artifacts(folder, f"{MODEL}/{RETRIEVER}")
        run.text(f"{MODEL}/MLmodel", mlmodel())
        run.text(EVIDENCE, text)
        with answering(job.connection.uri):
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

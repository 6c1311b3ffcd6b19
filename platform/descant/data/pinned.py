"""Outside data as a spec: its identity is the content of its files, wherever they lie.

A file is a path on this machine, or a file of a data set of the Hugging Face Hub at a pinned commit, written as
``hf://datasets/OWNER/NAME@COMMIT/PATH``.
"""

import functools
import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator

from descant.core.errors import ConfigError, DependencyError
from descant.core.fingerprint import file_digest
from descant.core.spec import Spec, expand_variables

_HUB = re.compile(r"hf://datasets/([\w.-]+(?:/[\w.-]+)?)@([0-9a-f]{40})/([\w.-]+(?:/[\w.=-]+)*)")


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a data set of the Hub; a commit fixes every byte."""

    dataset: str
    revision: str
    file: str

    def __str__(self) -> str:
        return f"hf://datasets/{self.dataset}@{self.revision}/{self.file}"

    def locate(self) -> Path:
        """The file in the local cache, downloaded first where it is missing; raises DependencyError otherwise."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            path = hf_hub_download(
                self.dataset, self.file, repo_type="dataset", revision=self.revision, etag_timeout=5
            )
        except (HfHubHTTPError, LocalEntryNotFoundError) as error:
            raise self._missing(f"not cached and not to be had ({str(error).splitlines()[0]})") from None
        return Path(path)

    def is_here(self) -> bool:
        """Whether it lies in the local cache; raises DependencyError where it does not and HF_HUB_OFFLINE is set."""
        from huggingface_hub import is_offline_mode, try_to_load_from_cache

        path = try_to_load_from_cache(self.dataset, self.file, revision=self.revision, repo_type="dataset")
        if not isinstance(path, str) and is_offline_mode():
            raise self._missing("not in the local cache, and HF_HUB_OFFLINE is set")
        return isinstance(path, str)

    def _missing(self, problem: str) -> DependencyError:
        remedy = "Download it where there is a network, or unset HF_HUB_OFFLINE."
        return DependencyError("E-SRC-HUB", str(self), problem, remedy)


class PinnedFiles(Spec):
    """Settings that name files and say how to read them."""

    path_fields: ClassVar[tuple[str, ...]] = ("path",)

    @abstractmethod
    def named_files(self) -> Mapping[str, Path | HubFile]:
        """Every file that is read, by a name that is the same wherever the data lies."""

    def identity(self) -> Mapping[str, Any]:
        """The options and the sha256 of each file (of the Hub: its name and commit); no path enters.

        Raises ConfigError for a missing file.
        """
        self.require_files()
        options = {
            name: value
            for name, value in super().identity().items()
            if name not in ("kind", *self.path_fields)
        }
        pins = {name: _pin(file) for name, file in self.named_files().items()}
        return {"kind": getattr(self, "kind", ""), "options": options, "files": pins}

    def require_files(self) -> None:
        """Raise ConfigError for a missing file; files of the Hub are not looked for."""
        for file in self.named_files().values():
            if not isinstance(file, HubFile) and not file.is_file():
                raise ConfigError(
                    "E-SRC-PATH",
                    str(file),
                    "there is no such file",
                    "Nothing was started. Check the source's paths.",
                )


def _require_pin(location: str) -> str:
    if location.startswith("hf:") and not _HUB.fullmatch(location):
        raise ValueError(
            "a file of the Hub is written hf://datasets/OWNER/NAME@COMMIT/PATH, the commit with its 40 hexadecimal "
            "digits: branches and tags move"
        )
    return location


FileLocation = Annotated[str, AfterValidator(_require_pin)]
"""A spec field that names one file: a path, which may start with ``${DESCANT_DATA}``, or a pinned file of the Hub."""


def file_at(location: str) -> Path | HubFile:
    """What a ``FileLocation`` names; raises ConfigError for a variable that is not set."""
    match = _HUB.fullmatch(location)
    return HubFile(*match.groups()) if match else expanded(location)


def is_here(file: Path | HubFile) -> bool:
    """Whether a file can be read without a download; raises DependencyError where that is needed and forbidden."""
    return not isinstance(file, HubFile) or file.is_here()


def local_file(location: str) -> Path:
    """The file that a ``FileLocation`` names, on this machine."""
    file = file_at(location)
    return file.locate() if isinstance(file, HubFile) else file


def expanded(path: str) -> Path:
    """The path that a spec names, ``${DESCANT_DATA}`` replaced; raises ConfigError when it is not set."""
    return Path(expand_variables(path))


def _pin(file: Path | HubFile) -> str:
    return str(file) if isinstance(file, HubFile) else _digest(file, *_state(file))


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=1 << 16)
def _digest(path: Path, size: int, modified_ns: int) -> str:
    """A plan asks for the same identity once per stage; a file that changed has another size or time."""
    return file_digest(path)

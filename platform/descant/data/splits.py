"""Sources of tasks: one file for each split."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from descant.core.errors import ConfigError
from descant.data.pinned import FileLocation, HubFile, PinnedFiles, file_at, is_here, local_file

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class SplitFiles(PinnedFiles):
    """Data whose splits are files of the same layout; at least one is given."""

    path_fields: ClassVar[tuple[str, ...]] = SPLITS

    train: FileLocation | None = None
    """What is trained on."""
    validation: FileLocation | None = None
    """What settings are chosen by."""
    test: FileLocation | None = None
    """What is reported."""

    @model_validator(mode="after")
    def _some_split(self) -> Self:
        given = self.locations()
        if not given:
            raise ValueError("name at least one file: train, validation or test")
        if len(set(given.values())) < len(given):
            raise ValueError("two splits name the same file, so one would be tested on what it learned")
        return self

    def splits(self) -> tuple[Split, ...]:
        """The splits that have a file."""
        return tuple(self.locations())

    def locations(self) -> Mapping[Split, str]:
        """Where each split lies."""
        given: dict[Split, str | None] = {
            "train": self.train,
            "validation": self.validation,
            "test": self.test,
        }
        return {split: location for split, location in given.items() if location is not None}

    def named_files(self) -> Mapping[str, Path | HubFile]:
        """The file of each split."""
        return {split: file_at(location) for split, location in self.locations().items()}

    def path_of(self, split: Split) -> Path:
        """The file of ``split`` on this machine; raises ConfigError where there is none."""
        location = self.locations().get(split)
        if location is None:
            raise no_split(split, self.splits())
        return local_file(location)

    def splits_here(self) -> tuple[Split, ...]:
        """The splits whose files are on this machine.

        Raises DependencyError for one of the Hub that is not cached while HF_HUB_OFFLINE forbids the download.
        """
        return tuple(split for split, location in self.locations().items() if is_here(file_at(location)))


def no_split(split: str, known: Sequence[str]) -> ConfigError:
    """A split is asked for that the source does not have."""
    listed = ", ".join(known) or "none"
    return ConfigError(
        "E-SRC-SPLIT", split, f"this source has no such split, known: {listed}", "Name a file."
    )

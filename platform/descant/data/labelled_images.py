"""Labelled images: a folder with one folder for each class, or Parquet with bytes."""

import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from descant.core.errors import ConfigError, DataError
from descant.core.fingerprint import file_digest, folder_digest
from descant.core.records import Rejected
from descant.core.spec import Spec
from descant.data.items import LabelledImage, content_id
from descant.data.labelled_text import label_of, number_of
from descant.data.pinned import expanded
from descant.data.rows import Row, type_error
from descant.data.splits import Split, SplitFiles, no_split
from descant.data.tables import table_rows

_SUFFIXES = (".png", ".jpg", ".jpeg")
_HEADS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
MAX_IMAGE_BYTES = 32 << 20
"""A larger file is left out as ``too_large``."""


class ImageFolder(Spec):
    """``<split>/<class>/<name>.png`` (or JPEG); classes are the folders of all splits, in alphabetical order."""

    kind: Literal["image_folder"] = "image_folder"
    """A folder of images by class."""
    path: str
    """The folder with ``train``, ``validation`` and ``test``; may start with ``${DESCANT_DATA}``."""

    def identity(self) -> Mapping[str, Any]:
        """One sha256 for each split, over names and bytes."""
        self.require_files()
        digests = {
            split: folder_digest({str(p.relative_to(folder)): file_digest(p) for p in _images(folder)})
            for split, folder in self._folders().items()
        }
        return {"kind": self.kind, "files": digests}

    def splits(self) -> tuple[Split, ...]:
        """The splits that have a folder."""
        return tuple(self._folders())

    def splits_here(self) -> tuple[Split, ...]:
        """All of them."""
        return self.splits()

    def require_files(self) -> None:
        """Raise ConfigError where there are no splits or fewer than two classes."""
        if len(self.label_names()) < 2:
            raise ConfigError(
                "E-SRC-PATH",
                str(expanded(self.path)),
                f"found {len(self.label_names())} classes in {len(self.splits())} splits, expected two or more",
                "Nothing was started. Lay images out as train/<class>/<name>.png.",
            )

    def label_names(self) -> tuple[str, ...]:
        """The names of the class folders."""
        folders = self._folders().values()
        return tuple(sorted({p.name for folder in folders for p in folder.iterdir() if p.is_dir()}))

    def items(self, split: Split) -> Iterator[LabelledImage | Rejected]:
        """The images by class and name; left out are ``not_an_image`` and ``too_large``."""
        folder = self._folders().get(split)
        if folder is None:
            raise no_split(split, self.splits())
        numbers = {name: number for number, name in enumerate(self.label_names())}
        for path in _images(folder):
            where = str(path.relative_to(folder))
            data = path.read_bytes() if path.stat().st_size <= MAX_IMAGE_BYTES else None
            yield _checked(f"{split}/{where}", where, data, numbers[path.parent.name])

    def _folders(self) -> dict[Split, Path]:
        root = expanded(self.path)
        splits: tuple[Split, ...] = ("train", "validation", "test")
        return {split: root / split for split in splits if (root / split).is_dir()}


class ImageTable(SplitFiles):
    """Parquet files with images, as bytes or as the Hub's ``{bytes, path}``, and their labels."""

    kind: Literal["image_table"] = "image_table"
    """Images in Parquet."""
    image: str = "image"
    """Column of the images."""
    label: str = "label"
    """Column of the labels, numbers from 0 or names."""
    labels: tuple[str, ...] = Field(min_length=2)
    """Names of the classes, in the order of their numbers."""

    def label_names(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.labels

    def items(self, split: Split) -> Iterator[LabelledImage | Rejected]:
        """The rows in file order; left out are ``not_an_image``, ``too_large`` and ``unknown_label``."""
        numbers = {name: number for number, name in enumerate(self.labels)}
        for row in table_rows(self.path_of(split), "parquet", [self.image, self.label]):
            yield row if isinstance(row, Rejected) else self._item(row, numbers)

    def _item(self, row: Row, numbers: dict[str, int]) -> LabelledImage | Rejected:
        label = label_of(row, self.label)
        value = row.values.get(self.image)
        data = value.get("bytes") if isinstance(value, dict) else value
        if type(data) is not bytes:
            raise type_error(row.where, self.image, data, "bytes")
        row_id = content_id([hashlib.sha256(data).hexdigest(), str(label)])
        number = number_of(label, numbers)
        if number is None:
            return row.rejected(row_id, "unknown_label")
        return _checked(row_id, f"{row.path.name}:{row.line}", data, number)


def _images(folder: Path) -> list[Path]:
    """The image files of every class; raises DataError where there are none."""
    found = sorted(p for p in folder.glob("*/*") if p.suffix.lower() in _SUFFIXES and p.is_file())
    if not found:
        raise DataError(
            "E-DATA-EMPTY", str(folder), "0 images", "Nothing was kept. Check that the folder is complete."
        )
    return found


def _checked(row_id: str, where: str, data: bytes | None, label: int) -> LabelledImage | Rejected:
    if data is None or len(data) > MAX_IMAGE_BYTES:
        return Rejected(row_id, where, "too_large")
    if not data.startswith(_HEADS) or not _is_whole(data):
        return Rejected(row_id, where, "not_an_image")
    return LabelledImage(row_id, data, label)


def _is_whole(data: bytes) -> bool:
    """Whether it decodes to the last pixel, and is no decompression bomb."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return True

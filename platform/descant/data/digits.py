"""The handwritten digits that come with scikit-learn: 1,797 images of 8 x 8 pixels (UCI, CC BY 4.0)."""

import gzip
import hashlib
import importlib.metadata
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from descant.core.errors import DependencyError, IntegrityError
from descant.core.records import Rejected
from descant.core.spec import Spec
from descant.data.items import LabelledImage, content_id
from descant.data.splits import Split, no_split

PACKAGE = "scikit-learn"
FILE = "sklearn/datasets/data/digits.csv.gz"
SHA256 = "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"
"""Of the table of pixels and labels, uint8 [1797, 65] in row order: it pins the data for every version."""


class Digits(Spec):
    """Ten classes of digits, the file read from the installed scikit-learn without importing it.

    scikit-learn does not split them: a fifth of the images, chosen by a hash of their row number, is the test split.
    """

    kind: Literal["digits"] = "digits"
    """scikit-learn's digits."""

    def identity(self) -> Mapping[str, Any]:
        """The sha256 of the pixels and labels."""
        return {"kind": self.kind, "sha256": SHA256}

    def splits(self) -> tuple[Split, ...]:
        """``train`` and ``test``."""
        return ("train", "test")

    def splits_here(self) -> tuple[Split, ...]:
        """Both of them."""
        return self.splits()

    def require_files(self) -> None:
        """Raise DependencyError where scikit-learn does not hold the file."""
        _file()

    def label_names(self) -> tuple[str, ...]:
        """``0`` to ``9``."""
        return tuple("0123456789")

    def items(self, split: Split) -> Iterator[LabelledImage | Rejected]:
        """The images as PNG, 8 x 8 pixels in grey; raises IntegrityError where the file holds other ones."""
        import numpy as np
        from PIL import Image

        if split not in self.splits():
            raise no_split(split, self.splits())
        with gzip.open(_file()) as stream:
            table = np.loadtxt(stream, delimiter=",").astype(np.uint8)
        found = hashlib.sha256(table.tobytes()).hexdigest()
        if found != SHA256:
            raise IntegrityError(
                "E-SRC-DIGEST",
                FILE,
                f"the digits have sha256 {found[:12]}, expected {SHA256[:12]}",
                f"Nothing was kept. Install {PACKAGE} anew.",
            )
        for number, row in enumerate(table):
            row_id = f"digit-{number:04d}"
            if (int(content_id([row_id]), 16) % 5 == 0) != (split == "test"):
                continue
            pixels = (row[:64].astype(np.uint16) * 255 // 16).astype(np.uint8).reshape(8, 8)
            png = io.BytesIO()
            Image.fromarray(pixels).save(png, "PNG")
            yield LabelledImage(row_id, png.getvalue(), int(row[64]))


def _file() -> Path:
    try:
        path = Path(str(importlib.metadata.distribution(PACKAGE).locate_file(FILE)))
    except importlib.metadata.PackageNotFoundError:
        path = Path(FILE)
    if not path.is_file():
        raise DependencyError(
            "E-SRC-PACKAGE", PACKAGE, f"{FILE} is not installed", f"Run: pip install {PACKAGE}"
        )
    return path

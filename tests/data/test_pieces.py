from pathlib import Path

import pytest

from descant.core.errors import ConfigError, DataError
from descant.data.pieces import Pieces


def test_pieces_of_a_text_join_to_the_text(pieces_path: Path) -> None:
    found, none = Pieces(path=str(pieces_path)).cut(["the sun  light", ""])
    assert "".join(found) == "▁the▁sun▁light"
    assert none == []


def test_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.model"
    path.write_bytes(b"no model")
    with pytest.raises(DataError, match="no SentencePiece model"):
        Pieces(path=str(path)).cut(["a"])


def test_missing_file_is_refused_before_anything_is_cut(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        Pieces(path=str(tmp_path / "x.model")).identity()

"""Rows 25, 29, 30 and 32 of the fault table: rows that cannot be encoded, and a tokenizer that is not the model's."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from descant.artifacts.commit import publish
from descant.artifacts.models import FolderModel
from descant.artifacts.store import Artifact, Store
from descant.artifacts.tables import vector_table, write_table
from descant.core.errors import IntegrityError, NumericsError, ResourceError
from descant.core.records import Rejected
from descant.models.encoder import EncoderSpec
from descant.models.retriever import load_retriever, save_retriever
from descant.models.tiny import tiny_model, tiny_tokenizer
from descant.stages.quarantine import encode_around_faults, refuse_many_faults
from descant.stages.vectors import read_vectors

ROWS = range(10_000)


def unit(rows: Sequence[int]) -> np.ndarray:
    angles = np.array(rows) / 10_000
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def encoding(faults: dict[int, object], calls: list[int]) -> Callable[[Sequence[int]], np.ndarray]:
    """Row i becomes a unit vector of angle i / 10,000; a row in ``faults`` raises or gives what stands there."""

    def encode(rows: Sequence[int]) -> np.ndarray:
        calls.append(len(rows))
        vectors = unit(rows)
        for i, row in enumerate(rows):
            fault = faults.get(row)
            if isinstance(fault, Exception):
                raise fault
            if fault is not None:
                vectors[i] = fault
        return vectors

    return encode


FAULTS = {
    "25 exception": (ValueError("bad row"), "ValueError: bad row"),
    "29 NaN": (np.nan, "nonfinite"),
    "29 infinity": (-np.inf, "nonfinite"),
    "30 zero": (0.0, "zero_norm"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_row_that_cannot_be_encoded_is_left_out_alone_and_named(name: str) -> None:
    fault, reason = FAULTS[name]
    calls: list[int] = []
    ids, vectors, rejected = encode_around_faults(encoding({4321: fault}, calls), ROWS, str, "passages-00000")
    assert rejected == [Rejected("4321", "passages-00000", reason)]
    assert ids == [str(i) for i in ROWS if i != 4321]
    assert vectors.tolist() == unit([i for i in ROWS if i != 4321]).tolist()
    assert len(calls) < 40


def test_error_that_is_the_user_s_to_mend_is_not_taken_for_a_bad_row() -> None:
    error = ResourceError("E-X", "gpu", "out of memory", "Lower tokens_per_batch.")
    with pytest.raises(ResourceError):
        encode_around_faults(encoding({3: error}, []), range(8), str, "part")


def test_too_many_faults_are_refused_with_counts_and_the_first_ids() -> None:
    rejected = [Rejected(f"p{i}", "part", "nonfinite") for i in range(7)]
    refuse_many_faults(rejected[:6], 60, "embed/0")
    with pytest.raises(
        NumericsError, match="7 of 60 rows gave no usable vector, at most 6 may: p0 nonfinite"
    ) as caught:
        refuse_many_faults(rejected, 60, "embed/0")
    assert caught.value.exit_code == 8


def test_part_whose_rows_all_failed_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    bad = ValueError("bad row")
    parts = {"vectors-00000": encode_around_faults(encoding({}, []), range(3), str, "a")}
    parts["vectors-00001"] = encode_around_faults(encoding({7: bad}, []), [7], str, "b")
    ids, vectors = read_vectors(_embedded(tmp_path, parts))
    assert ids == ["0", "1", "2"]
    assert vectors.tolist() == unit(range(3)).tolist()


def test_tokenizer_exchanged_after_training_is_refused_with_both_digests(tmp_path: Path) -> None:
    base = tmp_path / "base"
    tokenizer = tiny_tokenizer("bert")
    tiny_model("bert", 0, vocab_size=len(tokenizer)).save_pretrained(base)
    tokenizer.save_pretrained(base)
    spec = EncoderSpec(model=FolderModel(path=str(base)), pooling="mean")
    save_retriever(tmp_path / "retriever", spec)
    load_retriever(tmp_path / "retriever")
    text = (base / "tokenizer.json").read_text()
    assert '"water"' in text
    (base / "tokenizer.json").write_text(text.replace('"water"', '"watre"'))
    with pytest.raises(IntegrityError, match=r"base model: found .*, expected ") as caught:
        load_retriever(tmp_path / "retriever")
    assert caught.value.exit_code == 5


def _embedded(folder: Path, parts: dict[str, tuple[list[str], np.ndarray, list[Rejected]]]) -> Artifact:
    with Store(folder).draft("embed", 1, "0123456789ab", "embed", {}, {}) as draft:
        for name, part in parts.items():
            _publish(draft.folder, name, *part)
        return draft.finish(parts, {})


def _publish(folder: Path, name: str, ids: list[str], vectors: np.ndarray, rejected: list[Rejected]) -> None:
    table = vector_table(ids, vectors)
    publish(
        folder,
        name,
        lambda path: write_table(table, path),
        rows=len(ids),
        suffix=".parquet",
        rejected=rejected,
    )

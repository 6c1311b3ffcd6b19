"""Raw log-likelihoods against lm-eval 0.4.13, item by item, on local rows."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from descant.artifacts.models import AnyModel, FolderModel, TinyModel
from descant.models.causal import CausalModel, CausalSpec, load_causal
from descant.models.likelihood import log_likelihoods

DATA = Path(os.environ.get("DESCANT_DATA", "")) / "commonsense"
SMOL = os.environ.get("DESCANT_SMOLLM2", "")
NUM_ROWS = 20

pytestmark = pytest.mark.skipif(
    not os.environ.get("DESCANT_DATA") or not DATA.is_dir(), reason="DESCANT_DATA holds no commonsense"
)
MODELS = [
    pytest.param(TinyModel(architecture="llama"), id="tiny"),
    pytest.param(
        FolderModel(path=SMOL or "unset"),
        id="smollm2",
        marks=[
            pytest.mark.slow,
            pytest.mark.skipif(not SMOL, reason="DESCANT_SMOLLM2 names no model folder"),
        ],
    ),
]


def rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open() as stream:
        for line, _ in zip(stream, range(NUM_ROWS), strict=False):
            yield json.loads(line)


def hellaswag() -> list[tuple[str, str]]:
    found = []
    for row in rows(DATA / "hellaswag" / "val_dev.jsonl"):
        context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
        found += [(context, f" {ending}") for ending in row["endings"]]
    return found


def arc_easy() -> list[tuple[str, str]]:
    found = []
    for row in rows(DATA / "arc-easy" / "test_dev.jsonl"):
        question, _, answers = row["instruction"].partition("\n\n")
        question = question.removeprefix("Please choose the correct answer to the question: ")
        choices = answers.partition("\n\n")[0].split("Answer")[1:]
        found += [(f"Question: {question}\nAnswer:", f" {c.partition(': ')[2].strip()}") for c in choices]
    return found


def by_lm_eval(model: CausalModel, pairs: list[tuple[str, str]]) -> list[float]:
    pytest.importorskip("lm_eval", reason="the extra 'eval' is not installed")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    harness = HFLM(pretrained=model.model, tokenizer=model.tokenizer, batch_size=8, max_length=1024)
    asked = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    return [float(value) for value, _ in harness.loglikelihood(asked, disable_tqdm=True)]


@pytest.mark.parametrize("reference", MODELS)
@pytest.mark.parametrize("items", [arc_easy, hellaswag])
def test_log_likelihoods_equal_those_of_lm_eval(reference: AnyModel, items: Any) -> None:
    model = load_causal(CausalSpec(model=reference, max_tokens=1024))
    pairs = items()
    assert len(pairs) >= 3 * NUM_ROWS
    in_float32 = differences(model, pairs)
    assert max(relative for _, relative in in_float32) < 1e-5  # rounding: the batches differ
    model.model = model.model.double()
    assert max(absolute for absolute, _ in differences(model, pairs)) < 1e-6


def differences(model: CausalModel, pairs: list[tuple[str, str]]) -> list[tuple[float, float]]:
    """Absolute and relative, of each item."""
    found = [one.log_likelihood for one in log_likelihoods(model, pairs)]
    expected = by_lm_eval(model, pairs)
    return [(abs(a - b), abs(a - b) / max(1, abs(b))) for a, b in zip(found, expected, strict=True)]

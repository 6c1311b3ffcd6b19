"""The stage that extends a tokenizer: what it publishes, measures and refuses."""

from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor
from transformers import AutoTokenizer

from descant.artifacts.models import FolderModel
from descant.artifacts.store import Artifact, Store
from descant.core.errors import DataError
from descant.models.load import load_tokenizer
from descant.models.tiny import tiny_model
from descant.run.profile import Profile
from descant.stages.split_text import texts_of
from tests.pipeline import made
from tests.stages.toy_corpora import BASE, vocabulary
from tests.vocab.bases import converted, sentencepiece_model


def learned(folder: Path, **values: Any) -> dict[str, Artifact]:
    return made(vocabulary(folder, **values), Store(folder / "store"), Profile().of_trial())


def test_the_tokenizer_loads_and_the_facts_are_its_counts(tmp_path: Path) -> None:
    results = learned(tmp_path, limits={"min_saving": 0.25, "max_base_changed": 0.0})
    facts = results["learn"].manifest.facts
    loaded = AutoTokenizer.from_pretrained(results["learn"].path("tokenizer"))
    base = load_tokenizer(BASE)
    assert len(loaded) == len(base) + facts["new_tokens"]
    assert loaded.eos_token == base.eos_token
    for name, label in (("language", "split language"), ("base_language", "split english")):
        texts = list(texts_of(results[label], ["validation"]))
        for which, tokenizer in (("base", base), ("extended", loaded)):
            counted = sum(len(tokenizer(text, add_special_tokens=False).input_ids) for text in texts)
            assert facts[name][which]["tokens"] == counted
        assert facts[name][which]["texts"] == len(texts)
    assert facts["language"]["change"] < -0.25
    assert facts["share_cut_at_marks"] == 0
    assert facts["base_language"] | {"share_changed": 0.0, "change": 0.0} == facts["base_language"]


def test_what_was_not_reached_is_told(tmp_path: Path) -> None:
    stage = vocabulary(tmp_path, extension={"kind": "continued_merges", "num_new": 500}).stage
    effects = {"change": -0.4, "share_changed": 0.0}
    reached = {"new_tokens": 500, "share_cut_at_marks": 0.0, "language": effects, "base_language": effects}
    assert stage.finding(reached).endswith("differently")
    told = stage.finding(reached | {"new_tokens": 120, "share_cut_at_marks": 0.4})
    assert "only 120 of the 500 new tokens asked for" in told
    assert "with keep_marks: true there are 40% fewer pieces" in told
    added = vocabulary(tmp_path, extension={"kind": "added_tokens", "num_new": 500}).stage
    assert "keep_marks" not in added.finding(reached | {"share_cut_at_marks": 0.4})


def test_a_base_with_a_sentencepiece_model_gets_it_extended(tmp_path: Path) -> None:
    folder, base = tmp_path / "base", converted("bpe")
    tiny_model("llama", 0, vocab_size=len(base)).save_pretrained(folder)
    base.save_pretrained(folder)
    (folder / "tokenizer.model").write_bytes(sentencepiece_model("bpe"))
    model = FolderModel(path=str(folder))
    extension = {"kind": "sentencepiece", "model_type": "bpe", "num_new": 60}
    results = learned(tmp_path, model=model, extension=extension, limits={"max_base_growth": 1.0})
    written = results["learn"].path("tokenizer")
    loaded = AutoTokenizer.from_pretrained(written)
    slow = SentencePieceProcessor(model_file=str(written / "tokenizer.model"))
    assert slow.get_piece_size() == len(loaded) == len(base) + results["learn"].manifest.facts["new_tokens"]
    for text in texts_of(results["split language"], ["validation"]):
        assert slow.encode(text) == loaded(text, add_special_tokens=False).input_ids


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"limits": {"min_saving": 0.99}}, "tokens saved in the language.*the limit is 99.00%"),
        (
            {
                "extension": {"kind": "added_tokens", "num_new": 500, "whole_words": False},
                "limits": {"min_saving": 0.9},
            },
            "tokens saved",
        ),
    ],
)
def test_a_vocabulary_beyond_the_limits_is_refused(tmp_path: Path, values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        learned(tmp_path, **values)
    assert caught.value.exit_code == 3

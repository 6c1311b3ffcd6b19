"""The stage that extends a tokenizer: what it publishes, measures and refuses."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from descant.artifacts.store import Artifact, Store
from descant.core.errors import DataError
from descant.models.load import load_tokenizer
from descant.run.profile import Profile
from descant.stages.split_text import texts_of
from tests.pipeline import made
from tests.stages.toy_corpora import BASE, vocabulary


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
    assert facts["base_language"] | {"share_changed": 0.0, "change": 0.0} == facts["base_language"]


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

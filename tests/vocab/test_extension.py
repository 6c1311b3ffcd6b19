"""Every way to extend a tokenizer under the suite, and what tells them apart."""

from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from descant.core.errors import ConfigError
from descant.testing.extension_suite import ExtensionSuite
from descant.vocab.extend import from_description
from descant.vocab.extension import (
    AddedTokens,
    ContinuedMerges,
    Corpora,
    Extension,
    SentencePiece,
    SeparateMerges,
    WordPieces,
)
from descant.vocab.marks import keep_marks, share_cut_at_marks
from descant.vocab.side_effects import side_effects
from descant.vocab.words import FAMILIES, Family, description
from tests.vocab.bases import (
    BLOOM,
    ENGLISH,
    HINDI,
    LLAMA3,
    QWEN,
    TURKISH,
    byte_level,
    converted,
    spaced,
    tokens,
    wordpiece,
)

TEXTS = Corpora(TURKISH * 3, TURKISH, (*ENGLISH, "evlerimiz is a word"))
BYTES = {"gpt2": byte_level(), "llama3": byte_level(LLAMA3), "bloom": byte_level(BLOOM)}
BYTES["qwen"] = byte_level(QWEN)


ON_BYTES = (ContinuedMerges(num_new=40), SeparateMerges(num_new=40), AddedTokens(num_new=40))
ON_CHARACTERS = (ContinuedMerges(num_new=40, min_characters=1), AddedTokens(num_new=40))
CASES: dict[str, tuple[PreTrainedTokenizerFast, Extension]] = {
    f"{name} {way.kind}": (base, way) for name, base in BYTES.items() for way in ON_BYTES
}
CASES |= {
    f"{form} {name}": (converted("bpe", form), way)
    for form in ("llama2", "mistral", "gemma")
    for name, way in {
        "sentencepiece bpe": SentencePiece(num_new=40, model_type="bpe"),
        "sentencepiece unigram": SentencePiece(num_new=40, model_type="unigram"),
        "continued_merges": ContinuedMerges(num_new=40, min_characters=1),
        "added_tokens": AddedTokens(num_new=40),
    }.items()
}
CASES |= {
    f"unigram {form} sentencepiece": (
        converted("unigram", form),
        SentencePiece(num_new=40, model_type="unigram"),
    )
    for form in ("llama2", "mistral")
}
CASES |= {
    f"wordpiece, marks {'kept' if keep else 'gone'}": (
        wordpiece(),
        WordPieces(num_new=40, min_characters=1, keep_marks=keep),
    )
    for keep in (False, True)
}
CASES |= {f"spaced {way.kind}": (spaced(), way) for way in ON_CHARACTERS}


class TestEvery(ExtensionSuite):
    @pytest.fixture(params=list(CASES.values()), ids=list(CASES))
    def case(self, request: Any) -> tuple[PreTrainedTokenizerFast, Extension]:
        case: tuple[PreTrainedTokenizerFast, Extension] = request.param
        return case

    @pytest.fixture
    def base(self, case: tuple[PreTrainedTokenizerFast, Extension]) -> PreTrainedTokenizerFast:
        return case[0]

    @pytest.fixture
    def extension(self, case: tuple[PreTrainedTokenizerFast, Extension]) -> Extension:
        return case[1]

    @pytest.fixture
    def corpora(self) -> Corpora:
        return TEXTS


def test_continued_merges_save_most_and_leave_english_alone() -> None:
    base = byte_level()
    found = {
        type(way).__name__: side_effects(base, from_description(way.extend(base, TEXTS)), TURKISH)
        for way in (ContinuedMerges(num_new=40), SeparateMerges(num_new=40))
    }
    assert found["ContinuedMerges"].change < found["SeparateMerges"].change
    extended = from_description(ContinuedMerges(num_new=40).extend(base, TEXTS))
    assert tokens(extended, ENGLISH) == tokens(base, ENGLISH)


def test_pieces_that_held_out_texts_do_not_use_are_not_taken() -> None:
    base = byte_level()
    corpora = Corpora(TURKISH * 3, TURKISH[:1], ENGLISH)
    extended = from_description(ContinuedMerges(num_new=200).extend(base, corpora))
    used = {one for row in tokens(extended, TURKISH[:1]) for one in row}
    new = set(extended.get_vocab()) - set(base.get_vocab())
    leaves = {one for one in new if not any(one != other and one in other for other in new)}
    assert leaves <= used


def test_words_with_vowel_signs_get_pieces_of_their_own() -> None:
    base, corpora = byte_level(), Corpora(HINDI * 3, HINDI, ENGLISH)
    for way in (ContinuedMerges, SeparateMerges):
        cut, whole = (
            side_effects(base, from_description(way(num_new=80, keep_marks=k).extend(base, corpora)), HINDI)
            for k in (False, True)
        )
        assert whole.extended.tokens < cut.extended.tokens


def test_share_cut_at_marks_is_that_of_words_which_are_whole_without_the_cuts() -> None:
    described = description(byte_level())
    assert share_cut_at_marks(described, ["मेरी किताब"]) == pytest.approx(1 - 2 / 9)
    assert share_cut_at_marks(described, TURKISH) == 0
    assert share_cut_at_marks(keep_marks(described), HINDI) == 0
    assert share_cut_at_marks(description(wordpiece()), HINDI) == 0
    assert share_cut_at_marks(described, []) == 0


@pytest.mark.parametrize(
    ("way", "base", "family"),
    [
        (ContinuedMerges(num_new=4), wordpiece(), "wordpiece"),
        (SeparateMerges(num_new=4), spaced(), "spaced"),
        (WordPieces(num_new=4), spaced(), "spaced"),
    ],
    ids=["continued", "separate", "wordpiece"],
)
def test_tokenizers_of_other_families_are_refused(
    way: Extension, base: PreTrainedTokenizerFast, family: Family
) -> None:
    with pytest.raises(ConfigError, match=f"for a tokenizer of {FAMILIES[family]}"):
        way.extend(base, TEXTS)


def test_added_words_with_some_letters_do_not_come_back() -> None:
    extended = from_description(AddedTokens(num_new=40).extend(byte_level(), TEXTS))
    ids = extended.backend_tokenizer.encode("ağaçlarımız", add_special_tokens=False).ids
    assert len(ids) == 1
    assert extended.backend_tokenizer.decode(ids) != "ağaçlarımız"

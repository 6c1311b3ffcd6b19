"""Pieces learned by SentencePiece behind those of a base: what is learned, reached, and written for its own library."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from descant.core.errors import ConfigError, IntegrityError
from descant.vocab.choice import choose, token_counts
from descant.vocab.extend import add_tokens, append_merges, from_description
from descant.vocab.extension import ContinuedMerges, Corpora, Extension, SentencePiece
from descant.vocab.joins import join_counts, reachable
from descant.vocab.learn_pieces import ModelType, learn_pieces
from descant.vocab.merges import Merge
from descant.vocab.sentencepiece_model import extended_model, parse
from descant.vocab.unigram import append_scored, shifted
from descant.vocab.words import count_words, cutter, description
from descant.vocab.write import write_extended
from tests.vocab.bases import (
    ENGLISH,
    HINDI,
    TURKISH,
    byte_level,
    converted,
    sentencepiece_model,
    spaced,
    tokens,
)

TEXTS = Corpora(TURKISH * 3, TURKISH, ENGLISH)
BOTH: list[ModelType] = ["bpe", "unigram"]
BPE, UNIGRAM = (SentencePiece(num_new=60, model_type=model_type) for model_type in BOTH)
CONTINUED = ContinuedMerges(num_new=60, min_characters=1)
CASES = [
    ("bpe", "llama2", BPE),
    ("bpe", "llama2", UNIGRAM),
    ("bpe", "gemma", BPE),
    ("bpe", "mistral", BPE),
    ("bpe", "llama2", CONTINUED),
    ("bpe", "gemma", CONTINUED),
    ("unigram", "llama2", UNIGRAM),
    ("unigram", "mistral", UNIGRAM),
]
WRITTEN = {
    (model_type, form, way): way.extend(converted(model_type, form), TEXTS) for model_type, form, way in CASES
}


def processor(model: bytes | None) -> sentencepiece.SentencePieceProcessor:
    assert model is not None
    return sentencepiece.SentencePieceProcessor(model_proto=model)


@pytest.mark.parametrize("model_type", BOTH)
def test_the_last_words_of_a_stream_and_of_a_long_line_are_learned(model_type: ModelType) -> None:
    """arXiv:2406.14670's code lost what was not flushed; SentencePiece skips lines above 4,192 bytes."""
    texts = [*ENGLISH, "the dog " * 1000 + "qxqxvw " * 40, "zzyzx " * 40]
    pieces = learn_pieces(texts, num_pieces=200, model_type=model_type, character_coverage=1.0)
    assert {"▁zzyzx", "▁qxqxvw"} <= {piece for piece, _ in pieces}


def test_bytes_and_controls_are_no_pieces_and_equal_texts_give_equal_pieces() -> None:
    for model_type in BOTH:
        first, second = (
            learn_pieces(TURKISH, num_pieces=30, model_type=model_type, character_coverage=1.0)
            for _ in range(2)
        )
        assert first == second
        assert not any(piece.startswith("<") for piece, _ in first)
        assert set("".join(TURKISH).replace(" ", "▁")) <= {piece for piece, _ in first}
        assert [score for _, score in first] == sorted((score for _, score in first), reverse=True)


def test_rare_characters_are_left_to_bytes() -> None:
    texts = ["ababab" * 100 + "ğ"]
    for coverage, found in ((1.0, True), (0.99, False)):
        pieces = learn_pieces(texts, num_pieces=10, model_type="bpe", character_coverage=coverage)
        assert ("ğ" in dict(pieces)) == found


def test_pieces_are_made_of_what_the_base_cuts_and_those_out_of_reach_are_dropped() -> None:
    cuts = {"abcd": ("ab", "c", "d"), "cd": ("c", "d"), "bc": ("b", "c"), "xyz": ("x", "y", "z")}
    assert reachable(cuts) == [Merge("ab", "cd", 0, 0), Merge("c", "d", 0, 0), Merge("b", "c", 0, 0)]


@pytest.mark.parametrize("form", ["llama2", "gemma"])
def test_every_new_piece_is_cut_as_itself_and_saves_what_was_counted(form: str) -> None:
    base = converted("bpe", form)
    learned = learn_pieces(TURKISH, num_pieces=150, model_type="bpe", character_coverage=1.0)
    new = [piece for piece, _ in learned if piece not in base.get_vocab()]
    described = append_merges(description(base), [], [piece for piece in new if len(piece) == 1])
    cutting = from_description(described)
    model = cutting.backend_tokenizer.model
    longer = [piece for piece in new if len(piece) > 1]
    merges = reachable({piece: tuple(one.value for one in model.tokenize(piece)) for piece in longer})
    assert 0 < len(merges) < len(longer)
    extended = from_description(append_merges(described, merges))
    for merge in merges:
        assert [one.value for one in extended.backend_tokenizer.model.tokenize(merge.piece)] == [merge.piece]
    words = count_words(cutting, TURKISH, "spaced")
    saved = sum(map(len, tokens(cutting, TURKISH))) - sum(map(len, tokens(extended, TURKISH)))
    assert sum(join_counts(merges, words)) == saved


@pytest.mark.parametrize(("model_type", "form", "way"), CASES)
@settings(max_examples=150, deadline=None)
@given(text=st.text("evlriüçşğ the dog\né🙂"))
def test_the_written_model_cuts_as_the_fast_tokenizer_where_the_bases_do(
    model_type: str, form: str, way: Extension, text: str
) -> None:
    described, model = WRITTEN[model_type, form, way], sentencepiece_model(model_type, form)
    base_slow, base = processor(model), cutter(converted(model_type, form))
    slow, fast = processor(extended_model(model, described)), cutter(from_description(described))
    for one in (text, *TURKISH, *ENGLISH, *HINDI):
        if base_slow.encode(one) == base.encode(one, add_special_tokens=False).ids:
            assert slow.encode(one) == fast.encode(one, add_special_tokens=False).ids
        else:
            assert form == "mistral", "its file says nothing in front of a text that begins with a space"
            assert one.startswith(" ")


@pytest.mark.parametrize(("model_type", "form", "way"), CASES)
def test_the_written_model_cuts_the_packs_texts_as_the_fast_tokenizer(
    model_type: str, form: str, way: Extension
) -> None:
    if "DESCANT_DATA" not in os.environ:
        pytest.skip("DESCANT_DATA is not set: the language texts are in the data packs")
    folder = Path(os.environ["DESCANT_DATA"]) / "lang-text"
    texts = [
        json.loads(line)["text"]
        for language in ("tr", "hi", "en")
        for line in (folder / language / "valid.jsonl").open(encoding="utf-8")
    ]
    described = WRITTEN[model_type, form, way]
    slow = processor(extended_model(sentencepiece_model(model_type, form), described))
    fast = from_description(described).backend_tokenizer.encode_batch(texts, add_special_tokens=False)
    assert slow.encode(texts) == [one.ids for one in fast]


@pytest.mark.parametrize("form", ["llama2", "gemma"])
def test_the_written_model_is_that_of_the_base_and_then_the_new_pieces(form: str) -> None:
    """arXiv:2406.14670's code wrote Llama 2's pieces whatever the base was."""
    base = sentencepiece_model("bpe", form)
    old, new = parse(base), parse(extended_model(base, WRITTEN["bpe", form, BPE]) or b"")
    assert list(new.pieces[: len(old.pieces)]) == list(old.pieces)
    assert new.normalizer_spec == old.normalizer_spec
    assert new.trainer_spec == old.trainer_spec
    scores = [one.score for one in new.pieces[len(old.pieces) :]]
    assert max(scores) < min(one.score for one in old.pieces)
    assert scores == sorted(set(scores), reverse=True)


def test_a_model_of_another_tokenizer_is_refused() -> None:
    with pytest.raises(IntegrityError, match=r"not those of tokenizer\.json"):
        extended_model(sentencepiece_model("bpe"), description(spaced()))


def test_special_tokens_behind_a_model_keep_their_ids_and_added_words_have_no_place_in_it() -> None:
    base = sentencepiece_model("bpe")
    described = description(converted("bpe"))
    number = len(described["model"]["vocab"])
    pad = {**described["added_tokens"][0], "id": number, "content": "<pad>"}
    described["added_tokens"].append(pad)
    described = append_merges(described, [Merge("z", "q", 0, 0)])
    slow = processor(extended_model(base, described))
    assert [slow.id_to_piece(number + i) for i in range(2)] == ["<pad>", "zq"]
    assert slow.is_control(number)
    assert extended_model(base, add_tokens(described, ["word"], whole_words=True)) is None


def test_a_folder_holds_both_files_or_none_that_cuts_otherwise(tmp_path: Path) -> None:
    base, model = converted("bpe"), sentencepiece_model("bpe")
    described = WRITTEN["bpe", "llama2", BPE]
    write_extended(base, described, tmp_path, base_model=model)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    slow = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    for text in (*TURKISH, *ENGLISH):
        assert slow.encode(text) == loaded(text, add_special_tokens=False).input_ids
    write_extended(base, add_tokens(described, ["word"], whole_words=True), tmp_path, base_model=model)
    assert not (tmp_path / "tokenizer.model").exists()


def test_unigram_scores_lie_below_the_bases_which_stay() -> None:
    base = description(converted("unigram"))
    old, new = base["model"]["vocab"], WRITTEN["unigram", "llama2", UNIGRAM]["model"]["vocab"]
    assert new[: len(old)] == old
    assert max(score for _, score in new[len(old) :]) < min(score for _, score in old)
    scores = shifted(base, {"a": -1.0, "b": -3.5})
    assert scores["a"] - scores["b"] == pytest.approx(2.5)
    assert shifted(base, {}) == {}


def test_the_same_number_taken_from_all_unigram_scores_changes_cuts() -> None:
    """What arXiv:2406.14670's code does to a base's scores, which leaves a byte-pair model as it is."""
    scores = {"<unk>": 0.0, "a": -1.0, "b": -1.0, "ab": -2.5}
    for shift, expected in ((0, ["a", "b"]), (len(scores), ["ab"])):
        model = models.Unigram([(piece, score - shift) for piece, score in scores.items()], unk_id=0)
        assert [one.value for one in model.tokenize("ab")] == expected


def test_a_unigram_piece_is_taken_where_the_bases_sum_is_smaller_and_nowhere_else() -> None:
    base = converted("unigram")
    described = description(base)
    scores = dict(map(tuple, described["model"]["vocab"]))
    cut = tokens(base, ["zebra"])[0]
    total = sum(scores[piece] for piece in cut)
    for score, taken in ((total - 0.1, False), (total + 0.1, True)):
        extended = from_description(append_scored(described, {"▁zebra": score}))
        assert (tokens(extended, ["zebra"])[0] == ["▁zebra"]) == taken
        assert tokens(extended, ENGLISH) == tokens(base, ENGLISH)


def test_added_tokens_behind_a_unigram_model_keep_their_ids() -> None:
    described = description(converted("unigram"))
    size = len(described["model"]["vocab"])
    described = add_tokens(described, ["<mask>"], whole_words=False)
    extended = from_description(append_scored(described, {"▁zebra": -20.0})).get_vocab()
    assert (extended["<mask>"], extended["▁zebra"]) == (size, size + 1)
    described["added_tokens"][-1]["id"] += 1
    with pytest.raises(ConfigError, match="no token has it"):
        append_scored(described, {"▁zebra": -20.0})


def test_chosen_pieces_are_used_on_held_out_texts_and_are_no_more_than_wanted() -> None:
    base = description(converted("unigram"))
    wanted = {"▁evlerimiz": 6, "▁ağaçlarımızın": 9, "▁unused": 5, "▁bahçelerimiz": 8, "imiz": 3}

    def extended(pieces: Sequence[str]) -> PreTrainedTokenizerFast:
        return from_description(append_scored(base, dict.fromkeys(pieces, -12.0)))

    found = choose(wanted, 3, held_out=TURKISH, extended=extended)
    assert "▁unused" not in found
    assert 0 < len(found) <= 3
    assert found == [piece for piece in wanted if piece in found]
    assert all(token_counts(extended(found), TURKISH)[piece] for piece in found)


@pytest.mark.parametrize(("base", "way"), [(byte_level(), BPE), (converted("unigram"), BPE)])
def test_other_families_are_refused(base: PreTrainedTokenizerFast, way: SentencePiece) -> None:
    with pytest.raises(ConfigError, match=r"sentencepiece for .* settings know BPE with byte fallback"):
        way.extend(base, TEXTS)

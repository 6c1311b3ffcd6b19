"""The same as ``text_bare`` as stages over Ray Data, with everything published. Prints figures as JSON.

``python -m tests.benchmarks.text_with_stages STORE FILES…``
"""

import json
import sys
import time
from pathlib import Path

from descant.artifacts.models import TinyModel
from descant.artifacts.store import Store
from descant.data.running_text import RunningText
from descant.run.cluster import ray_session
from descant.run.profile import Profile, RayCompute
from descant.stages.base import Step
from descant.stages.filter_text import FilterText
from descant.stages.learn_vocabulary import TOKENIZER, LearnVocabulary
from descant.stages.split_text import SplitText
from descant.stages.tokenise import Tokenise
from tests.benchmarks.text_bare import FILTERS, NUM_NEW
from tests.pipeline import made


def main(store: Path, files: list[str]) -> None:
    base = TinyModel(architecture="llama")
    filtered = Step("filter", FilterText(source=RunningText(files=tuple(files)), filters=FILTERS))
    split = Step(
        "split",
        SplitText(validation=0.01, tokenizer=0.1, near_duplicates=False, seed=1),
        {"texts": filtered},
    )
    vocabulary = LearnVocabulary.model_validate(
        {
            "model": base,
            "extension": {"kind": "continued_merges", "num_new": NUM_NEW},
            "limits": {"max_base_growth": 10},
        }
    )
    learned = Step("learn", vocabulary, {"texts": split, "base_texts": split})
    tokenised = Step("tokenise", Tokenise(model=base), {"texts": split, TOKENIZER: learned})
    place, profile, seconds = Store(store), Profile(), {}
    begun = time.perf_counter()
    with ray_session(RayCompute()):
        started = time.perf_counter()
        for name, target in (("filter", split), ("learn", learned), ("tokenise", tokenised)):
            begin = time.perf_counter()
            results = made(target, place, profile)
            seconds[name] = time.perf_counter() - begin
        ended = time.perf_counter()
    figures = {
        "documents": sum(results["split"].manifest.facts["documents"].values()),
        "tokens": results["tokenise"].manifest.facts["tokens"],
        **seconds,
        "seconds": ended - started,
        "ray_seconds": started - begun,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

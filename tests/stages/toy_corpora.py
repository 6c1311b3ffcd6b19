"""Two toy languages as corpora: words of syllables, and plain English."""

import json
import random
from pathlib import Path

from descant.artifacts.models import TinyModel
from descant.data.running_text import RunningText
from descant.data.text_filters import TextFilters
from descant.stages.base import Step
from descant.stages.filter_text import FilterText
from descant.stages.learn_vocabulary import LearnVocabulary
from descant.stages.split_text import SplitText

SYLLABLES = ("ba", "ler", "rim", "iz", "den", "ev", "yol", "cu", "lar", "dan", "gel", "mek")
BASE = TinyModel(architecture="llama")


def corpus(name: str, folder: Path, words: list[str]) -> Step:
    path = folder / f"{name}.jsonl"
    draw = random.Random(name)
    rows = [{"text": " ".join(draw.choices(words, k=12))} for _ in range(200)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    filters = TextFilters(min_bytes=1, max_repetition=1)
    filtered = Step(f"filter {name}", FilterText(source=RunningText(files=(str(path),)), filters=filters))
    stage = SplitText(validation=0.2, tokenizer=0.4, near_duplicates=False, seed=1)
    return Step(f"split {name}", stage, {"texts": filtered})


def corpora(folder: Path) -> dict[str, Step]:
    """Both, split, as ``learn_vocabulary`` takes them."""
    language = [a + b + c for a in SYLLABLES for b in SYLLABLES[:4] for c in SYLLABLES[2:6]]
    english = ["water", "energy", "the", "plants", "animals", "light", "system", "process", "question"]
    return {"texts": corpus("language", folder, language), "base_texts": corpus("english", folder, english)}


def vocabulary(folder: Path, **values: object) -> Step:
    """A vocabulary learned on them."""
    extension = {"kind": "continued_merges", "num_new": 60}
    stage = LearnVocabulary.model_validate({"model": BASE, "extension": extension} | values)
    return Step("learn", stage, corpora(folder))

"""A job that is as small as a whole job can be: generated data, a tiny random encoder, two training steps."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

WORDS = (
    "water",
    "cell",
    "energy",
    "light",
    "heat",
    "force",
    "earth",
    "sun",
    "plant",
    "animal",
    "air",
    "rock",
)

RECIPE = """\
job: finetune_retriever
task: tiny
seed: 17
data: {{kind: beir, path: "{data}"}}
encoder:
  model: {{kind: tiny, architecture: bert}}
  pooling: mean
  max_query_tokens: 64
  max_passage_tokens: 32
examples:
  selector: {{kind: lexical}}
  k: 1
training:
  method: {{kind: lora, r: 2, lora_alpha: 4, target_modules: all-linear}}
  learning_rate: 1.0e-3
  global_batch: 4
  num_negatives: 0
  max_steps: 2
  save_steps: 1
compare_without_examples: false
measures: [ndcg_at_10]
top_k: 10
passages_per_part: 20
"""
COMPUTE = """\
ray: {num_cpus: 3}
embed: {workers: 1}
train: {workers: 1, zero: 0}
"""


def sentence(number: int) -> str:
    """A text of its own for every number."""
    return " ".join(WORDS[(number * step + step) % len(WORDS)] for step in range(1, 6)) + f" {number}"


def write_data(folder: Path, *, passages: int = 60, train: int = 12, test: int = 8) -> Path:
    """A BEIR folder in which query ``q3`` asks for passage ``p3``; training queries first, then test queries."""
    (folder / "qrels").mkdir(parents=True)
    write_lines(folder / "corpus.jsonl", [passage(i) for i in range(passages)])
    write_lines(folder / "queries.jsonl", [query(i) for i in range(train + test)])
    write_qrels(folder / "qrels/train.tsv", [(f"q{i}", f"p{i}", 1) for i in range(train)])
    write_qrels(folder / "qrels/test.tsv", [(f"q{i}", f"p{i}", 1) for i in range(train, train + test)])
    return folder


def passage(number: int, **changes: Any) -> dict[str, Any]:
    """One line of ``corpus.jsonl``."""
    return {"_id": f"p{number}", "title": "", "text": sentence(number), **changes}


def query(number: int, **changes: Any) -> dict[str, Any]:
    """One line of ``queries.jsonl``."""
    return {"_id": f"q{number}", "text": f"what {sentence(number)}", **changes}


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def write_qrels(path: Path, rows: Sequence[tuple[str, str, int]]) -> None:
    """Judgements with BEIR's header."""
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def write_job(folder: Path, recipe: str = RECIPE, compute: str = COMPUTE) -> list[str]:
    """Recipe and compute profile over ``folder/data``; the arguments that name them."""
    (folder / "recipe.yaml").write_text(recipe.format(data=folder / "data"), "utf-8")
    (folder / "compute.yaml").write_text(compute, "utf-8")
    return [str(folder / "recipe.yaml"), "--compute", str(folder / "compute.yaml")]

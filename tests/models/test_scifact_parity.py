"""SciFact end to end with an unmodified encoder, against sentence-transformers and pytrec_eval alone.

The reference shares nothing with the pipeline: it reads the files itself, encodes with
``SentenceTransformer.encode``, ranks every document with numpy and calls pytrec_eval.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from descant.artifacts.store import Artifact, Store
from descant.data.beir import Beir
from descant.data.prompts import Prompt
from descant.evaluators.evaluation import Evaluation
from descant.indexes.exact import Exact
from descant.models.encoder import EncoderSpec
from descant.run.profile import Profile
from descant.stages.base import Step
from descant.stages.build_index import BuildIndex
from descant.stages.embed import EmbedPassages, EmbedQueries
from descant.stages.evaluate import Evaluate, evaluation_of
from descant.stages.fetch import Fetch
from descant.stages.vectors import read_vectors
from tests.models.test_minilm import MINILM
from tests.pipeline import made

pytestmark = pytest.mark.ray

PUBLISHED = 0.64508
TOP_K = 100
NUM_QUERIES, NUM_OTHERS = 40, 120
ENCODER = EncoderSpec(
    model=MINILM, pooling="mean", prompt=Prompt(query="{query}"), max_query_tokens=256, max_passage_tokens=256
)


@dataclass(frozen=True)
class Outcome:
    """The vectors by id, and nDCG@10 of every judged query."""

    vectors: Mapping[str, np.ndarray]
    ndcg: Mapping[str, float]

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.ndcg.values())))


@pytest.fixture(scope="module")
def scifact() -> Path:
    root = os.environ.get("DESCANT_DATA")
    if root is None:
        pytest.skip("DESCANT_DATA is not set")
    pytest.importorskip("sentence_transformers")
    try:
        distribution(MINILM.package)
    except PackageNotFoundError:
        pytest.skip(f"{MINILM.package} is not installed")
    return Path(root) / "retrieval" / "scifact"


def through_the_pipeline(folder: Path, store: Store) -> Outcome:
    fetch = Step("data", Fetch(source=Beir(path=str(folder), train_split=None), passages_per_part=100))
    passages = Step("passages", EmbedPassages(encoder=ENCODER), {"data": fetch})
    queries = Step("queries", EmbedQueries(encoder=ENCODER, split="test"), {"data": fetch})
    index = Step("index", BuildIndex(index=Exact()), {"vectors": passages})
    stage = Evaluate(split="test", measures=("ndcg_at_10",), top_k=TOP_K, seed=0)
    scored = Step("scores", stage, {"data": fetch, "index": index, "queries": queries})
    results = made(scored, store, Profile())
    evaluation: Evaluation = evaluation_of(results["scores"], "base")
    ndcg = dict(zip(evaluation.query_ids, evaluation.scores["ndcg_at_10"].tolist(), strict=True))
    return Outcome(vectors_by_id(results["passages"]) | vectors_by_id(results["queries"]), ndcg)


def vectors_by_id(encoded: Artifact) -> dict[str, np.ndarray]:
    ids, vectors = read_vectors(encoded)
    return dict(zip(ids, vectors, strict=True))


def through_sentence_transformers(folder: Path) -> Outcome:
    import torch
    from sentence_transformers import SentenceTransformer

    documents = {
        row["_id"]: f"{row['title']} {row['text']}".strip() for row in json_lines(folder / "corpus.jsonl")
    }
    grades = judgements(folder / "qrels" / "test.tsv")
    questions = {
        row["_id"]: row["text"] for row in json_lines(folder / "queries.jsonl") if row["_id"] in grades
    }
    before = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = SentenceTransformer(str(MINILM.locate()), device="cpu")
    model.max_seq_length = 256
    texts = [*documents.values(), *questions.values()]
    vectors = np.asarray(model.encode(texts, normalize_embeddings=True, show_progress_bar=False))
    torch.set_num_threads(before)
    documents_nd, questions_qd = vectors[: len(documents)], vectors[len(documents) :]
    run = best(questions_qd @ documents_nd.T, list(questions), list(documents))
    return Outcome(dict(zip([*documents, *questions], vectors, strict=True)), ndcg_at_10(run, grades))


def best(scores_qn: np.ndarray, queries: list[str], documents: list[str]) -> dict[str, dict[str, float]]:
    """The best ``TOP_K`` documents of each query, from a full sort."""
    return {
        query: {documents[i]: float(row[i]) for i in np.argsort(-row, kind="stable")[:TOP_K]}
        for query, row in zip(queries, scores_qn, strict=True)
    }


def ndcg_at_10(run: dict[str, dict[str, float]], grades: dict[str, dict[str, int]]) -> dict[str, float]:
    import pytrec_eval

    scores = pytrec_eval.RelevanceEvaluator(grades, {"ndcg_cut.10"}).evaluate(run)
    return {query: values["ndcg_cut_10"] for query, values in scores.items()}


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def judgements(path: Path) -> dict[str, dict[str, int]]:
    grades: dict[str, dict[str, int]] = {}
    for line in path.read_text("utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        grades.setdefault(query, {})[document] = int(grade)
    return grades


def write_subset(whole: Path, folder: Path) -> Path:
    """A few of the test queries, their judged documents and some others, drawn once and for all."""
    rng = np.random.default_rng(0)
    grades = judgements(whole / "qrels" / "test.tsv")
    chosen = set(rng.choice(sorted(grades), NUM_QUERIES, replace=False).tolist())
    judged = {document for query in chosen for document in grades[query]}
    corpus = list(json_lines(whole / "corpus.jsonl"))
    others = sorted(row["_id"] for row in corpus if row["_id"] not in judged)
    kept = judged | set(rng.choice(others, NUM_OTHERS, replace=False).tolist())
    (folder / "qrels").mkdir(parents=True)
    write_json_lines(folder / "corpus.jsonl", [row for row in corpus if row["_id"] in kept])
    queries = [row for row in json_lines(whole / "queries.jsonl") if row["_id"] in chosen]
    write_json_lines(folder / "queries.jsonl", queries)
    lines = [
        f"{query}\t{document}\t{grade}"
        for query in sorted(chosen)
        for document, grade in grades[query].items()
    ]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines, ""]), "utf-8")
    return folder


def write_json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def assert_same(ours: Outcome, reference: Outcome) -> None:
    assert ours.vectors.keys() == reference.vectors.keys()
    for name, vector in reference.vectors.items():
        np.testing.assert_allclose(ours.vectors[name], vector, atol=1e-6, err_msg=name)
    assert ours.ndcg == pytest.approx(reference.ndcg, abs=1e-6)


def test_scifact_subset_scores_as_with_sentence_transformers(
    scifact: Path, local_ray: None, tmp_path: Path
) -> None:
    folder = write_subset(scifact, tmp_path / "subset")
    assert_same(
        through_the_pipeline(folder, Store(tmp_path / "store")), through_sentence_transformers(folder)
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_scifact_scores_as_published(scifact: Path, local_ray: None, tmp_path: Path) -> None:
    ours = through_the_pipeline(scifact, Store(tmp_path / "store"))
    assert len(ours.ndcg) == 300
    assert ours.mean == pytest.approx(PUBLISHED, abs=1e-4)


@pytest.mark.bench
@pytest.mark.timeout(3600)
def test_all_of_scifact_scores_as_with_sentence_transformers(
    scifact: Path, local_ray: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the subset shows, for every document: docs/results/parity.md."""
    ours = through_the_pipeline(scifact, Store(tmp_path / "store"))
    reference = through_sentence_transformers(scifact)
    with capsys.disabled():
        sys.stdout.write(f"\nnDCG@10 {ours.mean:.6f}, sentence-transformers {reference.mean:.6f}\n")
    assert_same(ours, reference)

"""The stages of retrieval put together: what must not change a number does not, and what must be refused is."""

import json
from pathlib import Path
from typing import Any

import pytest

from descant.artifacts.manifest import Manifest
from descant.artifacts.store import Artifact, Store
from descant.artifacts.tables import read_table
from descant.core.errors import ConfigError, DataError, IntegrityError
from descant.data.beir import Beir
from descant.indexes import Exact, Hnsw, Index, Ivf
from descant.models.encode import load_encoder
from descant.models.encoder import EncoderSpec
from descant.run.profile import Profile
from descant.selection import Dense, Lexical, Selector, Uniform
from descant.stages.base import Step
from descant.stages.build_index import BuildIndex
from descant.stages.embed import EmbedPassages, EmbedQueries
from descant.stages.evaluate import Evaluate, check_same_encoder
from descant.stages.fetch import Fetch, judgements_of, passages_of, triples_of
from descant.stages.mine_examples import MineExamples, examples_of
from descant.stages.pair_examples import PairExamples
from descant.stages.train import VECTORS, Train
from descant.stages.training.settings import TrainCompute, TrainSettings
from tests.pipeline import made

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

SHIPPED = Path(__file__).parents[2] / "jobs" / "data" / "strategyqa_facts"
ENCODER = EncoderSpec.model_validate(
    {"model": {"kind": "tiny"}, "pooling": "mean", "max_query_tokens": 64, "max_passage_tokens": 32}
)
MEASURES = ("ndcg_at_10", "recall_at_100")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def fetched() -> Step:
    return Step("fetch", Fetch(source=Beir(path=str(SHIPPED)), passages_per_part=200))


def evaluated(index: Index, rows_per_shard: int = 100_000, *, top_k: int = 50) -> Step:
    data = fetched()
    passages = Step("embed", EmbedPassages(encoder=ENCODER), {"data": data})
    built = Step("index", BuildIndex(index=index, rows_per_shard=rows_per_shard), {"vectors": passages})
    queries = Step("queries", EmbedQueries(encoder=ENCODER, split="test"), {"data": data})
    stage = Evaluate(split="test", measures=MEASURES, top_k=top_k, seed=1)
    return Step("evaluate", stage, {"data": data, "index": built, "queries": queries})


@pytest.mark.parametrize("index", [Exact(), Ivf(nlist=8, nprobe=8)], ids=lambda index: index.kind)
def test_number_of_shards_changes_no_ranking_and_no_score(index: Index, store: Store) -> None:
    found = {}
    for rows_per_shard, shards in ((100_000, 1), (600, 3), (1, 8)):
        results = made(evaluated(index, rows_per_shard), store, Profile())
        assert results["index"].manifest.facts["shards"] == shards
        found[shards] = {part.name: part.sha256 for part in results["evaluate"].manifest.parts}
    assert found[1] == found[3] == found[8]


def test_hnsw_stays_close_to_exact_search(store: Store) -> None:
    exact = made(evaluated(Exact()), store, Profile())["evaluate"].manifest.facts
    graph = made(evaluated(Hnsw()), store, Profile())["evaluate"].manifest.facts
    assert graph["recall_at_100"] == pytest.approx(exact["recall_at_100"], abs=0.05)


def test_evaluation_keeps_a_run_and_a_score_for_every_judged_query(store: Store) -> None:
    results = made(evaluated(Exact()), store, Profile())
    judged = judgements_of(results["fetch"], "test")
    table = read_table(results["evaluate"].path("scores"))
    assert table.column("query_id").to_pylist() == sorted(judged)
    facts = results["evaluate"].manifest.facts
    for name in MEASURES:
        assert facts[name] == pytest.approx(sum(table.column(name).to_pylist()) / len(judged))
        assert facts[f"{name}_low"] <= facts[name] <= facts[f"{name}_high"]
    lines = results["evaluate"].path("run").read_text().splitlines()
    assert len(lines) == 50 * len(judged)


def test_texts_that_were_cut_to_the_token_limit_are_counted(store: Store) -> None:
    data = fetched()
    results = made(Step("embed", EmbedPassages(encoder=ENCODER), {"data": data}), store, Profile())
    tokenizer = load_encoder(ENCODER).tokenizer
    names = results["fetch"].names("passages-")
    passages = [row for name in names for row in passages_of(results["fetch"], name)]
    lengths = [len(tokenizer(row.full_text)["input_ids"]) for row in passages]
    expected = sum(length > ENCODER.max_passage_tokens for length in lengths)
    assert 0 < expected < len(passages)
    assert results["embed"].manifest.facts["cut"] == expected


def test_more_passages_asked_than_there_are_is_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match="the index holds 1428 passages"):
        made(evaluated(Exact(), top_k=2000), store, Profile())


@pytest.mark.parametrize(
    "selector", [Lexical(), Uniform(seed=3), Dense()], ids=lambda selector: selector.kind
)
def test_mined_examples_are_k_others_and_leak_nothing(selector: Selector, store: Store) -> None:
    data = fetched()
    inputs = {"data": data}
    if selector.needs_vectors:
        for split in ("train", "test"):
            stage = EmbedQueries(encoder=ENCODER, split=split)
            inputs[f"vectors_{split}"] = Step(f"embed {split}", stage, {"data": data})
    mined = Step("mine", MineExamples(selector=selector, k=3, seed=1), inputs)
    results = made(mined, store, Profile())
    positives = {t.query_id: set(t.positive_ids) for t in triples_of(results["fetch"])}
    relevant = judgements_of(results["fetch"], "test")
    for row in mined_rows(results["mine"]):
        assert len(set(row["example_ids"])) == 3
        assert row["query_id"] not in row["example_ids"]
        own = (
            positives.get(row["query_id"], set())
            if row["split"] == "train"
            else set(relevant[row["query_id"]])
        )
        shown = [positives[i] for i in row["example_ids"]]
        assert not any(own & passages for passages in shown)
        assert all(p in positives[i] for i, p in zip(row["example_ids"], row["passage_ids"], strict=True))


def mined_rows(mined: Artifact) -> list[dict[str, Any]]:
    return [row for name in mined.names("examples-") for row in read_table(mined.path(name)).to_pylist()]


def test_most_similar_example_stands_next_to_the_query(store: Store) -> None:
    data = fetched()
    mined = Step("mine", MineExamples(selector=Lexical(), k=2, seed=1), {"data": data})
    pairs = Step(
        "pair",
        PairExamples(encoder=ENCODER.model_copy(update={"max_query_tokens": 512}), task="t", seed=1),
        {"data": data, "examples": mined},
    )
    results = made(pairs, store, Profile())
    examples = examples_of(results["mine"], results["fetch"], "train")
    for row in read_table(results["pair"].path("rows")).to_pylist()[:20]:
        least, most = examples[row["id"]]
        assert (
            0
            <= row["prompt_text"].index(least.query)
            < row["prompt_text"].rindex(most.query)
            < row["prompt_start"]
        )
        assert row["prompt_text"][row["prompt_start"] :] == row["plain_text"][row["plain_start"] :]


def test_k_beyond_the_pool_is_refused_with_both_numbers(store: Store, tmp_path: Path) -> None:
    from tests.jobs.stand_ins import write_beir

    write_beir(tmp_path / "small", num_passages=8, num_queries=4)
    data = Step("fetch", Fetch(source=Beir(path=str(tmp_path / "small"))))
    with pytest.raises(ConfigError, match=r"k = 5.*the pool holds 2 examples"):
        made(Step("mine", MineExamples(selector=Lexical(), k=5, seed=1), {"data": data}), store, Profile())


def test_queries_and_index_of_different_encoders_are_refused_with_the_fields(store: Store) -> None:
    results = made(evaluated(Exact()), store, Profile())
    queries = results["queries"]
    values = json.loads(queries.manifest.model_dump_json())
    values["spec"]["encoder"]["pooling"] = "cls"
    other = Artifact(queries.folder, Manifest.model_validate(values))
    with pytest.raises(IntegrityError, match="pooling: mean and cls") as caught:
        check_same_encoder(results["index"], other)
    assert caught.value.exit_code == 5


def test_passage_vectors_are_shared_by_all_query_prompts() -> None:
    prompted = ENCODER.model_copy(
        update={
            "prompt": ENCODER.prompt.model_copy(update={"query": "Find: {query}"}),
            "max_query_tokens": 99,
        }
    )
    data = fetched()

    def passages(encoder: EncoderSpec) -> str:
        return Step("embed", EmbedPassages(encoder=encoder), {"data": data}).fingerprint

    def queries(encoder: EncoderSpec) -> str:
        return Step("embed", EmbedQueries(encoder=encoder, split="test"), {"data": data}).fingerprint

    assert passages(prompted) == passages(ENCODER)
    assert queries(prompted) != queries(ENCODER)
    assert passages(ENCODER.model_copy(update={"pooling": "cls"})) != passages(ENCODER)


def test_validation_queries_leave_training_and_smaller_splits_are_part_of_larger_ones(store: Store) -> None:
    def fetched_with(number: int) -> Artifact:
        stage = Fetch(source=Beir(path=str(SHIPPED)), passages_per_part=200, validation_queries=number)
        return made(Step("fetch", stage), store, Profile())["fetch"]

    whole, small, large = fetched_with(0), fetched_with(20), fetched_with(60)
    train = set(judgements_of(whole, "train"))
    for data, number in ((small, 20), (large, 60)):
        validation = set(judgements_of(data, "validation"))
        assert len(validation) == number
        assert set(judgements_of(data, "train")) == train - validation
        assert {row.query_id for row in triples_of(data)} == train - validation
        assert judgements_of(data, "test") == judgements_of(whole, "test")
    assert set(judgements_of(small, "validation")) < set(judgements_of(large, "validation"))
    assert large.manifest.facts["train_queries_in_validation"] == 0
    assert "train_queries_in_validation" not in whole.manifest.facts
    assert whole.manifest.fingerprint == fetched().fingerprint


def test_more_validation_queries_than_there_are_is_refused(store: Store) -> None:
    stage = Fetch(source=Beir(path=str(SHIPPED)), validation_queries=100_000)
    with pytest.raises(DataError, match="validation_queries takes 100000"):
        made(Step("fetch", stage), store, Profile())


def test_queries_of_a_model_that_adapts_their_side_alone_search_passages_of_the_base(store: Store) -> None:
    data = fetched()
    passages = Step("embed", EmbedPassages(encoder=ENCODER), {"data": data})
    rows = Step(
        "rows",
        PairExamples(encoder=ENCODER, task="facts", max_rows=32, num_negatives=0, seed=1),
        {"data": data},
    )
    built = Step("index", BuildIndex(index=Exact()), {"vectors": passages})
    scores = {}
    for adapt in ("queries", "both"):
        settings = TrainSettings.model_validate(
            {
                "method": {"kind": "lora", "r": 2},
                "learning_rate": 1e-2,
                "global_batch": 8,
                "num_negatives": 0,
                "adapt": adapt,
            }
        )
        vectors = {VECTORS: passages} if adapt == "queries" else {}
        trained = Step("train", Train(encoder=ENCODER, settings=settings), {"rows: facts": rows, **vectors})
        queries = Step(
            "queries", EmbedQueries(encoder=ENCODER, split="test"), {"data": data, "model": trained}
        )
        stage = Evaluate(split="test", measures=MEASURES, top_k=10, seed=1)
        target = Step("evaluate", stage, {"data": data, "index": built, "queries": queries})
        profile = Profile(train=TrainCompute(workers=0))
        if adapt == "both":
            with pytest.raises(IntegrityError, match="weights: base and train/"):
                made(target, store, profile)
        else:
            scores = made(target, store, profile)["evaluate"].manifest.facts
    assert 0 <= scores["ndcg_at_10"] <= 1

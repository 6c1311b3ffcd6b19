"""From split text to a model with new tokens that was trained further: what each stage publishes and promises."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch.nn.functional import cross_entropy

from descant.artifacts.store import Artifact, Store
from descant.core.errors import ConfigError, DataError
from descant.models.causal import CausalSpec, load_causal
from descant.models.load import load_tokenizer
from descant.models.new_rows import token_matrices
from descant.run.profile import Profile
from descant.stages.base import Step
from descant.stages.continue_texts import ContinueTexts
from descant.stages.corpora import BASE_LANGUAGE, LANGUAGE
from descant.stages.corpora import bits_of as metric_of
from descant.stages.initialise_embeddings import InitialiseEmbeddings
from descant.stages.pack_texts import PackTexts, pieces
from descant.stages.score_text import ScoreText
from descant.stages.split_text import texts_of
from descant.stages.tokenise import Tokenise
from descant.stages.train_text import SEQUENCES, START, TrainText
from tests.pipeline import made
from tests.stages.toy_corpora import BASE, corpora, vocabulary

CAUSAL = CausalSpec(model=BASE, max_tokens=48)
PROFILE = Profile().of_trial()
LORA = {"kind": "lora", "r": 4, "lora_alpha": 8, "lora_dropout": 0.0}


def steps(
    folder: Path, *, extended: bool = True, pack: Mapping[str, Any] = {}, **settings: Any
) -> dict[str, Step]:
    """Every step from the corpora to a trained model, by what it is."""
    texts, learned = corpora(folder), vocabulary(folder)
    tokenizer = {"tokenizer": learned} if extended else {}
    tokens = {
        name: Step(f"tokenise {name}", Tokenise(model=BASE), {"texts": texts[role], **tokenizer})
        for name, role in ((LANGUAGE, "texts"), (BASE_LANGUAGE, "base_texts"))
    }
    values = {"max_tokens": 48, "budget": {"bytes": 4000}, "validation_bytes": 800, "seed": 1} | dict(pack)
    packed = Step("pack", PackTexts.model_validate(values), tokens)
    initialised = Step(
        "initialise",
        InitialiseEmbeddings(model=CAUSAL, initialiser={"kind": "mean"}, seed=1),
        {"tokenizer": learned, "texts": texts["texts"]},
    )
    values = {"method": {"kind": "full"}, "learning_rate": 2e-3, "global_batch": 4, "num_train_epochs": 3}
    stage = TrainText.model_validate({"model": CAUSAL, "settings": values | settings})
    start = {START: initialised} if extended else {}
    trained = Step("train", stage, {SEQUENCES: packed, **start})
    score = ScoreText(model=CAUSAL, max_bytes=800, stride=16, seed=1)
    return {
        "pack": packed,
        "initialise": initialised,
        "train": trained,
        "score start": Step("score start", score, {"texts": texts["texts"], "model": initialised}),
        "score": Step("score", score, {"texts": texts["texts"], "model": trained}),
        "continue": Step(
            "continue",
            ContinueTexts(model=CAUSAL, num_texts=3, max_new_tokens=8, seed=1),
            {"texts": texts["texts"], "model": trained},
        ),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corpora and store of all tests here: what two of them need is made once."""
    return tmp_path_factory.mktemp("text")


def run(folder: Path, name: str, **values: Any) -> dict[str, Artifact]:
    return made(steps(folder, **values)[name], Store(folder / "store"), PROFILE)


# --- packing ---


def test_pieces_overlap_by_one_token_so_that_each_is_predicted_once() -> None:
    assert pieces(range(10), 4) == [range(0, 4), range(3, 7), range(6, 10)]
    assert pieces(range(4), 4) == [range(4)]
    assert pieces(range(5), 4) == [range(4), range(3, 5)]
    predicted = [one for piece in pieces(range(100), 7) for one in piece[1:]]
    assert predicted == list(range(1, 100))


def test_sequences_hold_every_token_of_the_chosen_documents_once(folder: Path) -> None:
    results = run(folder, "pack")
    data, documents = results["pack"], results["tokenise language"]
    facts = data.manifest.facts["train"][LANGUAGE]
    found: list[int] = []
    for row in pq.read_table(data.path("train")).to_pylist():
        assert len(row["ids"]) == sum(row["lengths"]) <= 48
        start = 0
        for length in row["lengths"]:
            found += row["ids"][start + 1 : start + length]
            start += length
    texts = documents.path(documents.names("tokens-")[0])
    rows = [row for row in pq.read_table(texts).to_pylist() if row["split"] == "train"]
    by_first = {tuple(row["ids"]): row for row in rows}
    assert len(by_first) == len(rows)
    assert len(found) == facts["tokens"]
    assert abs(facts["bytes"] - 4000) < max(row["bytes"] for row in rows)
    end = load_tokenizer(BASE).eos_token_id
    assert found.count(end) == facts["documents"]


def test_equal_bytes_are_equal_documents_whatever_the_tokenizer(folder: Path) -> None:
    values = {"pack": {"replay": 0.25}}
    base = run(folder, "pack", extended=False, **values)["pack"].manifest.facts["train"]
    extended = run(folder, "pack", **values)["pack"].manifest.facts["train"]
    for corpus in (LANGUAGE, BASE_LANGUAGE):
        assert base[corpus]["bytes"] == extended[corpus]["bytes"]
        assert base[corpus]["documents"] == extended[corpus]["documents"]
    assert extended[LANGUAGE]["tokens"] < 0.75 * base[LANGUAGE]["tokens"]
    assert extended[BASE_LANGUAGE]["tokens"] == base[BASE_LANGUAGE]["tokens"]
    share = base[BASE_LANGUAGE]["bytes"] / sum(corpus["bytes"] for corpus in base.values())
    assert abs(share - 0.25) < 0.03


def test_a_budget_in_tokens_is_met_to_half_a_document(folder: Path) -> None:
    facts = run(folder, "pack", pack={"budget": {"tokens": 1500}})["pack"].manifest.facts["train"]
    assert abs(facts[LANGUAGE]["tokens"] - 1500) < 60


def test_a_budget_beyond_the_corpus_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"language, train: holds .* bytes, 9,000,000 are asked for"):
        run(folder, "pack", pack={"budget": {"bytes": 9_000_000}})


# --- the first rows ---


def test_the_initialised_model_has_the_rows_of_the_base_and_means_of_their_parts(folder: Path) -> None:
    results = run(folder, "initialise")
    start = results["initialise"].path("model")
    causal, base = load_causal(CAUSAL, folder=start), load_causal(CAUSAL)
    new = sorted(set(causal.tokenizer.get_vocab()) - set(base.tokenizer.get_vocab()))
    assert len(new) == results["learn"].manifest.facts["new_tokens"] > 10
    for name, old in token_matrices(base.model).items():
        matrix = token_matrices(causal.model)[name]
        assert torch.equal(matrix[: len(old)], old)
        for piece in new:
            parts = [token.id for token in base.tokenizer.backend_tokenizer.model.tokenize(piece)]
            assert torch.allclose(matrix[causal.tokenizer.get_vocab()[piece]], old[parts].mean(0), atol=1e-6)


def test_a_text_without_new_tokens_gets_the_logits_of_the_base(folder: Path) -> None:
    start = run(folder, "initialise")["initialise"].path("model")
    causal, base = load_causal(CAUSAL, folder=start), load_causal(CAUSAL)
    ids = torch.tensor([base.encode_text("the light of plants")])
    assert causal.encode_text("the light of plants") == ids[0].tolist()
    with torch.no_grad():
        logits = causal.model(ids).logits[..., : len(base.tokenizer)]
        assert torch.allclose(logits, base.model(ids).logits, atol=1e-5)


# --- training ---


@pytest.mark.parametrize("method", [{"kind": "full"}, LORA], ids=["full", "lora"])
def test_training_lowers_the_bits_of_held_out_text_and_the_log_says_what_scoring_finds(
    folder: Path, method: dict[str, Any]
) -> None:
    results = run(folder, "score", method=method, validate_every=100) | run(folder, "score start")
    after, before = (results[name].manifest.facts["bits_per_byte"] for name in ("score", "score start"))
    assert after < 0.9 * before
    facts = results["train"].manifest.facts
    assert facts["steps"] > 5
    rows = results["learn"].manifest.facts["new_tokens"] * 2 * 32
    assert facts["head_parameters"] == rows


def bits_of(causal: Any, texts: list[str]) -> float:
    """Nats of every document after its start token, its end included, one by one and without a cache."""
    nats = 0.0
    for text in texts:
        ids = [*causal.encode_text(text), causal.eos_id]
        for piece in pieces(ids, 48):
            with torch.no_grad():
                logits = causal.model(torch.tensor([list(piece)])).logits[0, :-1].double()
            nats += float(cross_entropy(logits, torch.tensor(piece[1:]), reduction="sum"))
    return nats / math.log(2) / sum(len(text.encode()) for text in texts)


def test_validation_is_the_bits_of_whole_documents_of_each_corpus(folder: Path) -> None:
    values = {"pack": {"validation_bytes": 10**6, "replay": 0.2}, "validate_every": 1000}
    results = run(folder, "train", **values)
    causal = load_causal(CAUSAL, folder=results["train"].path("model"))

    figures = json.loads(results["train"].path("steps").read_text().splitlines()[-1])["validation"]
    for name, label in ((LANGUAGE, "split language"), (BASE_LANGUAGE, "split english")):
        texts = list(texts_of(results[label], ["validation"]))
        assert figures[metric_of(name)] == pytest.approx(bits_of(causal, texts), rel=1e-4)


def test_beside_an_adapter_only_the_new_rows_of_the_embeddings_change(folder: Path) -> None:
    results = run(folder, "train", method=LORA)
    trained = load_causal(CAUSAL, folder=results["train"].path("model"))
    start = load_causal(CAUSAL, folder=results["initialise"].path("model"))
    base = trained.model.get_base_model()
    size = len(load_tokenizer(BASE))
    for name, matrix in token_matrices(base).items():
        old = token_matrices(start.model)[name]
        assert torch.equal(matrix[:size], old[:size])
        assert not torch.equal(matrix[size:], old[size:])


def test_continuations_are_the_likeliest_and_their_new_tokens_are_counted(folder: Path) -> None:
    results = run(folder, "continue", method=LORA)
    causal = load_causal(CAUSAL, folder=results["train"].path("model"))
    facts, size = results["continue"].manifest.facts, len(load_tokenizer(BASE))
    new, plain, num_bytes = 0, 0, 0
    for row in pq.read_table(results["continue"].path("rows")).to_pylist():
        ids = causal.encode_prompt(row["prompt"]).ids
        written: list[int] = []
        while len(written) < 8 and (not written or written[-1] != causal.eos_id):
            with torch.no_grad():
                logits = causal.model(torch.tensor([ids + written])).logits[0, -1]
            written.append(int(logits.argmax()))
        assert row["text"] == causal.tokenizer.decode(written, skip_special_tokens=True)
        kept = [one for one in written if one not in causal.tokenizer.all_special_ids]
        new, plain = new + sum(one >= size for one in kept), plain + len(kept)
        num_bytes += len(row["text"].encode())
    assert facts["new_token_share"] == pytest.approx(new / plain)
    assert facts["generated_bytes"] == num_bytes


def test_embeddings_first_leave_the_rest_as_it_was(folder: Path) -> None:
    values = {"embeddings_first": 1.0, "embeddings_learning_rate": 5e-3}
    results = run(folder, "train", **values)
    trained = load_causal(CAUSAL, folder=results["train"].path("model")).model
    start = load_causal(CAUSAL, folder=results["initialise"].path("model")).model
    embeddings = {id(one) for one in token_matrices(trained).values()}
    for (name, after), before in zip(trained.named_parameters(), start.parameters(), strict=True):
        assert torch.equal(after, before) == (id(after) not in embeddings), name


def test_embeddings_first_without_any_that_train_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="trains no embedding of a base without new tokens"):
        run(folder, "train", extended=False, method=LORA, embeddings_first=0.1)

"""The smoke adaptation of an encoder as a user runs it: a model that needs neither the store nor its base's package."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from descant.artifacts.store import Artifact, Store
from descant.models.load import load_tokenizer, read_tokenizer
from descant.models.retriever import Retriever
from descant.run.registry import list_versions, load
from descant.stages.fetch import passages_of
from descant.stages.vectors import read_vectors
from tests.jobs.command import ROOT, finished_run, labelled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RECIPE = "jobs/recipes/adapt_encoder/smoke.yaml"
SYSTEMS = ("base", "trained on the same text", "extended and trained")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    store = tmp_path_factory.mktemp("encoder") / "store"
    relative = Path(os.path.relpath(store, ROOT))  # workers have working directories of their own
    _, output = finished_run(RECIPE, relative)
    return Store(store), output


def model_folder(artifact: Artifact) -> Path:
    return artifact.path("model")


def test_run_says_what_the_vocabulary_does_and_compares_every_system(finished: tuple[Store, str]) -> None:
    store, output = finished
    change = labelled(store, "learn new tokens").manifest.facts["language"]["change"]
    assert change < -0.15
    assert f"{change:+.1%} tokens in the language" in output
    found = re.search(r"report\s+(\S+report\.html)", output)
    assert found is not None
    markdown = Path(found.group(1)).with_name("report.md").read_text()
    for system in SYSTEMS:
        assert f"evaluate facts, {system}" in output
        assert system in markdown


def test_both_ways_see_the_same_bytes_and_only_one_has_new_tokens(finished: tuple[Store, str]) -> None:
    store, _ = finished
    extended, plain = (
        labelled(store, f"fill in masked text, {tokens}") for tokens in ("new tokens", "the base's tokens")
    )
    assert extended.manifest.facts["texts"] == plain.manifest.facts["texts"]
    new = labelled(store, "learn new tokens").manifest.facts["new_tokens"]
    sizes = [len(read_tokenizer(model_folder(one))) for one in (extended, plain)]
    assert sizes == [sizes[1] + new, sizes[1]]


def test_registered_model_loads_without_the_store_and_encodes_the_same(
    finished: tuple[Store, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = finished
    (version,) = list_versions(store)
    assert version.name == "turkish-minilm-smoke"
    monkeypatch.setenv("DESCANT_STORE", str(tmp_path / "nowhere"))
    retriever = load("models:/turkish-minilm-smoke/1", store)
    assert isinstance(retriever, Retriever)
    assert len(load_tokenizer(retriever.encoder.spec.model)) == len(retriever.encoder.tokenizer)
    data = labelled(store, "fetch facts")
    embedded = labelled(store, "embed passages, facts, extended and trained")
    passages = passages_of(data, "passages-00000")[:8]
    ids, vectors = read_vectors(embedded, ["vectors-00000"])
    assert ids[:8] == [passage.id for passage in passages]
    np.testing.assert_allclose(retriever.encode_documents(passages), vectors[:8], atol=1e-5)

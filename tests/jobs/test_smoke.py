"""The smoke recipe through the command line, twice; and what it leaves behind is what it says."""

import re
import time
from pathlib import Path

import numpy as np
import pytest

from descant.artifacts.store import Store
from descant.artifacts.tables import read_table
from descant.artifacts.verify import verify
from descant.run.registry import list_versions, load
from descant.stages.fetch import passages_of
from descant.stages.vectors import read_vectors
from tests.jobs.command import descant, finished_run, labelled

pytestmark = pytest.mark.ray

RECIPE = "jobs/recipes/finetune_retriever/smoke.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    return finished_run(RECIPE, tmp_path_factory.mktemp("smoke") / "store")


def test_run_prints_systems_intervals_report_and_how_to_open_mlflow(finished: tuple[Store, str]) -> None:
    _, output = finished
    for text in (
        "base",
        "fine-tuned without examples",
        "fine-tuned with examples",
        "nDCG@10",
        "recall@100",
        "MRR@10",
    ):
        assert text in output
    assert re.search(r"0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]", output)
    report = re.search(r"report\s+(\S+report\.html)", output)
    assert report is not None
    assert Path(report.group(1)).read_text().startswith("<!")
    assert "models:/strategyqa-tiny/1" in output
    assert "descant ui" in output
    assert "Traceback" not in output


def test_second_run_computes_nothing_and_takes_seconds(finished: tuple[Store, str]) -> None:
    store, _ = finished
    before = {path: path.stat().st_mtime_ns for path in store.root.glob("*/*/manifest.json")}
    started = time.monotonic()
    again = descant(store.root, "run", RECIPE, "--compute", "clusters/local")
    assert again.returncode == 0, again.stdout + again.stderr
    assert time.monotonic() - started < 60
    assert "to do" not in again.stdout
    assert again.stdout.count("done before") >= 20
    assert {path: path.stat().st_mtime_ns for path in store.root.glob("*/*/manifest.json")} == before


def test_plan_after_the_run_finds_every_step_done(finished: tuple[Store, str]) -> None:
    store, _ = finished
    planned = descant(store.root, "plan", RECIPE)
    assert planned.returncode == 0
    assert "to do" not in planned.stdout


def test_every_result_verifies_and_show_prints_its_ancestry(finished: tuple[Store, str]) -> None:
    store, _ = finished
    assert [verify(artifact) for artifact in store.all() if verify(artifact)] == []
    page = descant(store.root, "show", labelled(store, "evaluate with examples").manifest.fingerprint)
    assert page.returncode == 0
    for stage in ("fetch/", "mine_examples/", "pair_examples/", "train/", "embed/", "build_index/"):
        assert stage in page.stdout


def test_registered_model_gives_the_vectors_of_the_run(finished: tuple[Store, str]) -> None:
    store, _ = finished
    versions = list_versions(store)
    assert [version.number for version in versions] == [1]
    assert versions[0].aliases == (), "no test showed it to be better than its base"
    retriever = load("models:/strategyqa-tiny/1", store)
    data, embedded = (
        labelled(store, "fetch strategyqa-facts"),
        labelled(store, "embed passages, with examples"),
    )
    passages = passages_of(data, "passages-00000")
    ids, vectors = read_vectors(embedded, ["vectors-00000"])
    assert ids == [passage.id for passage in passages]
    np.testing.assert_allclose(retriever.encode_documents(passages), vectors, atol=1e-6)


def test_training_rows_and_test_prompts_of_a_query_are_byte_equal(finished: tuple[Store, str]) -> None:
    """A training query that is prompted as at test time gives the text it was trained with."""
    from descant.stages.fetch import queries_of
    from descant.stages.mine_examples import examples_of

    store, _ = finished
    data = labelled(store, "fetch strategyqa-facts")
    mined = labelled(store, "mine examples for strategyqa-facts train")
    rows = read_table(labelled(store, "strategyqa-facts rows with examples").path("rows")).to_pylist()[:20]
    examples, queries = examples_of(mined, data, "train"), queries_of(data)
    assert all(row["num_examples"] == 2 for row in rows)
    encoder = load("models:/strategyqa-tiny/1", store).encoder
    for row in rows:
        fitted = encoder.prompt_queries([queries[row["id"]].text], [examples[row["id"]]])[0]
        assert (fitted.prompted.text, fitted.prompted.start) == (row["prompt_text"], row["prompt_start"])

"""Rows 37 to 43 and 46 to 49 of the fault table: what happens to a finished store, and what the next command says.

One tiny job is run for all tests; each test damages a copy of its store.
"""

import json
import os
import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from descant.artifacts.lease import lease
from descant.artifacts.manifest import MANIFEST
from descant.artifacts.store import Artifact, Store
from descant.core.errors import DescantError, IntegrityError, NumericsError
from descant.core.fingerprint import file_digest, folder_digest
from descant.indexes import Exact
from descant.models.retriever import load_retriever
from descant.run.job import load_recipe
from descant.run.profile import Profile
from descant.stages.base import Step, in_order
from descant.stages.evaluate import check_same_encoder
from descant.testing.history import check_history
from tests.faults.command import assert_refused, descant, output, start
from tests.faults.tiny_job import RECIPE, passage, write_data, write_job
from tests.pipeline import made

pytestmark = [pytest.mark.ray, pytest.mark.slow]


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.fixture(scope="module")
def finished(shared_home: Path) -> Path:
    """The home of a finished job."""
    write_data(shared_home / "data")
    ended = descant(shared_home, "run", *write_job(shared_home))
    assert ended.code == 0, ended.text
    return shared_home


@pytest.fixture
def job(finished: Path, home: Path) -> Path:
    """A copy of the finished job."""
    for name in ("data", "store"):
        shutil.copytree(finished / name, home / name)
    write_job(home)
    return home


def recipe(home: Path) -> list[str]:
    return [str(home / "recipe.yaml"), "--compute", str(home / "compute.yaml")]


def steps(home: Path) -> dict[str, Step]:
    """The job's steps by label."""
    return {step.label: step for step in in_order(load_recipe(home / "recipe.yaml").job.steps().values())}


def result(home: Path, label: str) -> Artifact:
    step = steps(home)[label]
    found = Store(home / "store").find(step.stage.name, step.fingerprint)
    assert found is not None
    return found


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def rewritten(artifact: Artifact, change: Callable[[dict[str, Any]], object]) -> None:
    """The manifest with ``change`` made to it, as one would who wants to be believed."""
    path = artifact.folder / MANIFEST
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def vouched(artifact: Artifact, name: str) -> None:
    """Make the manifest vouch for what now lies in the folder of part ``name``."""
    folder = artifact.folder / artifact.part(name).path
    files = {str(p.relative_to(folder)): file_digest(p) for p in sorted(folder.rglob("*")) if p.is_file()}

    def change(values: dict[str, Any]) -> None:
        part = next(part for part in values["parts"] if part["name"] == name)
        part |= {"files": files, "sha256": folder_digest(files)}

    rewritten(artifact, change)


def forgotten(artifact: Artifact) -> None:
    """As if it had never been made."""
    shutil.rmtree(artifact.folder)


def test_whole_store_is_verified_and_planned_as_done(job: Path) -> None:
    assert descant(job, "verify").code == 0
    planned = descant(job, "plan", *recipe(job))
    assert "13 of 13 steps are done" in planned.text or "14 of 14 steps are done" in planned.text


LENGTHS: dict[str, Callable[[int], int]] = {
    "0 bytes": lambda size: 0,
    "3 bytes": lambda size: 3,
    "half": lambda size: size // 2,
    "all but one": lambda size: size - 1,
}


@pytest.mark.parametrize("name", LENGTHS)
def test_cut_part_is_found_by_verify_and_withdrawn_alone(name: str, job: Path) -> None:
    artifact = result(job, "embed passages, base")
    path = artifact.folder / artifact.part("vectors-00001").path
    with path.open("rb+") as stream:
        stream.truncate(LENGTHS[name](path.stat().st_size))
    ended = descant(job, "verify")
    assert_refused(
        ended,
        5,
        "E-ART-DIGEST",
        f"{artifact.address}: vectors-00001",
        path.name,
        "the manifest says",
        "--repair",
    )
    assert descant(job, "verify", "--repair").code == 0
    planned = descant(job, "plan", *recipe(job)).text
    assert "started (2 parts)" in planned
    assert planned.count("done") > 10


def test_repaired_result_is_made_again_from_its_whole_parts(job: Path, finished: Path) -> None:
    artifact = result(job, "embed passages, base")
    flip(artifact.folder / artifact.part("vectors-00001").path)
    assert descant(job, "verify", "--repair").code == 0
    entries = {p.name: p.stat().st_mtime_ns for p in (artifact.folder / "entries").iterdir()}
    assert sorted(entries) == ["vectors-00000.json", "vectors-00002.json"]
    ended = descant(job, "run", *recipe(job))
    assert ended.code == 0, ended.text
    after = {p.name: p.stat().st_mtime_ns for p in (artifact.folder / "entries").iterdir()}
    assert {name: after[name] for name in entries} == entries
    golden = result(finished, "embed passages, base").manifest.digest
    check_history(Store(job / "store"), "embed", artifact.manifest.fingerprint, golden_digest=golden)
    assert not list((job / "tmp").glob("descant-ray-*"))


@pytest.mark.parametrize(
    ("label", "part"),
    [("embed queries, base", "vectors-00000"), ("index, base", "shard-00000"), ("index, base", "ids-00000")],
)
def test_flipped_bit_is_an_error_before_any_query_is_answered(label: str, part: str, job: Path) -> None:
    artifact = result(job, label)
    path = artifact.folder / artifact.part(part).path
    flip(path / "vectors.faiss" if path.is_dir() else path)
    forgotten(result(job, "evaluate base"))
    with pytest.raises(IntegrityError, match=f"{artifact.address}/{part}") as caught:
        made(steps(job)["evaluate base"], Store(job / "store"), Profile())
    assert caught.value.code == "E-ART-DIGEST"
    assert list(Store(job / "store").root.glob("evaluate/*/entries/scores.json")) == list(
        result(job, "evaluate with examples").folder.glob("entries/scores.json")
    )


def test_query_of_another_dimension_is_an_error_with_both(job: Path) -> None:
    shard = Exact().open_shard(result(job, "index, base").path("shard-00000"))
    with pytest.raises(IntegrityError, match="dimension 16, the index holds dimension 32") as caught:
        shard.search(np.ones((2, 16), np.float32), 3)
    assert caught.value.code == "E-IDX-DIM"


def test_query_that_is_not_finite_is_an_error(job: Path) -> None:
    shard = Exact().open_shard(result(job, "index, base").path("shard-00000"))
    queries = np.ones((2, 32), np.float32)
    queries[1, 5] = np.nan
    with pytest.raises(NumericsError, match="query 1"):
        shard.search(queries, 3)


def test_index_of_other_weights_is_refused_although_the_encoder_s_settings_are_equal(job: Path) -> None:
    index, queries = result(job, "index, with examples"), result(job, "embed queries, base")
    trained = result(job, "train with examples")
    with pytest.raises(IntegrityError, match=f"weights: '?{trained.address}'? and '?base'?") as caught:
        check_same_encoder(index, queries)
    assert caught.value.code == "E-IDX-ENCODER"


def test_edited_passage_leaves_nothing_of_the_old_results_in_use(job: Path) -> None:
    path = job / "data/corpus.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([json.dumps(passage(0, text="edited")) + "\n", *lines[1:]]))
    planned = descant(job, "plan", *recipe(job))
    assert planned.code == 0
    assert "\n0 of " in planned.text
    assert "done  " not in planned.text
    assert descant(job, "verify").code == 0


def test_index_over_too_few_vectors_is_refused_with_both_numbers(job: Path) -> None:
    write_job(job, RECIPE + "index: {{kind: ivf, nlist: 50}}\n")
    with pytest.raises(DescantError) as caught:
        made(steps(job)["index, base"], Store(job / "store"), Profile())
    assert caught.value.exit_code == 2
    assert "60" in str(caught.value)
    assert "50" in str(caught.value)


def test_second_run_on_the_same_result_ends_with_exit_9_and_says_who_holds_it(job: Path) -> None:
    artifact = result(job, "write the report")
    forgotten(artifact)
    with lease(artifact.folder):
        ended = descant(job, "run", *recipe(job))
        held = json.loads((artifact.folder / "lease.json").read_text())
    assert_refused(
        ended,
        9,
        "E-ART-BUSY",
        str(artifact.folder),
        f"process {os.getpid()} on {held['host']} has been writing it since {held['since']}",
        "Nothing was changed. Wait for that run",
    )


def test_two_runs_at_once_deliver_once_and_one_of_them_says_busy_or_finds_it_done(job: Path) -> None:
    forgotten(result(job, "embed passages, base"))
    other = job / "other"
    other.mkdir()
    variables = {"DESCANT_STORE": str(job / "store")}
    first = start(job, "run", *recipe(job))
    second = start(other, "run", *recipe(job), **variables)
    codes = sorted((first.wait(), second.wait()))
    assert codes in ([0, 0], [0, 9]), output(job) + output(other)
    artifact = result(job, "embed passages, base")
    check_history(Store(job / "store"), "embed", artifact.manifest.fingerprint)


TAMPERED: dict[str, tuple[Callable[[dict[str, Any]], object], int, str, str]] = {
    "47 other digest": (
        lambda values: values["parts"][0]["files"].update({"": "0" * 64}),
        5,
        "E-ART-DIGEST",
        "judgements-test",
    ),
    "47 missing file": (
        lambda values: values["parts"][0].update({"path": "judgements-test-0123456789.parquet"}),
        5,
        "E-ART-DIGEST",
        "judgements-test-0123456789.parquet is missing",
    ),
    "47 parent folder": (
        lambda values: values["parts"][0].update({"path": "../../../canary"}),
        6,
        "E-PATH-NAME",
        "'../../../canary'",
    ),
    "47 absolute path": (
        lambda values: values["parts"][0].update({"path": "/etc/passwd"}),
        6,
        "E-PATH-NAME",
        "'/etc/passwd'",
    ),
    "47 path in a file": (
        lambda values: values["parts"][0].update({"files": {"../../etc/passwd": "0" * 64}}),
        6,
        "E-PATH-NAME",
        "'../../etc/passwd'",
    ),
    "48 version 0": (
        lambda values: values.update({"schema_version": 0}),
        5,
        "E-ART-SCHEMA",
        "written by an older",
    ),
    "48 version 99": (
        lambda values: values.update({"schema_version": 99}),
        5,
        "E-ART-SCHEMA",
        "written by a newer",
    ),
    "48 unknown field": (lambda values: values.update({"extra": 1}), 5, "E-ART-MANIFEST", "extra"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_tampered_manifest_is_refused_by_name(name: str, job: Path) -> None:
    change, code, rule, shown = TAMPERED[name]
    rewritten(result(job, "fetch tiny"), change)
    (job / "canary").write_text("not a part")
    ended = descant(job, "verify")
    assert_refused(ended, code, rule, shown, "Nothing" if code == 6 else "Nothing was changed")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema_version": "1"}'])
def test_manifest_that_is_none_is_refused_by_every_command(text: str, job: Path) -> None:
    (result(job, "fetch tiny").folder / MANIFEST).write_text(text)
    for command in (["verify"], ["show"], ["plan", *recipe(job)]):
        ended = descant(job, *command)
        assert ended.code == 5, ended.text
        assert "Traceback" not in ended.text
        assert "manifest.json" in ended.text


def test_file_beside_the_listed_ones_is_found_by_verify_and_never_read(job: Path) -> None:
    artifact = result(job, "train with examples")
    (artifact.folder / artifact.part("retriever").path / "adapter/extra.json").write_text("{}")
    ended = descant(job, "verify")
    assert_refused(ended, 5, "E-ART-DIGEST", "retriever: adapter/extra.json is not in the manifest")


def objects(path: Path, canary: Path) -> None:
    np.save(path, np.array([Canary(canary)], dtype=object), allow_pickle=True)


def pickled(path: Path, canary: Path) -> None:
    path.write_bytes(pickle.dumps(Canary(canary)))


@pytest.mark.parametrize(
    ("name", "write", "kind"),
    [
        ("docstore.pkl", pickled, "a .pkl file"),
        ("ids.npy", objects, "a NumPy array of objects"),
        ("x.dat", pickled, "a pickle"),
    ],
)
def test_pickled_side_file_of_an_index_is_refused_even_when_the_manifest_vouches_for_it(
    name: str, write: Callable[[Path, Path], None], kind: str, job: Path
) -> None:
    artifact = result(job, "index, base")
    write(artifact.folder / artifact.part("shard-00000").path / name, job / "canary")
    vouched(artifact, "shard-00000")
    forgotten(result(job, "evaluate base"))
    with pytest.raises(DescantError) as caught:
        made(steps(job)["evaluate base"], Store(job / "store"), Profile())
    assert (caught.value.code, caught.value.exit_code) == ("E-IDX-PICKLE", 6)
    assert kind in str(caught.value)
    assert name in str(caught.value)
    assert not (job / "canary").exists()


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt"])
def test_pickled_adapter_of_a_retriever_is_refused_even_when_the_manifest_vouches_for_it(
    name: str, job: Path
) -> None:
    artifact = result(job, "train with examples")
    adapter = artifact.folder / artifact.part("retriever").path / "adapter"
    pickled(adapter / name, job / "canary")
    (adapter / "adapter_model.safetensors").unlink()
    vouched(artifact, "retriever")
    ended = descant(job, "export", artifact.manifest.fingerprint, job / "exported", "--form", "peft")
    assert ended.code in (5, 6), ended.text
    assert "Traceback" not in ended.text
    assert not (job / "canary").exists()
    assert not (job / "exported").exists()
    with pytest.raises(DescantError):
        load_retriever(adapter.parent)
    assert not (job / "canary").exists()


def test_commands_that_only_look_answer_quickly(job: Path) -> None:
    started = time.monotonic()
    for command in (["plan", *recipe(job)], ["show"], ["verify"]):
        assert descant(job, *command).code == 0
    assert time.monotonic() - started < 90

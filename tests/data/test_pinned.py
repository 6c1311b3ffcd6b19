"""Files of outside data: where they may lie, and what pins them."""

from pathlib import Path

import pytest

from descant.core.errors import ConfigError, DependencyError
from descant.core.records import Rejected
from descant.data.math_questions import Gsm8k
from descant.data.pinned import HubFile, file_at, local_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LOCATION = f"hf://datasets/owner/name@{COMMIT}/main/test.jsonl"
ROW = '{"question": "q", "answer": "#### 3"}\n'


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the snapshot of owner/name in an offline cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "datasets--owner--name" / "snapshots" / COMMIT


def test_hub_file_in_the_local_cache_is_read_offline(cache: Path) -> None:
    (cache / "main").mkdir(parents=True)
    (cache / "main" / "test.jsonl").write_text(ROW)
    source = Gsm8k(test=LOCATION)
    assert source.splits_here() == ("test",)
    assert local_file(LOCATION) == cache / "main" / "test.jsonl"
    (item,) = source.items("test")
    assert not isinstance(item, Rejected)
    assert item.answer == "3"


@pytest.mark.usefixtures("cache")
def test_hub_file_that_is_missing_offline_names_it() -> None:
    with pytest.raises(DependencyError, match=LOCATION):
        local_file(LOCATION)
    with pytest.raises(DependencyError, match=LOCATION):
        Gsm8k(test=LOCATION).splits_here()


def test_location_is_a_path_or_a_hub_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCANT_DATA", "/data")
    assert file_at("${DESCANT_DATA}/a.jsonl") == Path("/data/a.jsonl")
    assert file_at(LOCATION) == HubFile("owner/name", COMMIT, "main/test.jsonl")
    assert str(file_at(LOCATION)) == LOCATION


def test_split_that_has_no_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(ROW)
    with pytest.raises(ConfigError, match="known: train"):
        list(Gsm8k(train=str(path)).items("test"))


def test_split_decides_the_identity_not_the_path(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(ROW)
    one, other = Gsm8k(train=str(tmp_path / "a.jsonl")), Gsm8k(train=str(tmp_path / "b.jsonl"))
    assert one.identity() == other.identity()
    assert Gsm8k(test=str(tmp_path / "a.jsonl")).identity() != one.identity()

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from descant.core.errors import IntegrityError
from descant.stages.training.checkpoints import (
    CheckpointManifest,
    keep_only,
    new_checkpoint,
    newest_valid,
    seal,
)

RECIPE = "0123456789ab"


def save(root: Path, step: int, recipe: str = RECIPE) -> Path:
    folder = new_checkpoint(root, step)
    (folder / "state").mkdir()
    (folder / "state" / "weights.pt").write_bytes(bytes(range(100)))
    (folder / "rng-0.json").write_text("{}")
    manifest = CheckpointManifest(step=step, recipe=recipe, workers=1, zero=0, versions={"torch": "2"})
    return seal(folder, manifest, {}).folder


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty_folder(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "emptied": (empty_folder, "was never finished"),
    "bit flipped": (lambda f: flip(f / "state" / "weights.pt"), "holds a changed state/weights.pt"),
    "cut": (lambda f: (f / "rng-0.json").write_text("{"), "holds a changed rng-0.json"),
    "file gone": (lambda f: (f / "rng-0.json").unlink(), "lacks rng-0.json"),
    "file added": (
        lambda f: (f / "state" / "x.pt").write_bytes(b"evil"),
        "holds state/x.pt, which its manifest",
    ),
    "manifest empty": (lambda f: (f / "manifest.json").write_text(""), "has an unreadable manifest"),
    "manifest zeros": (lambda f: (f / "manifest.json").write_bytes(bytes(50)), "has an unreadable manifest"),
    "manifest gone": (lambda f: (f / "manifest.json").unlink(), "was never finished"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE.keys())
def test_newest_checkpoint_damaged_gives_the_one_before_and_the_reason(
    damage: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    older, newer = save(tmp_path, 10), save(tmp_path, 20)
    damage(newer)
    found, skipped = newest_valid(tmp_path, RECIPE)
    assert found is not None
    assert (found.folder, found.manifest.step) == (older, 10)
    assert [s.name for s in skipped] == [newer.name]
    assert skipped[0].reason.startswith(reason)


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE.keys())
def test_only_checkpoint_damaged_is_refused_and_never_step_zero(
    damage: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    damage(save(tmp_path, 10))
    with pytest.raises(IntegrityError, match=reason):
        newest_valid(tmp_path, RECIPE)


def test_all_checkpoint_folders_gone_after_a_save_is_refused(tmp_path: Path) -> None:
    save(tmp_path, 10)
    keep_only(tmp_path, [])
    with pytest.raises(IntegrityError, match="all folders are gone"):
        newest_valid(tmp_path, RECIPE)


def test_first_save_killed_half_way_starts_at_zero(tmp_path: Path) -> None:
    (new_checkpoint(tmp_path, 10) / "rng-0.json").write_text("{}")
    found, skipped = newest_valid(tmp_path, RECIPE)
    assert found is None
    assert len(skipped) == 1


def test_checkpoint_of_another_recipe_is_passed_over(tmp_path: Path) -> None:
    save(tmp_path, 20, recipe="ffffffffffff")
    own = save(tmp_path, 10)
    found, skipped = newest_valid(tmp_path, RECIPE)
    assert found is not None
    assert found.folder == own
    assert "another recipe (ffffffffffff, not 0123456789ab)" in skipped[0].reason


def test_checkpoint_of_the_same_step_never_reuses_a_folder(tmp_path: Path) -> None:
    assert save(tmp_path, 10) != save(tmp_path, 10)


def test_manifest_lists_every_other_file(tmp_path: Path) -> None:
    manifest = json.loads((save(tmp_path, 10) / "manifest.json").read_text())
    assert sorted(manifest["files"]) == ["rng-0.json", "state/weights.pt"]


def test_keeping_some_deletes_the_rest_unfinished_ones_too(tmp_path: Path) -> None:
    kept, dropped, unfinished = save(tmp_path, 20), save(tmp_path, 10), new_checkpoint(tmp_path, 5)
    keep_only(tmp_path, [kept.name])
    assert kept.exists()
    assert not dropped.exists()
    assert not unfinished.exists()

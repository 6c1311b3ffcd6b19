"""What must hold for a result after any fault: checked by one function, used by every fault test."""

from collections.abc import Iterable
from pathlib import Path

from descant.artifacts.manifest import read_manifest
from descant.artifacts.store import Artifact, Store
from descant.artifacts.verify import verify


def check_history(
    store: Store,
    stage: str,
    fingerprint: str,
    *,
    input_ids: Iterable[str] = (),
    committed_ids: Iterable[str] = (),
    golden_digest: str | None = None,
) -> Artifact:
    """Assert the invariants of a finished result and return it.

    Every input id is committed or quarantined, once; every listed file is there with its digest and nothing unlisted
    is left (no temporary file, lease or half part); the contents equal those of an undisturbed run.
    """
    folder = store.folder(stage, fingerprint)
    manifest = read_manifest(folder)
    assert manifest is not None, f"{folder} has no manifest"
    artifact = Artifact(folder, manifest)
    assert verify(artifact) == []
    committed, quarantined = list(committed_ids), [row.id for row in manifest.rejected]
    assert len(set(committed)) == len(committed), "an id was committed twice"
    assert not set(committed) & set(quarantined), "an id was committed and quarantined"
    if wanted := set(input_ids):
        assert wanted == set(committed) | set(quarantined), "an id is neither committed nor quarantined"
    listed = {part.path for part in manifest.parts} | {"manifest.json", "entries"}
    assert {path.name for path in folder.iterdir()} == listed, "something unlisted is left"
    assert {path.stem for path in (folder / "entries").iterdir()} == {part.name for part in manifest.parts}
    if golden_digest is not None:
        assert manifest.digest == golden_digest, "the contents differ from those of an undisturbed run"
    return artifact


def files_outside(root: Path, allowed: Iterable[Path]) -> list[Path]:
    """Files under ``root`` that are in none of the ``allowed`` folders."""
    folders = list(allowed)
    return [
        path
        for path in sorted(root.rglob("*"))
        if path.is_file() and not any(path.is_relative_to(folder) for folder in folders)
    ]

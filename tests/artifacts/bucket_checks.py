"""What tests of stores on URLs ask of a result in a bucket."""

from pathlib import Path

from descant.artifacts.bucket import Bucket
from descant.artifacts.store import Artifact, Store
from descant.artifacts.verify import verify
from tests.artifacts.build_one import ADDRESS, PARTS


def found(root: Path) -> Artifact:
    artifact = Store(root).find(*ADDRESS)
    assert artifact is not None
    return artifact


def texts(artifact: Artifact) -> dict[str, str]:
    return {name: artifact.path(name).read_text() for name in artifact.names()}


def object_of(url: str, artifact: Artifact, name: str) -> tuple[Bucket, str]:
    return Bucket(url), f"{artifact.address}/{artifact.part(name).path}"


def assert_whole(url: str, root: Path) -> None:
    """The result in the bucket is finished and right, and nothing else is left at its address."""
    artifact = found(root)
    assert verify(artifact) == []
    assert texts(artifact) == PARTS
    listed = {part.path for part in artifact.manifest.parts} | {"manifest.json"}
    listed |= {f"entries/{name}.json" for name in PARTS}
    assert {key.removeprefix(f"{artifact.address}/") for key in Bucket(url).sizes(artifact.address)} == listed


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")

"""What a cluster's nodes say of themselves: run there as a job, by ``descant doctor``.

One task on each node looks at its Python, its libraries, its temporary folder and the store, where the driver has left
a word.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from descant.artifacts.bucket import Bucket, is_url
from descant.artifacts.mirror import drop, push
from descant.artifacts.store import Store
from descant.core.errors import DescantError

LIBRARIES = (
    "ray",
    "torch",
    "transformers",
    "peft",
    "deepspeed",
    "faiss-cpu",
    "faiss-gpu",
    "datasets",
    "mlflow",
    "pyarrow",
)
MARK = "@probe "
"""How the line begins that holds the answers of all nodes."""


def libraries() -> dict[str, str]:
    """The versions of those that are installed here."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def look(store: str, word: str, number: int, temporary: str) -> dict[str, Any]:
    """What the node that this runs on has; ``temporary`` is Ray's temporary folder there."""
    import torch

    results, disk = nearest_folder(Store(store).root), shutil.disk_usage(temporary)
    return {
        "python": platform.python_version(),
        "libraries": libraries(),
        "store": store_problem(store, word, number),
        "free_bytes": shutil.disk_usage(results).free,
        "temporary": temporary,
        "temporary_free_bytes": disk.free,
        "temporary_used": 1 - disk.free / disk.total,  # as Ray counts: what is reserved for root is used
        "data": data_problem(),
        "torch_cuda": torch.version.cuda or "",
    }


def store_problem(store: str, word: str, number: int) -> str:
    """What keeps this node from working in the store together with the others; empty where nothing does."""
    if is_url(store):
        return bucket_problem(Bucket(store), word, number)
    folder = Path(store)
    try:
        if (folder / word).read_text() != word:
            return "holds other contents here than on the driver's node"
        mine = folder / f"{word}-{number}"
        mine.write_text(word)
        with mine.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine.rename(folder / f"{word}-{number}-renamed")
        (folder / f"{word}-{number}-renamed").unlink()
    except FileNotFoundError:
        return "is not the folder that the driver's node writes to"
    except OSError as error:
        return f"cannot be used: {error.strerror}"
    return ""


def bucket_problem(bucket: Bucket, word: str, number: int) -> str:
    """As ``store_problem``, of a store on a URL."""
    mine = f"{word}-{number}"
    try:
        if bucket.read(word) != word.encode():
            return "holds other contents here than on the driver's node"
        bucket.refuse_unconditional()
        bucket.create(mine, b"")
        bucket.delete([mine])
    except DescantError as error:
        return error.problem
    return ""


def nearest_folder(path: Path) -> Path:
    """``path``, or what there is of the way to it."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def data_problem() -> str:
    """Whether DESCANT_DATA names a folder, if it is set."""
    data = os.environ.get("DESCANT_DATA")
    return f"there is no {data}" if data and not Path(data).is_dir() else ""


def temporary_folder(socket: str) -> str:
    """Of the Ray whose object store answers at ``socket``: ``/tmp/ray`` of ``/tmp/ray/session_1/sockets/plasma_store``.

    Ray spills objects into it, unless it was told another folder.
    """
    return str(Path(socket).parents[2])


def main(store: str, word: str) -> None:
    """Ask every living node, and write one line with the answers by the nodes' addresses."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.init(log_to_driver=False)
    place = Store(store)
    place.root.mkdir(parents=True, exist_ok=True)
    (place.root / word).write_text(word)
    push(place.root / word)
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        asked = []
        for number, node in enumerate(nodes):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            task: Any = ray.remote(look).options(num_cpus=0, scheduling_strategy=there)
            asked.append(task.remote(store, word, number, temporary_folder(node["ObjectStoreSocketName"])))
        names = [f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}" for node in nodes]
        answers = dict(zip(names, ray.get(asked), strict=True))
    finally:
        (place.root / word).unlink()
        drop(place.root / word)
    sys.stdout.write(f"{MARK}{json.dumps(answers)}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

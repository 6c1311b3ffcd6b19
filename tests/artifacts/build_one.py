"""A program that makes one small result; tests kill it at every system call and run it again."""

import sys
from pathlib import Path

from descant.artifacts.commit import publish
from descant.artifacts.store import Store

PARTS = {"part-0": "first", "part-1": "second"}
ADDRESS = ("toy", "abc123abc123")


def build(root: Path) -> None:
    store = Store(root)
    if (found := store.find(*ADDRESS)) is not None:
        store.tidy(found)
        return
    with store.draft(ADDRESS[0], 1, ADDRESS[1], "toy", {"x": 1}, {}) as draft:
        for name in draft.missing(PARTS):
            publish(
                draft.folder,
                name,
                lambda path, name=name: path.write_text(PARTS[name]),
                rows=1,
                suffix=".txt",
            )
        draft.finish(PARTS, {"rows": 2})


if __name__ == "__main__":
    build(Path(sys.argv[1]))

"""A home for each fault test."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty folder with a path so short that Ray's sockets fit below it, gone after the test."""
    folder = new_home()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def shared_home() -> Iterator[Path]:
    """The same for all tests of a module."""
    folder = new_home()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def new_home() -> Path:
    """An empty folder directly under ``/tmp``."""
    return Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))

"""A home for each fault test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.command import new_home
from tests.faults.runs import Home


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


@pytest.fixture(scope="session")
def golden() -> Iterator[Home]:
    """A run that nothing disturbed."""
    home = Home()
    home.finish(home.start())
    yield home
    home.close()


@pytest.fixture
def disturbed() -> Iterator[Home]:
    home = Home()
    yield home
    home.close()

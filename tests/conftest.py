"""What all tests share: quiet offline libraries, and one Ray per module for those that ask for it."""

import logging
import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """A local Ray with four logical CPUs, for the tests of one module."""
    from descant.run.cluster import ray_session
    from descant.run.profile import RayCompute

    logging.getLogger("ray").setLevel(logging.WARNING)
    with ray_session(RayCompute(num_cpus=4, object_store_megabytes=128)):
        yield

"""The Ray of one run."""

import stat
from pathlib import Path

import pytest

from descant.run.private_ray import PREFIX

pytestmark = pytest.mark.ray


@pytest.mark.usefixtures("local_ray")
def test_others_cannot_enter_the_folder_of_a_run() -> None:
    import ray

    folder = Path(ray._private.worker._global_node.get_temp_dir_path()).parent
    assert folder.name.startswith(PREFIX)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700

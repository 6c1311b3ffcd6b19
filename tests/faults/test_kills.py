"""Rows 35, 36, 59 and 60 of the fault table: SIGKILL of workers and of the driver, then the same command.

A run whose workers are killed, and one whose driver is killed twice, end with the contents of an undisturbed run:
every result has the same digest, every evaluation the same numbers, every training step the same loss to the bit.
"""

import pytest

from tests.faults.command import output
from tests.faults.processes import kill_when, left_after
from tests.faults.runs import Home, assert_kept, assert_resumed, assert_same

pytestmark = [pytest.mark.ray, pytest.mark.slow]

GRACE_SECONDS = 120
"""Two agents of a dead Ray try to reach it for a minute before they end; its other processes take seconds."""


def test_killed_embedding_actor_and_training_worker_are_replaced_and_nothing_changes(
    golden: Home, disturbed: Home
) -> None:
    run = disturbed.start()
    kill_when(run, lambda: len(disturbed.entries()) >= 5, "ray::MapWorker")
    before = disturbed.entries()
    kill_when(run, lambda: disturbed.steps() >= 7, "ray::RayTrainWorker")
    seen = disturbed.steps()
    disturbed.finish(run)
    assert_kept(before, disturbed)
    assert_resumed(disturbed, seen)
    assert_same(golden, disturbed)
    assert left_after(run.pid, seconds=GRACE_SECONDS) == {}
    assert not disturbed.ray_folders()


def test_killed_driver_and_the_same_command_again_give_the_same_results(
    golden: Home, disturbed: Home
) -> None:
    first = disturbed.start()
    kill_when(first, lambda: len(disturbed.entries()) >= 5)
    before = disturbed.entries()

    second = disturbed.start()
    kill_when(second, lambda: disturbed.steps() >= 7)
    assert "taking over" in output(disturbed.folder)
    assert left_after(second.pid, seconds=GRACE_SECONDS, name="ray::RayTrainWorker") == {}
    assert_kept(before, disturbed)
    seen = disturbed.steps()  # workers go on for a moment without their driver

    third = disturbed.start()
    assert "done before" in disturbed.finish(third)
    assert_resumed(disturbed, seen)
    assert_same(golden, disturbed)
    assert [left_after(session, seconds=GRACE_SECONDS) for session in disturbed.sessions] == [{}, {}, {}]
    assert not disturbed.ray_folders(), "what killed drivers left of Ray must not pile up"

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from descant.core.errors import ConfigError
from descant.stages.training.checkpoints import newest_valid
from descant.stages.training.loop import CHECKPOINTS, STEPS, Trainer, train
from descant.stages.training.settings import TrainCompute
from descant.stages.training.state import seed_process
from descant.stages.training.step_log import StepReport, append_step, read_steps
from tests.stages.training.tiny_training import figures, run, started, toy_training

SAVED, AFTER = 5, 11


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, str, str]]]:
    """A training saved after 5 steps (in the middle of an epoch) and its next 11 steps undisturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    trainer = started(toy_training(folder))
    run(trainer, SAVED)
    trainer.save()
    return folder, figures(run(trainer, AFTER))


def resumed(folder: Path) -> Trainer:
    """A new trainer after the kill: with another learning rate, so that only restored state can match."""
    training = toy_training(folder)
    trainer = started(toy_training(folder, learning_rate=2e-2))
    trainer._recipe = training.recipe()  # the digest would refuse another learning rate, rightly
    trainer.resume()
    return trainer


def test_resume_in_the_middle_of_an_epoch_repeats_the_steps_to_the_last_bit(
    saved: tuple[Path, list[tuple[str, str, str]]],
) -> None:
    folder, undisturbed = saved
    trainer = resumed(folder)
    assert trainer.position == SAVED
    assert figures(run(trainer, AFTER)) == undisturbed

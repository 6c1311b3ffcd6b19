import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from descant.core.errors import ConfigError, IntegrityError, Interrupted
from descant.models.folders import ADAPTER
from descant.stages.training.checkpoints import newest_valid
from descant.stages.training.loop import Trainer, train
from descant.stages.training.settings import TrainCompute
from descant.stages.training.state import load_state, seed_process
from descant.stages.training.step_log import StepReport, read_steps
from descant.stages.training.workplace import CHECKPOINTS, STEPS, STOP
from tests.stages.training.toy import figures, run, started, toy_training

SAVED, AFTER = 5, 11
Figures = list[tuple[str, str, str]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Figures]:
    """A training saved after 5 steps, in the middle of an epoch, and the figures of its next 11 steps."""
    folder = tmp_path_factory.mktemp("undisturbed")
    trainer = started(toy_training(folder))
    run(trainer, SAVED)
    trainer.save()
    return folder, figures(run(trainer, AFTER))


def fresh_trainer(folder: Path) -> Trainer:
    """A new trainer with another learning rate, so that only restored state can give the same figures."""
    return started(toy_training(folder, learning_rate=2e-2))


def restore(trainer: Trainer, folder: Path) -> None:
    found, _ = newest_valid(folder / CHECKPOINTS, toy_training(folder).recipe())
    assert found is not None
    load_state(trainer.engine, found)
    trainer.position = found.manifest.step


def test_resume_in_the_middle_of_an_epoch_repeats_eleven_steps_to_the_last_bit(
    undisturbed: tuple[Path, Figures],
) -> None:
    folder, expected = undisturbed
    trainer = fresh_trainer(folder)
    restore(trainer, folder)
    assert trainer.position == SAVED
    assert figures(run(trainer, AFTER)) == expected


def forget_optimizer(trainer: Trainer) -> Callable[[], Any]:
    fresh = copy.deepcopy(trainer.engine.optimizer.state_dict())
    return lambda: trainer.engine.optimizer.load_state_dict(fresh)


def forget_schedule(trainer: Trainer) -> Callable[[], Any]:
    fresh = copy.deepcopy(trainer.engine.lr_scheduler.state_dict())
    return lambda: trainer.engine.lr_scheduler.load_state_dict(fresh)


def forget_randomness(trainer: Trainer) -> Callable[[], Any]:
    return lambda: seed_process(trainer.settings.seed)


def forget_position(trainer: Trainer) -> Callable[[], Any]:
    return lambda: setattr(trainer, "position", 0)


def forget_parameters(trainer: Trainer) -> Callable[[], Any]:
    fresh = copy.deepcopy(trainer.engine.module.state_dict())
    return lambda: trainer.engine.module.load_state_dict(fresh)


@pytest.mark.parametrize(
    "forget",
    [forget_optimizer, forget_schedule, forget_randomness, forget_position, forget_parameters],
    ids=lambda f: f.__name__.removeprefix("forget_"),
)
def test_resume_without_one_piece_of_state_is_seen_by_the_comparison(
    forget: Callable[[Trainer], Callable[[], Any]], undisturbed: tuple[Path, Figures]
) -> None:
    folder, expected = undisturbed
    trainer = fresh_trainer(folder)
    reset = forget(trainer)
    restore(trainer, folder)
    reset()
    assert figures(run(trainer, AFTER)) != expected


class Killed(Exception):
    """Stands for the end of the process at any place."""


def killed_at(step: int) -> Callable[[StepReport], None]:
    def report(figures: StepReport) -> None:
        if figures.step == step:
            raise Killed

    return report


@pytest.mark.parametrize("last", [1, 4, 7, 8, 16], ids=lambda n: f"killed-after-{n}")
def test_training_killed_and_run_again_ends_like_an_undisturbed_one(last: int, tmp_path: Path) -> None:
    straight, broken = toy_training(tmp_path / "a"), toy_training(tmp_path / "b")
    train(straight, report=lambda figures: None)
    with pytest.raises(Killed):
        train(broken, report=killed_at(last))
    outcome = train(broken, report=lambda figures: None)
    assert outcome.resumed_at == (last - 1) // 4 * 4
    logs = [read_steps(t.folder / STEPS) for t in (straight, broken)]
    assert [report.step for report in logs[1]] == list(range(1, 17))
    assert figures(logs[0]) == figures(logs[1])
    weights = [(t.folder / ADAPTER / "adapter_model.safetensors").read_bytes() for t in (straight, broken)]
    assert weights[0] == weights[1]


def test_training_keeps_two_checkpoints(tmp_path: Path) -> None:
    training = toy_training(tmp_path)
    train(training, report=lambda figures: None)
    names = sorted(path.name[:13] for path in (tmp_path / CHECKPOINTS).glob("step-*"))
    assert names == ["step-00000012", "step-00000016"]


def test_training_asked_to_stop_saves_and_goes_on_from_there(tmp_path: Path) -> None:
    training = toy_training(tmp_path)
    stop = tmp_path / STOP
    with pytest.raises(Interrupted) as stopped:
        train(training, report=lambda figures: stop.touch() if figures.step == 5 else None)
    assert stopped.value.exit_code == 75
    stop.unlink()
    assert train(training, report=lambda figures: None).resumed_at == 6


def test_training_with_every_checkpoint_broken_is_refused_and_not_begun_anew(tmp_path: Path) -> None:
    training = toy_training(tmp_path)
    with pytest.raises(Killed):
        train(training, report=killed_at(9))
    for path in (tmp_path / CHECKPOINTS).rglob("*.pt"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match="holds a changed state/"):
        train(training, report=lambda figures: None)


def test_training_with_the_newest_checkpoint_broken_uses_the_one_before_and_names_it(tmp_path: Path) -> None:
    training = toy_training(tmp_path)
    with pytest.raises(Killed):
        train(training, report=killed_at(9))
    newest = max((tmp_path / CHECKPOINTS).glob("step-*"))
    (newest / "rng-0.json").unlink()
    outcome = train(training, report=lambda figures: None)
    assert outcome.resumed_at == 4
    assert [(s.name, s.reason) for s in outcome.skipped] == [(newest.name, "lacks rng-0.json")]


def test_training_resumed_with_another_zero_stage_is_refused_with_both(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(toy_training(tmp_path), report=killed_at(5))
    with pytest.raises(ConfigError, match="1 workers under ZeRO 0, now 1 under ZeRO 1"):
        train(toy_training(tmp_path, compute=TrainCompute(workers=1, zero=1)), report=lambda figures: None)

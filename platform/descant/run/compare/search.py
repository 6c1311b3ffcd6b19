"""Which setting to try next: a function of the seed, the trial's number and the trials before it, without state.

So nothing of a search has to be saved: a study that was killed asks again.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

from descant.core.seeds import seed_for
from descant.run.compare.space import Axis, Setting, Space, draw, grid, spread

Search = Literal["random", "quasi_random", "grid", "optuna"]


class Tried(Protocol):
    """A trial that has ended."""

    @property
    def setting(self) -> Setting:
        """What was tried."""

    @property
    def score(self) -> float | None:
        """What came out; None where it failed."""

    @property
    def status(self) -> str:
        """``stopped`` where the score is that of a part of the training."""


def ask(
    search: Search,
    space: Space,
    number: int,
    tried: Sequence[Tried],
    *,
    seed: int,
    higher_is_better: bool,
) -> Setting:
    """The setting of trial ``number`` (from 0); IndexError when a grid has no more.

    ``random`` and ``quasi_random`` look at nothing but seed and number; ``optuna`` (TPE, Bergstra et al. 2011) at the
    trials that have ended too, by number, so its settings depend on how many ran at once.
    """
    if search == "grid":
        return grid(space)[number]
    if search == "quasi_random":
        return spread(space, number, np.random.default_rng(seed_for(seed, "start")))
    if search == "random":
        return draw(space, np.random.default_rng(seed_for(seed, "trial", number)))
    return _ask_optuna(space, number, tried, seed=seed, higher_is_better=higher_is_better)


def _ask_optuna(
    space: Space, number: int, tried: Sequence[Tried], *, seed: int, higher_is_better: bool
) -> Setting:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed_for(seed, "trial", number) % 2**32, n_startup_trials=4)
    study = optuna.create_study(sampler=sampler, direction="maximize" if higher_is_better else "minimize")
    distributions = {name: _distribution(axis) for name, axis in space.items()}
    for trial in tried:
        study.add_trial(_told(trial, space, distributions))
    params = study.ask(distributions).params
    return {name: _value(axis, params[name]) for name, axis in sorted(space.items())}


def _told(trial: Tried, space: Space, distributions: Any) -> Any:
    """An ended trial as Optuna knows them: complete, pruned with its last score, or failed."""
    from optuna.trial import TrialState, create_trial

    params, score = _indices(trial.setting, space), trial.score
    if score is None or not math.isfinite(score):
        return create_trial(params=params, distributions=distributions, state=TrialState.FAIL)
    if trial.status == "stopped":
        return create_trial(
            params=params,
            distributions=distributions,
            state=TrialState.PRUNED,
            intermediate_values={1: score},
        )
    return create_trial(params=params, distributions=distributions, value=score)


def _distribution(axis: Axis) -> Any:
    """Choices go by their index: Optuna takes no tuples."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if axis.choice is not None:
        return CategoricalDistribution(range(len(axis.choice)))
    low, high = axis.uniform or axis.log_uniform or (0.0, 0.0)
    return FloatDistribution(low, high, log=axis.log_uniform is not None)


def _indices(setting: Setting, space: Space) -> dict[str, Any]:
    return {
        name: axis.choice.index(setting[name]) if axis.choice is not None else setting[name]
        for name, axis in space.items()
    }


def _value(axis: Axis, found: Any) -> Any:
    return axis.choice[found] if axis.choice is not None else axis.rounded(found)

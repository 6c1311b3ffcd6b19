"""Which setting to try next: a function of the seed, the trial's number and the trials before it, without state.

So a study that was killed goes on with the settings it would have tried.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

from descant.core.seeds import seed_for
from descant.run.compare.space import Axis, Setting, Space, draw, grid

Search = Literal["random", "grid", "optuna"]


class Tried(Protocol):
    """A trial that has ended."""

    @property
    def setting(self) -> Setting:
        """What was tried."""

    @property
    def score(self) -> float | None:
        """What came out; None where it failed."""


def ask(
    search: Search,
    space: Space,
    number: int,
    tried: Sequence[Tried],
    *,
    seed: int,
    higher_is_better: bool,
) -> Setting | None:
    """The setting of trial ``number`` (from 0), None when a grid has no more.

    ``random`` looks at nothing but seed and number; ``optuna`` (TPE, Bergstra et al. 2011) at the trials that have
    ended too, so its settings depend on how many ran at once.
    """
    if search == "grid":
        settings = grid(space)
        return settings[number] if number < len(settings) else None
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
        if trial.score is None or not math.isfinite(trial.score):
            study.add_trial(
                optuna.trial.create_trial(
                    params=_indices(trial.setting, space),
                    distributions=distributions,
                    state=optuna.trial.TrialState.FAIL,
                )
            )
        else:
            study.add_trial(
                optuna.trial.create_trial(
                    params=_indices(trial.setting, space), distributions=distributions, value=trial.score
                )
            )
    params = study.ask(distributions).params
    return {name: _value(axis, params[name]) for name, axis in sorted(space.items())}


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

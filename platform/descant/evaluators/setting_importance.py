"""Which settings moved the validation score while a method was tuned: a reading of few trials, with its uncertainty.

Every setting is taken by itself. Its share is the part of the variance of the trials' score ranks that it explains:
for a number a parabola over its rank (a learning rate has its best value in the middle, which a correlation misses),
for a choice the means of its values (as in Kruskal and Wallis, 1952). Ranks make it the same on a linear and on a
logarithmic scale, and keep one failed trial from deciding. Shares are high by chance with few trials, so each stands
beside what chance gives, with a permutation p-value corrected by Holm's method.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from descant.core.seeds import seed_for
from descant.evaluators.statistics import ALPHA, NUM_RESAMPLES, holm
from descant.evaluators.study import Trial

MIN_TRIALS = 6
"""Fewer scored trials say nothing that chance could not."""


@dataclass(frozen=True)
class SettingImportance:
    """What one setting had to do with the validation score."""

    setting: str
    share: float
    """Of the variance of score ranks, 0 to 1."""
    by_chance: float
    """The mean share when scores are dealt to settings at random."""
    p_value: float
    """How often chance gives a share as large; Holm-corrected over the settings of the method."""
    direction: float | None
    """Spearman's rank correlation of a number with the goodness of the score; None for a choice."""

    @property
    def is_shown(self) -> bool:
        """Whether chance is an unlikely explanation."""
        return self.p_value < ALPHA


def setting_importances(
    trials: Sequence[Trial], *, higher_is_better: bool, seed: int
) -> tuple[SettingImportance, ...] | str:
    """All settings that differ between trials, largest share first; or in words why nothing can be said.

    A trial that stopped early counts with its last score, one whose loss was not finite as the worst, a failed one
    not at all.
    """
    counted = [t for t in trials if t.score is not None or t.status == "non-finite"]
    if len(counted) < MIN_TRIALS:
        return f"too few trials: {len(counted)} with a score, {MIN_TRIALS} needed"
    sign = 1.0 if higher_is_better else -1.0
    scores = np.array([-np.inf if t.score is None else sign * t.score for t in counted])
    if np.all(scores == scores[0]):
        return "all trials have the same score"
    names = sorted({name for t in counted for name in t.setting})
    columns = {name: [t.setting.get(name) for t in counted] for name in names}
    found = [
        _importance(name, values, _ranks(scores), seed=seed)
        for name, values in columns.items()
        if len(set(map(repr, values))) > 1
    ]
    if not found:
        return "no setting was varied"
    corrected = holm([f.p_value for f in found])
    named = [replace(f, p_value=p) for f, p in zip(found, corrected, strict=True)]
    return tuple(sorted(named, key=lambda f: (-f.share, f.setting)))


def _importance(name: str, values: Sequence[object], ranks: np.ndarray, *, seed: int) -> SettingImportance:
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    is_number = len(numbers) == len(values)
    if is_number:
        x = _ranks(np.array(numbers))
        x = (x - x.mean()) / np.ptp(x)
        columns = [x, x**2]
    else:
        texts = [repr(v) for v in values]
        columns = [np.array([t == one for t in texts], np.float64) for one in sorted(set(texts))]
    # an orthonormal basis of everything the setting can explain beyond the mean
    centred = np.stack(columns, axis=1) - np.mean(columns, axis=1)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    basis = left[:, singular > 1e-9 * singular[0]]
    y = ranks - ranks.mean()
    generator = np.random.default_rng(seed_for(seed, "importance", name))
    dealt = generator.permuted(np.tile(y, (NUM_RESAMPLES, 1)), axis=1)
    share = float(((y @ basis) ** 2).sum() / (y @ y))
    by_chance = ((dealt @ basis) ** 2).sum(axis=1) / (y @ y)
    return SettingImportance(
        setting=name,
        share=min(share, 1.0),
        by_chance=float(by_chance.mean()),
        p_value=float((1 + np.sum(by_chance >= share - 1e-9)) / (NUM_RESAMPLES + 1)),
        direction=float(np.corrcoef(columns[0], y)[0, 1]) if is_number else None,
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    """1 for the smallest; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]

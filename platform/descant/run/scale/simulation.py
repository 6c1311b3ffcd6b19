"""A job with checkpoints and random failures, played through event by event for many seeds at once.

What ``checkpoints`` leaves out is in it: failures while saving and restarting, several in a row, an interval that is
not short against the time between failures, a job that ends.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np

from descant.core.errors import ConfigError
from descant.core.seeds import seed_for

MOST_LIVES = 7.0
"""An interval with its save and restart may last so many times the time between failures: 1 in 1,100 then survives."""


@dataclass(frozen=True)
class Played:
    """What happened to each copy of a job; float64 [runs] and int64 [runs]."""

    work: float
    """Seconds of work that the job is."""
    seconds: np.ndarray
    """Until it was done and saved."""
    failures: np.ndarray
    """That it met."""

    @property
    def effective_share(self) -> float:
        """Useful share of the time (ETTR), over all copies."""
        return float(self.work * len(self.seconds) / self.seconds.sum())


def play(
    work: float, interval: float, save: float, restart: float, mttf: float, *, runs: int, seed: int
) -> Played:
    """Play ``runs`` copies of a job of ``work`` seconds; the other times are those of ``checkpoints``, in seconds.

    Only whole intervals count after a failure; the last one may be shorter, and is saved too. Equal seeds give equal
    numbers. Raises ConfigError where failures are so frequent that the job would hardly ever reach a checkpoint.
    """
    if restart + min(work, interval) + save > MOST_LIVES * mttf:
        raise ConfigError(
            "E-SCALE-FAILURES",
            f"{min(work, interval) + save + restart:,.0f} s from one checkpoint to the next",
            f"a failure every {mttf:,.0f} s on average lets almost none of them be reached",
            "Nothing was started. Save more often, restart faster, or use fewer devices.",
        )
    generator = np.random.default_rng(seed_for(seed, "failures"))
    cycles = ceil(work / interval)
    last = work - (cycles - 1) * interval
    saved = np.zeros(runs, np.int64)
    seconds = np.zeros(runs)
    failures = np.zeros(runs, np.int64)
    running = np.arange(runs)
    while running.size:
        lives = generator.exponential(mttf, running.size)
        begun = np.where(failures[running] > 0, restart, 0.0)
        left = cycles - saved[running]
        needed = begun + (left - 1) * (interval + save) + last + save
        ends = lives >= needed
        seconds[running] += np.where(ends, needed, lives)
        whole = np.floor(np.maximum(lives - begun, 0) / (interval + save))
        saved[running] += np.minimum(whole, left - 1).astype(np.int64)
        failures[running] += ~ends
        running = running[~ends]
    return Played(work, seconds, failures)

"""How often to save, and what failures cost: the first-order model of Young (CACM 17(9), 1974).

A job saves after every ``interval`` seconds of work, for ``save`` seconds; failures come at random, one in ``mttf``
seconds on average; after one it takes ``restart`` seconds and the work since the last checkpoint is done again. The
model holds while the interval, the save and the restart are all short against ``mttf``; ``simulation`` tells where
they are not.
"""

from math import inf, sqrt

SECONDS_PER_HOUR = 3600.0


def mttf_seconds(devices: int, failures_per_device_hour: float) -> float:
    """Mean time between failures of a job that any of its devices stops."""
    return SECONDS_PER_HOUR / (devices * failures_per_device_hour) if failures_per_device_hour else inf


def best_interval(save: float, mttf: float) -> float:
    """Seconds of work between checkpoints for which saving and doing again cost least: sqrt(2 save mttf)."""
    return sqrt(2 * save * mttf)


def effective_share(interval: float, save: float, restart: float, mttf: float) -> float:
    """Useful share of the time (ETTR): 1 - save/interval - interval/(2 mttf) - restart/mttf.

    Below zero where the model does not hold any more.
    """
    return 1 - save / interval - interval / (2 * mttf) - restart / mttf

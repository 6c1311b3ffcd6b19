"""Bits per byte of scored texts: comparable between models whatever their tokenizers.

All bits over all bytes, so that long texts count by their length; the interval resamples texts.
"""

import math
from collections.abc import Sequence

import numpy as np

from descant.core.seeds import seed_for
from descant.evaluators.statistics import ALPHA, NUM_RESAMPLES, Interval


def bits_per_byte_score(
    nll: Sequence[float], num_bytes: Sequence[int], *, seed: int
) -> tuple[float, Interval]:
    """Bits per byte of texts and its percentile bootstrap interval.

    ``nll`` holds each text's negative log-likelihood in nats, ``num_bytes`` its length in UTF-8. Raises
    ValueError for different lengths and where there is no byte.
    """
    bits_n = np.asarray(nll, np.float64) / math.log(2)
    bytes_n = np.asarray(num_bytes, np.float64)
    _check(bits_n, bytes_n)
    return _ratio(bits_n, bytes_n, seed)


def bits_per_byte_difference(
    nll: Sequence[float], baseline_nll: Sequence[float], num_bytes: Sequence[int], *, seed: int
) -> tuple[float, Interval]:
    """By how much bits per byte of the same texts differ under two models, and the paired interval; below 0 is better.

    Raises as ``bits_per_byte_score``.
    """
    bits_n = (np.asarray(nll, np.float64) - np.asarray(baseline_nll, np.float64)) / math.log(2)
    bytes_n = np.asarray(num_bytes, np.float64)
    _check(bits_n, bytes_n)
    return _ratio(bits_n, bytes_n, seed)


def _check(bits_n: np.ndarray, bytes_n: np.ndarray) -> None:
    if bits_n.shape != bytes_n.shape or not bytes_n.sum():
        raise ValueError(f"{len(bits_n)} texts with {int(bytes_n.sum())} bytes")


def _ratio(bits_n: np.ndarray, bytes_n: np.ndarray, seed: int) -> tuple[float, Interval]:
    is_text_n = bytes_n > 0
    bits_n, bytes_n = bits_n[is_text_n], bytes_n[is_text_n]
    generator = np.random.default_rng(seed_for(seed, "bootstrap", "bits_per_byte"))
    n, values = len(bits_n), []
    size = max(1, (1 << 20) // n)
    for start in range(0, NUM_RESAMPLES, size):
        drawn = generator.integers(n, size=(min(size, NUM_RESAMPLES - start), n), dtype=np.int32)
        values.append(bits_n[drawn].sum(axis=1) / bytes_n[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(values), [ALPHA / 2, 1 - ALPHA / 2])
    return float(bits_n.sum() / bytes_n.sum()), Interval(float(low), float(high))

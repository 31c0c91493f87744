"""Intervals by resampling subjects: slices of one person are no independent samples."""

import dataclasses
from collections.abc import Sequence

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95
_SEED = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over subjects.

    Attributes:
        mean: over the subjects.
        low, high: ends of the 95 % interval; None for a single subject.
        n: number of subjects.
    """

    mean: float
    low: float | None
    high: float | None
    n: int


def mean_over_subjects(values: Sequence[float]) -> Interval:
    """The mean and its percentile bootstrap interval (Efron & Tibshirani 1993, ch. 13).

    The same values always give the same interval. With few subjects it is too narrow.

    Args:
        values: one for each subject.

    Raises:
        ValueError: there are none.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"values are {values.shape}, expected one for each subject")
    n = len(values)
    if n == 1 or not np.isfinite(values).all():
        return Interval(mean=float(values.mean()), low=None, high=None, n=n)
    chosen = np.random.default_rng(_SEED).integers(n, size=(RESAMPLES, n))
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(values[chosen].mean(axis=1), [tail, 100 - tail])
    return Interval(mean=float(values.mean()), low=float(low), high=float(high), n=n)

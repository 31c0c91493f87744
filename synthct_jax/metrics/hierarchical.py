"""Intervals of runs with several seeds: who was looked at and how training went.

Every seed of a variant is evaluated on the same subjects, so both are resampled, apart
from each other (the pigeonhole bootstrap: Owen, Annals of Applied Statistics 2007;
1:386). Variants share their subjects, who are resampled in common, so that a difference
is that on the same people; seeds are each variant's own.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from synthct_jax.metrics.bootstrap import LEVEL

RESAMPLES = 10_000
_AT_ONCE = 500  # what is in memory does not grow with their number
_SEED = 0

Statistic = Callable[..., np.ndarray]
"""Of arrays (..., seeds, subjects, ...), one for each variant, to one number each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: of all seeds and subjects.
        low, high: ends of the 95 % percentile interval; None for a single subject, or
            where the number is not defined.
        seeds: of each variant. With one, the interval knows nothing of how another
            training would have gone; with few it is too narrow.
        subjects: how many.
    """

    value: float
    low: float | None
    high: float | None
    seeds: tuple[int, ...]
    subjects: int

    @property
    def outside_0(self) -> bool | None:
        """Whether the interval leaves 0 out; None without one."""
        if self.low is None or self.high is None:
            return None
        return self.low > 0 or self.high < 0


def estimate(statistic: Statistic, *variants: np.ndarray) -> Estimate:
    """A statistic of one variant or of several, and its interval.

    The same values always give the same interval.

    Args:
        statistic: of arrays (resamples, seeds, subjects, ...), to (resamples,).
        variants: (seeds, subjects, ...), the same subjects in the same order. Numbers
            of seeds may differ.

    Raises:
        ValueError: a variant without seeds or subjects, or other numbers of subjects.
    """
    variants = tuple(np.asarray(values, np.float64) for values in variants)
    if (
        not variants
        or any(values.ndim < 2 or 0 in values.shape for values in variants)
        or len({values.shape[1] for values in variants}) > 1
    ):
        raise ValueError(
            f"values are {', '.join(str(v.shape) for v in variants) or 'none'}, "
            "expected (seeds, subjects) of one or more, with the same subjects"
        )
    seeds = tuple(len(values) for values in variants)
    subjects = variants[0].shape[1]
    value = float(statistic(*(values[None] for values in variants))[0])
    low = high = None
    if subjects > 1 and np.isfinite(value):
        found = _replicates(statistic, variants)
        found = found[np.isfinite(found)]  # a slope over one subject drawn n times
        tail = 50 * (1 - LEVEL)
        low, high = map(float, np.percentile(found, [tail, 100 - tail]))
    return Estimate(value=value, low=low, high=high, seeds=seeds, subjects=subjects)


def _replicates(statistic: Statistic, variants: tuple[np.ndarray, ...]) -> np.ndarray:
    rng = np.random.default_rng(_SEED)
    subjects = variants[0].shape[1]
    found = []
    for start in range(0, RESAMPLES, _AT_ONCE):
        count = min(_AT_ONCE, RESAMPLES - start)
        people = rng.integers(subjects, size=(count, 1, subjects))
        drawn = []
        for values in variants:
            seeds = rng.integers(len(values), size=(count, len(values), 1))
            drawn.append(values[seeds, people])
        found.append(statistic(*drawn))
    return np.concatenate(found)


# --- statistics -----------------------------------------------------------------------


def mean(values: np.ndarray) -> np.ndarray:
    """Mean over seeds of the mean over subjects, of (..., seeds, subjects)."""
    return values.mean(axis=(-2, -1))


def slope(pairs: np.ndarray) -> np.ndarray:
    """Least-squares slope of y on x over subjects, mean over seeds.

    Args:
        pairs: (..., seeds, subjects, 2), x and y.

    Returns:
        (...); NaN where x does not vary.
    """
    x, y = _centred(pairs)
    return _ratio((x * y).sum(axis=-1), (x * x).sum(axis=-1)).mean(axis=-1)


def correlation(pairs: np.ndarray) -> np.ndarray:
    """Pearson's correlation over subjects, mean over seeds; arguments as of `slope`."""
    x, y = _centred(pairs)
    scale = np.sqrt((x * x).sum(axis=-1) * (y * y).sum(axis=-1))
    return _ratio((x * y).sum(axis=-1), scale).mean(axis=-1)


def of_difference(statistic: Statistic) -> Statistic:
    """A statistic of one variant as that of the difference of two."""
    return lambda values, others: statistic(values) - statistic(others)


def _centred(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centred = pairs - pairs.mean(axis=-2, keepdims=True)
    return centred[..., 0], centred[..., 1]


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    known = below > 1e-12
    return np.where(known, above / np.where(known, below, 1), np.nan)

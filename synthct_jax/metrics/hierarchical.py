"""Intervals of runs with several seeds: who was looked at and how training went.

The variance has two parts. That of the subjects is found by bootstrap: variants share
their subjects, who are resampled in common, so that a difference is that on the same
people. That of the seeds, each variant's own, is their sample variance over their
number: three seeds resampled would make intervals far too narrow. Both together make a
t interval with the degrees of freedom of Satterthwaite (Biometrics Bulletin 1946;
2:110), few where the few seeds decide.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy.stats

from synthct_jax.metrics.bootstrap import LEVEL

RESAMPLES = 10_000  # the width is then within 2 % of that of ever so many
_AT_ONCE = 500  # what is in memory does not grow with their number
_SEED = 0

Statistic = Callable[..., np.ndarray]
"""Of arrays (..., seeds, subjects, ...), one for each variant, to one number each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: of all seeds and subjects.
        low, high: ends of the 95 % interval; None for a single subject, where the
            number is not defined, or where it is not in more than one of a hundred
            draws of the subjects.
        seeds: of each variant. With one, the interval knows nothing of how another
            training would have gone.
        subjects: how many.
    """

    value: float
    low: float | None
    high: float | None
    seeds: tuple[int, ...]
    subjects: int

    @property
    def outside_0(self) -> bool | None:
        """Whether the interval leaves 0 out; None without one, or with one seed."""
        if self.low is None or self.high is None or min(self.seeds, default=1) < 2:
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
        half = _half_width(statistic, variants)
        if np.isfinite(half):
            low, high = value - half, value + half
    return Estimate(value=value, low=low, high=high, seeds=seeds, subjects=subjects)


def _half_width(statistic: Statistic, variants: tuple[np.ndarray, ...]) -> float:
    subjects = variants[0].shape[1]
    found = _replicates(statistic, variants)
    known = found[np.isfinite(found)]
    if len(known) < 0.99 * len(found):  # a slope over one subject drawn n times
        return float("nan")
    # Of a bootstrap over n the variance comes out as (n - 1) / n of what it should be.
    parts = [(known.var() * subjects / (subjects - 1), subjects - 1)]
    for place, values in enumerate(variants):
        if (count := len(values)) > 1:
            each = [
                statistic(*(v[None] for v in (*before, values[[i]], *after)))[0]
                for before, after in [(variants[:place], variants[place + 1 :])]
                for i in range(count)
            ]
            parts.append((np.var(each, ddof=1) / count, count - 1))
    total = sum(variance for variance, _ in parts)
    if not total:
        return 0.0
    freedom = total**2 / sum(variance**2 / n for variance, n in parts)
    return float(scipy.stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(total))


def _replicates(statistic: Statistic, variants: tuple[np.ndarray, ...]) -> np.ndarray:
    rng = np.random.default_rng(_SEED)
    subjects = variants[0].shape[1]
    found = []
    for start in range(0, RESAMPLES, _AT_ONCE):
        count = min(_AT_ONCE, RESAMPLES - start)
        people = rng.integers(subjects, size=(count, 1, subjects))
        drawn = []
        for values in variants:
            drawn.append(values[np.arange(len(values))[:, None], people])
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

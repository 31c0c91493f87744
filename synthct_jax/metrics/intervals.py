"""Confidence intervals over subjects and over trainings, and paired differences.

Slices of one person are not independent, so the sample is the subjects. The interval of
a mean over few subjects is Student's t: the percentile bootstrap of six subjects covers
the true mean in 86 % of cases instead of 95 %.

With several trainings (seeds) the variance has two parts. That over subjects is the
jackknife's (Efron & Stein, Ann Stat 1981; 9:586), which for a mean is the sample
variance over their number. Variants share their subjects, who are left out of all of
them at once, so that a difference is paired. That over seeds, each variant's own, is
their sample variance over their number. Both together make a t interval with the
degrees of freedom of Satterthwaite (Biometrics Bulletin 1946; 2:110).
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import scipy.stats

LEVEL = 0.95

# With fewer subjects, all differ in one direction by chance in over 5 % of comparisons.
FEWEST_SUBJECTS = 6
# A line through fewer subjects fits too well for its residuals to say how well.
_FEWEST_SUBJECTS_OF_A_LINE = 5

BETTER, WORSE = "better", "worse"
SAME = "no significant difference"
TOO_FEW_SUBJECTS = "too few subjects to tell"
ONE_SEED = "one seed, not judged"

Limits = tuple[float, float]
UNLIMITED: Limits = (-math.inf, math.inf)

Statistic = Callable[[np.ndarray], float]
"""A function from (seeds, subjects) or, of pairs, (seeds, subjects, 2) to a number."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """A number with the interval around it.

    Attributes:
        value: the number.
        low, high: ends of its 95 % confidence interval, or of a reference range; None
            for a single subject and where the number is not finite.
        n: number of subjects.
    """

    value: float
    low: float | None
    high: float | None
    n: int

    @property
    def excludes_0(self) -> bool | None:
        """True if 0 is outside the interval; None without an interval."""
        return None if self.low is None else self.low > 0 or self.high < 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference of two methods on the same subjects, and what follows from it.

    Attributes:
        interval: first method minus second.
        verdict: for the first method: BETTER, WORSE, SAME, or why there is none:
            TOO_FEW_SUBJECTS, ONE_SEED.
    """

    interval: Interval
    verdict: str


def mean_interval(values: Sequence[float], limits: Limits = UNLIMITED) -> Interval:
    """Return the mean over subjects with its Student's t interval.

    Args:
        values: one for each subject; NaN where a subject has none.
        limits: least and largest value that the quantity can have.
    """
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return Interval(value=math.nan, low=None, high=None, n=0)
    return estimate(mean, values, limits=limits)


def estimate(
    statistic: Statistic, *variants: np.ndarray, limits: Limits = UNLIMITED
) -> Interval:
    """Return a statistic of one variant, or its difference between two, and interval.

    Args:
        statistic: `mean`, `slope`, `correlation` or another smooth one.
        variants: one or two arrays (subjects,), (seeds, subjects) or, of pairs, (seeds,
            subjects, 2), with the same subjects in the same order. Numbers of seeds may
            differ. With one seed the interval does not cover another training.
        limits: least and largest value that the result can have.

    Raises:
        ValueError: a variant is empty, or numbers of subjects differ.
    """
    variants = tuple(np.atleast_2d(np.asarray(v, np.float64)) for v in variants)
    if (
        len(variants) not in (1, 2)
        or any(0 in values.shape for values in variants)
        or len({values.shape[1] for values in variants}) > 1
    ):
        raise ValueError(
            f"values are {', '.join(str(v.shape) for v in variants) or 'none'}, "
            "expected (seeds, subjects) of one or two, with the same subjects"
        )
    subjects = variants[0].shape[1]
    fewest = 2 if variants[0].ndim == 2 else _FEWEST_SUBJECTS_OF_A_LINE
    with np.errstate(invalid="ignore"):  # infinite values have no interval
        value = _difference(statistic, variants)
        half = _half_width(statistic, variants) if subjects >= fewest else math.nan
    low = high = None
    if np.isfinite(value) and np.isfinite(half):
        low, high = max(value - half, limits[0]), min(value + half, limits[1])
    return Interval(value=value, low=low, high=high, n=subjects)


def paired_difference(
    first: np.ndarray,
    second: np.ndarray,
    *,
    higher_is_better: bool,
    statistic: Statistic | None = None,
    limits: Limits = UNLIMITED,
    judge_seeds: bool = False,
) -> Difference:
    """Return the difference of two methods on the same subjects, and the verdict.

    Args:
        first, second: arrays as for `estimate`; the difference is first minus second.
        higher_is_better: the direction of the metric.
        statistic: what is compared; the mean by default.
        limits: least and largest difference there can be.
        judge_seeds: whether the verdict is about trainings in general, so that a single
            seed cannot give one.
    """
    interval = estimate(statistic or mean, first, second, limits=limits)
    seeds = min(len(np.atleast_2d(values)) for values in (first, second))
    if interval.n < FEWEST_SUBJECTS:
        verdict = TOO_FEW_SUBJECTS
    elif judge_seeds and seeds < 2:
        verdict = ONE_SEED
    elif not interval.excludes_0:
        verdict = SAME
    else:
        verdict = BETTER if (interval.value > 0) == higher_is_better else WORSE
    return Difference(interval=interval, verdict=verdict)


# --- statistics -----------------------------------------------------------------------


def mean(values: np.ndarray) -> float:
    """Return the mean over seeds and subjects of (seeds, subjects)."""
    return float(values.mean())


def slope(pairs: np.ndarray) -> float:
    """Return the least-squares slope of y on x over subjects, mean over seeds.

    Args:
        pairs: (seeds, subjects, 2), x and y.

    Returns:
        The slope; NaN where x does not vary.
    """
    x, y = _centred(pairs)
    return float(_ratio((x * y).sum(axis=-1), (x * x).sum(axis=-1)).mean())


def correlation(pairs: np.ndarray) -> float:
    """Return Pearson's correlation over subjects, mean over seeds, of pairs (x, y)."""
    x, y = _centred(pairs)
    scale = np.sqrt((x * x).sum(axis=-1) * (y * y).sum(axis=-1))
    return float(_ratio((x * y).sum(axis=-1), scale).mean())


def _centred(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centred = pairs - pairs.mean(axis=-2, keepdims=True)
    return centred[..., 0], centred[..., 1]


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    known = denominator > 1e-12
    return np.where(known, numerator / np.where(known, denominator, 1), np.nan)


# --- variances ------------------------------------------------------------------------


def _difference(statistic: Statistic, variants: Sequence[np.ndarray]) -> float:
    first, *others = (statistic(values) for values in variants)
    return float(first - sum(others))


def _half_width(statistic: Statistic, variants: Sequence[np.ndarray]) -> float:
    subjects = variants[0].shape[1]
    left_out = [
        _difference(statistic, [np.delete(values, i, axis=1) for values in variants])
        for i in range(subjects)
    ]
    # Pairs of a variance of the result and its degrees of freedom.
    parts = [((subjects - 1) * np.var(left_out), subjects - 1)]
    for values in variants:
        if (seeds := len(values)) > 1:
            of_seeds = [statistic(values[[seed]]) for seed in range(seeds)]
            parts.append((np.var(of_seeds, ddof=1) / seeds, seeds - 1))
    total = sum(variance for variance, _ in parts)
    if not total:
        return 0.0
    freedom = total**2 / sum(variance**2 / n for variance, n in parts)
    return float(scipy.stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(total))

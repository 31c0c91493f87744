"""Means over readers and cases, both drawn at random, and their variance.

The variance is the U-statistic of Gallas (Acad Radiol 2006; 13:353; Gallas et al.,
Commun Stat Theory Methods 2009; 38:2586), as in the iMRMC program of the FDA. The mean
is of a kernel: a number for each reader and case, or for each reader and pair of a real
and a synthetic case. Its square, less the mean product of two kernels that share
neither reader nor case, estimates the variance of the mean without bias, also where
some readers did not answer all cases.
"""

import dataclasses
import itertools
import math

import numpy as np
import scipy.special

from synthct_jax.metrics.intervals import LEVEL, Interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over readers and cases.

    Attributes:
        variance: of the mean over studies with other readers and other cases.
        freedom: degrees of freedom of its t distribution.
        reader_variance, case_variance: of the skill of readers, and of how easy a case
            is for all of them; may be negative by chance.
        readers: their number.
    """

    value: float
    variance: float
    freedom: float
    reader_variance: float
    case_variance: float
    readers: int

    def interval(self, level: float = LEVEL) -> Interval:
        """Return the t interval within 0 to 1; no limits without a variance."""
        low = high = None
        if self.variance > 0:
            quantile = scipy.special.stdtrit(self.freedom, (1 + level) / 2)
            half = float(quantile) * math.sqrt(self.variance)
            low, high = max(self.value - half, 0.0), min(self.value + half, 1.0)
        return Interval(value=self.value, low=low, high=high, n=self.readers)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Two one-sided tests of a mean against 50 % (Schuirmann, J Pharmacokinet 1987).

    Attributes:
        margin: distance from 50 % that counts as equivalent.
        interval: at 90 %: the tests succeed at 5 % if the margins hold it.
        p: the larger of the two probabilities; None without a variance.
        equivalent: whether the mean is nearer to 50 % than the margin, at 5 %; None
            without a variance.
    """

    margin: float
    interval: Interval
    p: float | None
    equivalent: bool | None


def roc_kernel(real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Return 1 where a synthetic case has the higher score, 1/2 where both are equal.

    The mean of the kernel is the area under the ROC curve. With scores of 0 and 1 it is
    the mean of sensitivity and specificity.

    Args:
        real, synthetic: scores, (readers, cases), higher for synthetic; NaN where a
            reader did not answer.

    Returns:
        (readers, real cases, synthetic cases); NaN where either is missing.
    """
    difference = synthetic[:, None, :] - real[:, :, None]
    return np.where(np.isnan(difference), np.nan, (np.sign(difference) + 1) / 2)


def estimate(kernel: np.ndarray) -> Estimate:
    """Return the mean of a kernel over readers and cases, with its variance.

    The variance is not less than that of the mean over readers if they read other cases
    each, and its degrees of freedom are those of Hillis (Stat Med 2007; 26:596).

    Args:
        kernel: (readers, cases), or (readers, real cases, synthetic cases); NaN where
            it is not known.

    Raises:
        ValueError: there are fewer than two readers or two cases of a kind, or a reader
            without any.
    """
    known = ~np.isnan(kernel)
    if min(kernel.shape) < 2 or not known.any(axis=tuple(range(1, kernel.ndim))).all():
        raise ValueError(
            f"answers have the shape {kernel.shape}, expected two or more readers and "
            "cases of each kind, and answers of each reader to both kinds"
        )
    values, counts = np.where(known, kernel, 0.0), known.astype(np.float64)
    mean = float(values.sum() / counts.sum())
    apart = _mean_product(values, counts, ())
    per_reader = np.nanmean(kernel.reshape(len(kernel), -1), axis=1)
    between = float(per_reader.var(ddof=1)) / len(kernel)
    variance = max(mean**2 - apart, between)
    freedom = len(kernel) - 1
    if between > 0:
        freedom *= (variance / between) ** 2
    kinds = [_mean_product(values, counts, (k,)) for k in range(1, kernel.ndim)]
    # A pair has half of its kernel from either case, as far as cases are concerned.
    case_variance = len(kinds) * sum(product - apart for product in kinds)
    return Estimate(
        value=mean,
        variance=variance,
        freedom=float(freedom),
        reader_variance=_mean_product(values, counts, (0,)) - apart,
        case_variance=case_variance,
        readers=len(kernel),
    )


def reader_area(kernel: np.ndarray) -> Interval:
    """Return one reader's area under the ROC curve; cases are drawn, the reader is not.

    Args:
        kernel: (real cases, synthetic cases), without NaN.
    """
    value = float(kernel.mean())
    low = high = None
    if min(kernel.shape) > 1:
        apart = _mean_product(kernel, np.ones_like(kernel), ())
        half = float(scipy.special.ndtri((1 + LEVEL) / 2)) * math.sqrt(
            max(value**2 - apart, 0.0)
        )
        if half:
            low, high = max(value - half, 0.0), min(value + half, 1.0)
    return Interval(value=value, low=low, high=high, n=kernel.size)


def equivalence(result: Estimate, margin: float) -> Equivalence:
    """Test whether a mean is within `margin` of 1/2, at a level of 5 %."""
    p = equivalent = None
    if result.variance > 0:
        distance = (margin - abs(result.value - 0.5)) / math.sqrt(result.variance)
        p = float(scipy.special.stdtr(result.freedom, -distance))
        equivalent = p < 0.05
    interval = result.interval(0.9)
    return Equivalence(margin=margin, interval=interval, p=p, equivalent=equivalent)


def _mean_product(
    values: np.ndarray, counts: np.ndarray, shared: tuple[int, ...]
) -> float:
    """Return the mean product of two entries of a kernel whose indices are equal on
    these axes alone.

    Pairs with further equal indices are taken away by inclusion and exclusion.

    Args:
        values: kernel, 0 where it is not known.
        counts: 1 where it is known, else 0.
        shared: axes on which the indices are equal.
    """
    total = pairs = 0.0
    others = [axis for axis in range(values.ndim) if axis not in shared]
    for size in range(len(others) + 1):
        for free in itertools.combinations(others, size):
            sign = (-1) ** (len(others) - size)
            total += sign * np.square(values.sum(axis=free)).sum()
            pairs += sign * np.square(counts.sum(axis=free)).sum()
    return float(total / pairs)

"""Shares of answers: exact intervals, and the agreement of readers."""

import numpy as np
import scipy.special

from synthct_jax.metrics.intervals import LEVEL, Interval


def share(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Return a share with its exact interval (Clopper & Pearson, Biometrika 1934).

    The n answers count as independent. The share of no answers is NaN, without limits.
    """
    if not n:
        return Interval(value=np.nan, low=None, high=None, n=0)
    tail = (1 - level) / 2
    low, high = 0.0, 1.0
    if successes > 0:
        low = float(scipy.special.betaincinv(successes, n - successes + 1, tail))
    if successes < n:
        high = float(scipy.special.betaincinv(successes + 1, n - successes, 1 - tail))
    return Interval(value=successes / n, low=low, high=high, n=n)


def fleiss_kappa(answers: np.ndarray) -> float:
    """Return the agreement of readers beyond chance (Fleiss, Psych Bull 1971; 76:378).

    Args:
        answers: (..., cases, readers) bool, of two readers or more.

    Returns:
        1 for full agreement, 0 for that of chance; NaN if all answers are the same.
    """
    readers = answers.shape[-1]
    positive = answers.sum(axis=-1)
    agreeing = positive * (positive - 1) + (readers - positive) * (
        readers - positive - 1
    )
    observed = agreeing.mean() / (readers * (readers - 1))
    share_positive = answers.mean()
    expected = share_positive**2 + (1 - share_positive) ** 2
    return float((observed - expected) / (1 - expected)) if expected < 1 else np.nan

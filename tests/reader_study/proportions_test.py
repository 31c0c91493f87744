"""Exact intervals of shares, and the agreement of readers."""

import numpy as np
import pytest
import scipy.stats

from synthct_jax.reader_study.proportions import fleiss_kappa, share


@pytest.mark.parametrize(("right", "n"), [(0, 7), (3, 7), (7, 7), (1781, 3000)])
def test_interval_is_that_of_the_exact_binomial_test(right, n):
    interval = share(right, n)
    expected = scipy.stats.binomtest(right, n).proportion_ci(0.95, method="exact")
    assert (interval.value, interval.n) == (right / n, n)
    assert (interval.low, interval.high) == pytest.approx(tuple(expected))


def test_share_of_nothing_has_no_limits():
    assert np.isnan(share(0, 0).value)
    assert share(0, 0).low is None


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.8])
def test_exact_intervals_cover_what_they_say(probability):
    """The probability of coverage, summed over all outcomes, is 95 % or more."""
    n = 30
    outcomes = np.arange(n + 1)
    covers = [share(k, n).low <= probability <= share(k, n).high for k in outcomes]
    assert scipy.stats.binom.pmf(outcomes, n, probability)[covers].sum() >= 0.95


def test_kappa_is_1_for_full_agreement_and_near_0_for_chance():
    rng = np.random.default_rng(0)
    answers = rng.random((2000, 1)) < 0.3
    assert fleiss_kappa(np.repeat(answers, 4, axis=1)) == 1
    assert abs(fleiss_kappa(rng.random((2000, 4)) < 0.3)) < 0.03
    assert np.isnan(fleiss_kappa(np.ones((5, 3), bool)))


def test_kappa_of_two_readers_is_scotts_pi():
    """Both agree on 12 of 20 cases; 22 of 40 answers are 'synthetic'."""
    answers = np.array([(1, 1)] * 7 + [(0, 0)] * 5 + [(1, 0)] * 5 + [(0, 1)] * 3, bool)
    chance = (22 / 40) ** 2 + (18 / 40) ** 2
    assert fleiss_kappa(answers) == pytest.approx((12 / 20 - chance) / (1 - chance))

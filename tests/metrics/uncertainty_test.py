"""Spread beside errors: known coverage, and correlation as SciPy has it."""

import numpy as np
import pytest
import scipy.stats

from synthct_jax.metrics import uncertainty

SHAPE = (6, 50, 60)
ZEROS = np.zeros(SHAPE, np.float32)
BODY = np.ones(SHAPE, bool)


def test_a_true_standard_deviation_covers_nine_of_ten_voxels():
    rng = np.random.default_rng(0)
    spread = rng.uniform(5, 80, SHAPE).astype(np.float32)
    reference_ct = rng.normal(0, spread).astype(np.float32)
    compared = uncertainty.compare(spread, ZEROS, reference_ct, BODY)
    assert compared["coverage"] == pytest.approx(90, abs=0.7)
    assert compared["factor"] == pytest.approx(1, abs=0.02)
    errors = np.abs(reference_ct)
    rank_correlation = scipy.stats.spearmanr(spread.ravel(), errors.ravel()).statistic
    assert compared["correlation"] == pytest.approx(rank_correlation)


def test_half_of_it_needs_an_interval_twice_as_wide():
    rng = np.random.default_rng(1)
    spread = rng.uniform(5, 80, SHAPE)
    reference_ct = rng.normal(0, spread)
    compared = uncertainty.compare(spread / 2, ZEROS, reference_ct, BODY)
    assert compared["coverage"] == pytest.approx(58.9, abs=1)  # within 0.82 deviations
    assert compared["factor"] == pytest.approx(2, abs=0.04)


def test_errors_and_spreads_with_ties_have_scipys_correlation():
    rng = np.random.default_rng(2)
    spread = rng.integers(0, 4, SHAPE).astype(np.float32)
    reference_ct = (spread + rng.integers(0, 3, SHAPE)).astype(np.float32)
    compared = uncertainty.compare(spread, ZEROS, reference_ct, BODY)
    rank_correlation = scipy.stats.spearmanr(spread.ravel(), reference_ct.ravel())
    assert compared["correlation"] == pytest.approx(rank_correlation.statistic)


def test_no_spread_covers_exact_voxels_alone():
    reference_ct = ZEROS.copy()
    reference_ct[:2] = 10
    compared = uncertainty.compare(ZEROS, ZEROS, reference_ct, BODY)
    assert compared["coverage"] == pytest.approx(100 * 4 / 6)
    assert compared["factor"] == np.inf and np.isnan(compared["correlation"])
    only_exact = np.zeros(SHAPE, bool)
    only_exact[2:] = True
    compared = uncertainty.compare(ZEROS, ZEROS, reference_ct, only_exact)
    assert compared["coverage"] == 100 and compared["factor"] == 0

"""Histograms of HU, their divergences, and intervals over subjects."""

import numpy as np
import pytest

from synthct_jax.metrics import histogram
from synthct_jax.metrics.bootstrap import mean_over_subjects


def test_divergences_are_those_computed_by_hand():
    # Half a count is added to each bin: (2, 1, 1) / 4 and (1, 1, 2) / 4.
    p, q = np.array([1.5, 0.5, 0.5]), np.array([0.5, 0.5, 1.5])
    assert histogram.kl_divergence(p, q) == pytest.approx(np.log(2) / 4)
    expected = 0.5 * np.log(4 / 3) + 0.25 * np.log(2 / 3)
    assert histogram.jensen_shannon_divergence(p, q) == pytest.approx(expected)


def test_divergence_from_itself_is_zero_and_kl_has_a_direction():
    p, q = np.array([90, 10, 0]), np.array([30, 40, 30])
    assert histogram.kl_divergence(p, p) == 0
    assert histogram.jensen_shannon_divergence(p, p) == 0
    assert histogram.kl_divergence(p, q) != pytest.approx(histogram.kl_divergence(q, p))
    assert histogram.jensen_shannon_divergence(p, q) == pytest.approx(
        histogram.jensen_shannon_divergence(q, p)
    )


def test_divergence_of_histograms_without_overlap_is_finite():
    p, q = np.array([10**6, 0]), np.array([0, 10**6])
    assert np.isfinite(histogram.kl_divergence(p, q))
    assert histogram.jensen_shannon_divergence(p, q) == pytest.approx(
        np.log(2), abs=1e-4
    )


def test_an_empty_histogram_is_refused():
    with pytest.raises(ValueError, match="no voxels"):
        histogram.kl_divergence(np.zeros(4), np.ones(4))
    with pytest.raises(ValueError, match="bins differ"):
        histogram.kl_divergence(np.ones(3), np.ones(4))


def test_counts_add_up_over_the_mask_and_its_ends():
    hu = np.array([[-5000, -1024, 40, 41, 3000, 77]])
    mask = np.array([[True, True, True, True, True, False]])
    counts = histogram.count_hu(hu, mask)
    assert counts.sum() == 5
    assert counts[0] == 2 and counts[-1] == 1
    assert counts[np.abs(histogram.CENTRES_HU - 46).argmin()] == 2
    assert (histogram.density(counts) * histogram.STEP_HU).sum() == pytest.approx(1)


def test_the_interval_is_deterministic_and_holds_the_mean():
    values = [90.0, 100, 110, 95, 130]
    found = mean_over_subjects(values)
    assert found == mean_over_subjects(values)
    assert found.mean == 105 and found.n == 5
    assert 90 <= found.low < found.mean < found.high <= 130


def test_the_interval_has_about_its_width_by_theory():
    values = np.random.default_rng(0).normal(50, 8, 400)
    found = mean_over_subjects(values)
    expected = 2 * 1.96 * values.std() / 20
    assert found.high - found.low == pytest.approx(expected, rel=0.05)


def test_a_single_subject_has_no_interval():
    found = mean_over_subjects([3.0])
    assert (found.mean, found.low, found.high, found.n) == (3, None, None, 1)
    with pytest.raises(ValueError, match="one for each subject"):
        mean_over_subjects([])

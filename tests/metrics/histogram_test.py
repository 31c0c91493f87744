"""Histograms of HU and their distances."""

import numpy as np
import pytest

from synthct_jax.metrics import histogram, tissues


def test_kl_divergence_is_that_computed_by_hand():
    # Half a count is added to each bin: (2, 1, 1) / 4 and (1, 1, 2) / 4.
    p, q = np.array([1.5, 0.5, 0.5]), np.array([0.5, 0.5, 1.5])
    assert histogram.kl_divergence(p, q) == pytest.approx(np.log(2) / 4)


def test_kl_divergence_from_itself_is_zero_and_has_a_direction():
    p, q = np.array([90, 10, 0]), np.array([30, 40, 30])
    assert histogram.kl_divergence(p, p) == 0
    assert histogram.kl_divergence(p, q) != pytest.approx(histogram.kl_divergence(q, p))


def test_kl_divergence_of_histograms_without_overlap_is_finite():
    p, q = np.array([10**6, 0]), np.array([0, 10**6])
    assert np.isfinite(histogram.kl_divergence(p, q))


def test_an_empty_histogram_is_refused():
    with pytest.raises(ValueError, match="no voxels"):
        histogram.kl_divergence(np.zeros(4), np.ones(4))
    with pytest.raises(ValueError, match="bins differ"):
        histogram.kl_divergence(np.ones(3), np.ones(4))


def test_values_beyond_the_range_count_in_the_outermost_bins():
    hu = np.array([[-5000, -1024, 40, 41, 3000, 77]])
    mask = np.array([[True, True, True, True, True, False]])
    counts = histogram.count_hu(hu, mask)
    assert counts.sum() == 5
    assert counts[0] == 2 and counts[-1] == 1
    assert counts[np.abs(histogram.CENTRES_HU - 46).argmin()] == 2
    assert (histogram.density(counts) * histogram.STEP_HU).sum() == pytest.approx(1)


def test_counts_are_those_of_numpy_even_at_edges():
    hu = np.random.default_rng(0).normal(0, 700, (19, 20, 24)).astype(np.float32)
    edges = np.arange(-1024, 1537, 20, dtype=np.float32)
    below, above = np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf)
    hu[:1] = np.resize([edges, below, above], (1, 20, 24))
    mask = np.random.default_rng(1).random(hu.shape) < 0.7
    mask[:1] = True
    inside = np.clip(hu[mask], -1024, 1536).astype(np.float64)
    expected = np.histogram(inside, edges.astype(np.float64))[0]
    counts = histogram.count_hu(hu, mask)
    np.testing.assert_array_equal(counts, expected)
    assert counts.dtype == np.int64
    whole = np.round(hu)
    np.testing.assert_array_equal(
        histogram.count_hu(whole.astype(np.int16), mask),
        histogram.count_hu(whole[:16], mask[:16])
        + histogram.count_hu(whole[16:], mask[16:]),
    )
    with pytest.raises(ValueError, match=r"HU \(19, 20, 24\), mask \(18, 20, 24\)"):
        histogram.count_hu(hu, mask[1:])


# scipy 1.17.1, scipy.stats.wasserstein_distance(20 * k, 20 * k, P, Q) for k = 0 ... 11.
P = np.array([95, 331, 701, 900, 701, 331, 95, 16, 2, 0, 0, 0])
Q = np.array([31, 85, 184, 321, 447, 500, 447, 321, 184, 125, 71, 49])
WASSERSTEIN = 44.263977980931706


def test_wasserstein_distance_is_that_of_scipy():
    assert histogram.wasserstein(P, Q) == pytest.approx(WASSERSTEIN, rel=1e-12)
    assert histogram.wasserstein(Q, P) == histogram.wasserstein(P, Q)


def test_wasserstein_distance_is_the_way_between_disjoint_histograms():
    p, q = np.zeros(8, int), np.zeros(8, int)
    p[1], q[6] = 30, 7
    assert histogram.wasserstein(3 * P, P) == pytest.approx(0, abs=1e-12)
    assert histogram.wasserstein(p, q) == pytest.approx(5 * histogram.STEP_HU)
    with pytest.raises(ValueError, match="no voxels"):
        histogram.wasserstein(p, 0 * q)
    with pytest.raises(ValueError, match="bins differ"):
        histogram.wasserstein(p, q[1:])


def test_wasserstein_distance_of_a_shift_is_its_hu():
    hu = np.random.default_rng(2).normal(40, 150, (3, 60, 60))
    counts = [histogram.count_hu(hu + s, np.full(hu.shape, True)) for s in (0, 30)]
    assert histogram.wasserstein(*counts) == pytest.approx(30, abs=0.5)


def test_every_bin_belongs_to_one_tissue():
    counts = np.random.default_rng(3).integers(1, 99, len(histogram.CENTRES_HU))
    bands = [histogram.of_band(counts, name) for name in tissues.BANDS]
    np.testing.assert_array_equal(np.concatenate(bands), counts)
    shares = [histogram.share(counts, name) for name in tissues.BANDS]
    assert sum(shares) == pytest.approx(1)


@pytest.mark.parametrize("tissue", tissues.BANDS)
def test_bins_meet_the_limits_of_tissues_within_half_a_bin(tissue):
    edges = histogram.of_band(histogram.CENTRES_HU, tissue)
    for limit, edge in zip(tissues.BANDS[tissue], edges[[0, -1]], strict=True):
        assert np.isinf(limit) or abs(limit - edge) <= histogram.STEP_HU

import numpy as np
import pytest

from synthct_jax.metrics import hierarchical
from synthct_jax.metrics.bootstrap import mean_over_subjects
from synthct_jax.metrics.hierarchical import correlation, estimate, mean, slope


def values(seeds=3, subjects=20, *, of_seeds=0.0, of_subjects=1.0, seed=0):
    """Made of what a seed adds, what a subject adds and a little noise."""
    rng = np.random.default_rng(seed)
    return (
        10
        + of_seeds * rng.standard_normal((seeds, 1))
        + of_subjects * rng.standard_normal((1, subjects))
        + 0.1 * rng.standard_normal((seeds, subjects))
    )


def width(found):
    return found.high - found.low


def test_one_seed_has_the_interval_of_its_subjects():
    one = values(1)
    found, plain = estimate(mean, one), mean_over_subjects(one[0])
    assert found.value == pytest.approx(plain.mean)
    assert found.low == pytest.approx(plain.low, abs=0.02)
    assert found.high == pytest.approx(plain.high, abs=0.02)
    assert (found.seeds, found.subjects) == ((1,), 20)


def test_seeds_that_differ_widen_the_interval():
    alike = estimate(mean, values(5, 40, of_subjects=0.1))
    apart = estimate(mean, values(5, 40, of_subjects=0.1, of_seeds=2))
    assert width(apart) > 10 * width(alike)
    # Five seeds of standard deviation 2, resampled: 2 * sqrt(4 / 5) / sqrt(5) and more.
    assert 1 < width(apart) < 2 * 2 * 1.96


def test_the_same_values_give_the_same_interval():
    assert estimate(mean, values()) == estimate(mean, values())


def test_a_difference_is_one_on_the_same_people():
    a = values(2, 30, of_subjects=20)
    b = a[:1] - 1  # better by 1 in everybody, who differ by 20
    found = estimate(hierarchical.of_difference(mean), a, b)
    assert found.value == pytest.approx(1, abs=0.2)
    assert width(found) < 0.5 and found.outside_0
    assert found.seeds == (2, 1)
    shuffled = b[:, np.random.default_rng(1).permutation(30)]
    mixed = estimate(hierarchical.of_difference(mean), a, shuffled)
    assert width(mixed) > 10 * width(found) and mixed.outside_0 is False


def test_about_95_of_100_intervals_hold_the_truth():
    hits = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        scores = 3 * rng.standard_normal((8, 1)) + rng.standard_normal((1, 25))
        found = estimate(mean, scores)
        hits += found.low < 0 < found.high
    assert 50 <= hits <= 60


def test_a_single_subject_has_no_interval():
    found = estimate(mean, values(3, 1))
    assert (found.low, found.high, found.outside_0) == (None, None, None)


def test_slope_and_correlation_are_those_of_numpy():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 15))
    y = 0.5 * x + 0.1 * rng.standard_normal((2, 15))
    pairs = np.stack([x, y], axis=-1)
    slopes = [np.polyfit(a, b, 1)[0] for a, b in zip(x, y, strict=True)]
    assert slope(pairs) == pytest.approx(np.mean(slopes), rel=1e-9)
    correlations = [np.corrcoef(a, b)[0, 1] for a, b in zip(x, y, strict=True)]
    assert correlation(pairs) == pytest.approx(np.mean(correlations), rel=1e-9)
    found = estimate(slope, pairs)
    assert found.low < 0.5 < found.high and width(found) < 0.3


def test_what_is_not_defined_is_no_number_and_has_no_interval():
    flat = np.zeros((1, 5, 2))
    flat[..., 1] = np.arange(5)
    found = estimate(slope, flat)
    assert np.isnan(found.value) and found.low is None
    # Two subjects drawn twice have no slope: those draws do not count.
    two = np.array([[[0, 0], [1, 2.0]]])
    assert estimate(slope, two).low == pytest.approx(2)


@pytest.mark.parametrize(
    "variants",
    [
        (),
        (np.zeros(3),),
        (np.zeros((0, 3)),),
        (np.zeros((2, 0)),),
        (np.zeros((2, 3)), np.zeros((2, 4))),
    ],
)
def test_values_of_another_shape_are_refused(variants):
    with pytest.raises(ValueError, match="expected .seeds, subjects."):
        estimate(mean, *variants)

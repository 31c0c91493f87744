import numpy as np
import pytest
import scipy.stats

from synthct_jax.metrics import hierarchical
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


@pytest.mark.parametrize("subjects", [2, 5, 8, 20, 100])
def test_one_seed_has_the_t_interval_of_its_subjects(subjects):
    one = values(1, subjects)
    found = estimate(mean, one)
    expected = scipy.stats.t.interval(
        0.95, subjects - 1, loc=one.mean(), scale=scipy.stats.sem(one[0])
    )
    assert found.value == pytest.approx(one.mean())
    assert width(found) == pytest.approx(expected[1] - expected[0], rel=0.02)
    assert (found.seeds, found.subjects) == ((1,), subjects)
    assert found.outside_0 is None  # another training might turn it round


def test_seeds_that_differ_widen_the_interval():
    alike = estimate(mean, values(5, 40, of_subjects=0.1))
    apart = estimate(mean, values(5, 40, of_subjects=0.1, of_seeds=2))
    assert width(apart) > 10 * width(alike)
    # Five seeds of standard deviation about 2: t of 4 degrees times 2 / sqrt(5) a side.
    assert 1 < width(apart) < 2 * 2 * 1.96


def test_the_same_values_give_the_same_interval():
    assert estimate(mean, values()) == estimate(mean, values())


def test_a_difference_is_one_on_the_same_people():
    a = values(3, 30, of_subjects=20)
    b = a[:2] - 1  # better by 1 in everybody, who differ by 20
    found = estimate(hierarchical.of_difference(mean), a, b)
    assert found.value == pytest.approx(1, abs=0.2)
    assert width(found) < 0.5 and found.outside_0
    assert found.seeds == (3, 2)
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


@pytest.mark.parametrize("statistic", [slope, correlation])
@pytest.mark.parametrize("subjects", [2, 3, 4])
def test_a_line_through_a_few_subjects_has_no_interval(statistic, subjects):
    pairs = np.random.default_rng(0).standard_normal((3, 6, 2))
    found = estimate(statistic, pairs[:, :subjects])
    assert np.isfinite(found.value)
    assert (found.low, found.high, found.outside_0) == (None, None, None)
    assert estimate(statistic, pairs).low is not None


@pytest.mark.parametrize("scatter", [0.5, 1.0])
def test_three_seeds_that_do_not_differ_are_rarely_told_apart(monkeypatch, scatter):
    monkeypatch.setattr(hierarchical, "RESAMPLES", 200)
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(300):
        people = 3 * rng.standard_normal((1, 24))
        a, b = (
            people
            + scatter * rng.standard_normal((3, 1))
            + rng.standard_normal((3, 24))
            for _ in range(2)
        )
        wrong += estimate(hierarchical.of_difference(mean), a, b).outside_0
    assert wrong / 300 < 0.08


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

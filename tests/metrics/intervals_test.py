import numpy as np
import pytest
import scipy.stats

from synthct_jax.metrics.intervals import (
    BETTER,
    FISHER_Z,
    ONE_SEED,
    SAME,
    TOO_FEW_SUBJECTS,
    UNCHANGED,
    WORSE,
    correlation,
    estimate,
    mean,
    mean_interval,
    paired_difference,
    slope,
)


def values(seeds=3, subjects=20, *, of_seeds=0.0, of_subjects=1.0, seed=0):
    """Sums of what a seed adds, what a subject adds and a little noise."""
    rng = np.random.default_rng(seed)
    return (
        10
        + of_seeds * rng.standard_normal((seeds, 1))
        + of_subjects * rng.standard_normal((1, subjects))
        + 0.1 * rng.standard_normal((seeds, subjects))
    )


def width(interval):
    return interval.high - interval.low


@pytest.mark.parametrize("subjects", [2, 5, 8, 20, 100])
def test_mean_over_subjects_has_the_t_interval(subjects):
    (scores,) = values(1, subjects)
    interval = mean_interval(scores)
    low, high = scipy.stats.t.interval(
        0.95, subjects - 1, loc=scores.mean(), scale=scipy.stats.sem(scores)
    )
    assert interval.value == pytest.approx(scores.mean())
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert interval.n == subjects
    assert estimate(mean, scores) == interval


@pytest.mark.parametrize("subjects", [3, 6, 24])
def test_95_of_100_intervals_of_few_subjects_cover_the_mean(subjects):
    rng = np.random.default_rng(0)
    intervals = [mean_interval(rng.standard_normal(subjects)) for _ in range(1500)]
    covered = np.mean([each.low < 0 < each.high for each in intervals])
    assert covered == pytest.approx(0.95, abs=0.015)


def test_95_of_100_intervals_of_few_seeds_cover_the_mean():
    covered = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        scores = 3 * rng.standard_normal((4, 1)) + rng.standard_normal((1, 12))
        interval = estimate(mean, scores)
        covered.append(interval.low < 0 < interval.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.035)


def test_interval_ends_at_the_limits_of_its_quantity():
    dice = [0.99, 0.8, 0.999, 0.97]
    assert mean_interval(dice).high > 1
    interval = mean_interval(dice, limits=(0, 1))
    assert interval.high == 1
    assert interval.low == mean_interval(dice).low


def test_missing_values_are_left_out_of_the_mean():
    assert mean_interval([1.0, float("nan"), 3.0]) == mean_interval([1.0, 3.0])
    nothing = mean_interval([float("nan")])
    assert np.isnan(nothing.value) and nothing.low is None and nothing.n == 0


def test_infinite_mean_has_no_interval():
    interval = mean_interval([np.inf, 40.0, np.inf])
    assert interval.value == np.inf and interval.low is None and interval.n == 3


def test_single_subject_has_no_interval():
    for interval in (estimate(mean, values(3, 1)), mean_interval([1.0])):
        assert (interval.low, interval.high, interval.excludes_0) == (None, None, None)


def test_seeds_that_differ_widen_the_interval():
    alike = estimate(mean, values(5, 40, of_subjects=0.1))
    apart = estimate(mean, values(5, 40, of_subjects=0.1, of_seeds=2))
    assert width(apart) > 10 * width(alike)
    # Five seeds of standard deviation about 2: t of 4 degrees times 2 / sqrt(5) a side.
    assert 1 < width(apart) < 2 * 2 * 1.96


def test_difference_is_taken_subject_by_subject():
    a = values(3, 30, of_subjects=20)
    b = a[:2] - 1  # better by 1 in everybody, who differ by 20
    interval = estimate(mean, a, b)
    assert interval.value == pytest.approx(1, abs=0.2)
    assert width(interval) < 0.5 and interval.excludes_0
    shuffled = b[:, np.random.default_rng(1).permutation(30)]
    mixed = estimate(mean, a, shuffled)
    assert width(mixed) > 10 * width(interval) and mixed.excludes_0 is False


def test_difference_of_one_seed_each_is_the_paired_t_test():
    a, b = values(1, 12), values(1, 12, seed=1)
    interval = estimate(mean, a[0], b[0])
    expected = scipy.stats.ttest_rel(a[0], b[0]).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx(tuple(expected))


def test_verdict_follows_the_direction_of_the_metric():
    a = values(2, 20)
    for other, lower, higher in ((a + 1, BETTER, WORSE), (a - 1, WORSE, BETTER)):
        lower_is_better = paired_difference(a, other, higher_is_better=False)
        higher_is_better = paired_difference(a, other, higher_is_better=True)
        assert (lower_is_better.verdict, higher_is_better.verdict) == (lower, higher)
    same = a + 0.1 * np.random.default_rng(0).standard_normal((2, 20))
    assert paired_difference(a, same, higher_is_better=True).verdict == SAME


def test_few_subjects_and_single_seeds_are_not_judged():
    a = values(1, 20)
    few = paired_difference(a[:, :5], a[:, :5] + 1, higher_is_better=True)
    assert few.verdict == TOO_FEW_SUBJECTS
    one_seed = paired_difference(a, a + 1, higher_is_better=True, judge_seeds=True)
    assert one_seed.verdict == ONE_SEED
    assert paired_difference(a, a + 1, higher_is_better=True).verdict == WORSE


def test_slope_and_correlation_are_those_of_numpy():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 15))
    y = 0.5 * x + 0.1 * rng.standard_normal((2, 15))
    pairs = np.stack([x, y], axis=-1)
    slopes = [np.polyfit(a, b, 1)[0] for a, b in zip(x, y, strict=True)]
    assert slope(pairs) == pytest.approx(np.mean(slopes), rel=1e-9)
    correlations = [np.corrcoef(a, b)[0, 1] for a, b in zip(x, y, strict=True)]
    assert correlation(pairs) == pytest.approx(np.mean(correlations), rel=1e-9)
    interval = estimate(slope, pairs)
    assert interval.low < 0.5 < interval.high and width(interval) < 0.3


@pytest.mark.parametrize("subjects", [6, 10])
@pytest.mark.parametrize(
    ("statistic", "transform"), [(slope, UNCHANGED), (correlation, FISHER_Z)]
)
def test_95_of_100_intervals_of_few_subjects_cover_a_line(
    statistic, transform, subjects
):
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(600):
        x = rng.standard_normal((1, subjects))
        y = 0.6 * x + 0.8 * rng.standard_normal((1, subjects))
        pairs = np.stack([x, y], axis=-1)
        interval = estimate(statistic, pairs, transform=transform)
        covered.append(interval.low < 0.6 < interval.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.025)


def test_interval_of_a_correlation_is_lopsided_and_below_1():
    x = np.arange(8.0)
    y = x + [0.5, -0.5, 0.3, 0, -0.3, 0.5, -0.5, 0]
    pairs, line = (np.stack([x, end], axis=-1)[np.newaxis] for end in (y, x))
    interval = estimate(correlation, pairs, transform=FISHER_Z)
    assert 0 < interval.high - interval.value < interval.value - interval.low
    assert interval.high < 1
    perfect = estimate(correlation, line, transform=FISHER_Z)
    assert (perfect.low, perfect.high) == pytest.approx((1, 1))
    with pytest.raises(ValueError, match="two variants with a transform"):
        estimate(correlation, pairs, line, transform=FISHER_Z)


def test_undefined_statistic_is_nan_without_an_interval():
    flat = np.zeros((1, 5, 2))
    flat[..., 1] = np.arange(5)
    interval = estimate(slope, flat)
    assert np.isnan(interval.value) and interval.low is None


@pytest.mark.parametrize("statistic", [slope, correlation])
@pytest.mark.parametrize("subjects", [2, 3, 4])
def test_line_through_a_few_subjects_has_no_interval(statistic, subjects):
    pairs = np.random.default_rng(0).standard_normal((3, 6, 2))
    interval = estimate(statistic, pairs[:, :subjects])
    assert np.isfinite(interval.value)
    assert (interval.low, interval.high, interval.excludes_0) == (None, None, None)
    assert estimate(statistic, pairs).low is not None


@pytest.mark.parametrize("scatter", [0.5, 1.0])
def test_three_equal_seeds_rarely_differ_significantly(scatter):
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
        difference = paired_difference(a, b, higher_is_better=True, judge_seeds=True)
        wrong += difference.verdict != SAME
    assert wrong / 300 < 0.08


@pytest.mark.parametrize("shapes", [[], [(0, 3)], [(2, 0)], [(2, 3), (2, 4)]])
def test_arrays_of_another_shape_are_refused(shapes):
    with pytest.raises(ValueError, match="expected .seeds, subjects."):
        estimate(mean, *map(np.zeros, shapes))

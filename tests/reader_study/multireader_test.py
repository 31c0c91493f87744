"""Variance over readers and cases: against iMRMC, by definition, and by simulation."""

import itertools

import numpy as np
import pytest
from simulated_readers import right_answers

from synthct_jax.reader_study import multireader


def ones_first(counts, n: int) -> np.ndarray:
    """A reader a row: so many ones, then zeros."""
    return (np.arange(n) < np.array(counts)[:, None]).astype(float)


@pytest.mark.parametrize(
    ("hits", "false_alarms", "area", "variance", "freedom"),
    [
        ((150, 150, 138), (21, 54, 0), 0.903333333, 1.86122297e-3, 2.11220765),
        ((150, 150, 150), (132, 138, 132), 0.553333333, 1.82252051e-4, 33.6310076),
    ],
)
def test_variance_and_freedom_are_those_of_imrmc(
    hits, false_alarms, area, variance, freedom
):
    """Made-up data and iMRMC 4.0.0's output for them, modalities A and B.

    They are in the folder Accudata/home of github.com/DIDSR/iMRMC, commit c3695c2:
    fakepilot2.csv, and statAnalysis.csv of fakepilot2201901300952 (columns AUCA,
    varAUCA, dfHillis). iMRMC rounds the degrees of freedom down for its interval.
    """
    scores = ones_first(false_alarms, 150), ones_first(hits, 150)
    result = multireader.estimate(multireader.roc_kernel(*scores))
    assert result.value == pytest.approx(area, rel=1e-8)
    assert result.variance == pytest.approx(variance, rel=1e-8)
    assert result.freedom == pytest.approx(freedom, rel=1e-8)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 3)])
def test_variance_is_the_square_less_products_that_share_no_index(shape):
    """The definition, by a loop over all pairs, with some answers missing."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=shape)
    kernel[0, 1] = kernel[2, 3] = np.nan
    places = [p for p in np.ndindex(shape) if not np.isnan(kernel[p])]
    apart = [
        kernel[a] * kernel[b]
        for a, b in itertools.product(places, places)
        if all(i != j for i, j in zip(a, b, strict=True))
    ]
    between = np.var(np.nanmean(kernel.reshape(3, -1), axis=1), ddof=1) / 3
    expected = max(np.nanmean(kernel) ** 2 - np.mean(apart), between)
    assert multireader.estimate(kernel).variance == pytest.approx(expected)


def test_intervals_cover_other_readers_and_cases_as_often_as_they_say():
    rng = np.random.default_rng(1)
    study = {"readers": 5, "cases": 60, "reader_sd": 0.06, "case_sd": 0.15}
    covers, variances, values = [], [], []
    for _ in range(600):
        right = right_answers(0.6, **study, rng=rng)
        kernel = multireader.roc_kernel(1 - right[:, :30], right[:, 30:])
        result = multireader.estimate(kernel)
        interval = result.interval()
        covers.append(interval.low <= 0.6 <= interval.high)
        values.append(result.value)
        variances.append(result.variance)
    assert 0.925 < np.mean(covers) < 0.985  # 0.95, standard error 0.009
    assert np.mean(variances) == pytest.approx(np.var(values), rel=0.15)


def test_equivalence_is_claimed_wrongly_in_at_most_5_percent():
    """The accuracy is at the margin: neither inside nor far outside of it."""
    rng = np.random.default_rng(2)
    study = {"readers": 6, "cases": 80, "reader_sd": 0.05, "case_sd": 0.1}
    claims = [
        multireader.equivalence(
            multireader.estimate(right_answers(0.6, **study, rng=rng)), 0.1
        ).equivalent
        for _ in range(600)
    ]
    assert np.mean(claims) < 0.075  # 0.05, standard error 0.009


def test_components_are_those_of_the_simulation():
    rng = np.random.default_rng(3)
    study = {"readers": 40, "cases": 400, "reader_sd": 0.1, "case_sd": 0.15}
    right = right_answers(0.55, **study, rng=rng)
    pairs = multireader.roc_kernel(1 - right[:, :200], right[:, 200:])
    for kernel in (right, pairs):
        result = multireader.estimate(kernel)
        assert result.reader_variance**0.5 == pytest.approx(0.1, rel=0.25)
        assert result.case_variance**0.5 == pytest.approx(0.15, rel=0.1)


def test_test_succeeds_if_the_margins_hold_the_90_percent_interval():
    right = right_answers(
        0.5, readers=8, cases=120, reader_sd=0.03, case_sd=0.1,
        rng=np.random.default_rng(4),
    )  # fmt: skip
    result = multireader.estimate(right)
    interval = result.interval(0.9)
    reach = max(abs(interval.low - 0.5), abs(interval.high - 0.5))
    assert multireader.equivalence(result, reach + 1e-6).equivalent
    assert not multireader.equivalence(result, reach - 1e-6).equivalent
    assert multireader.equivalence(result, reach).p == pytest.approx(0.05)


def test_readers_who_are_all_right_leave_no_variance():
    result = multireader.estimate(np.ones((3, 8)))
    assert result.interval().low is None
    assert multireader.equivalence(result, 0.1).equivalent is None


def test_too_few_answers_are_refused():
    with pytest.raises(ValueError, match="two or more"):
        multireader.estimate(np.ones((1, 8)))


def test_area_counts_ties_as_half():
    kernel = multireader.roc_kernel(np.array([[1.0, 2.0]]), np.array([[2.0, 3.0]]))
    assert kernel.tolist() == [[[1.0, 1.0], [0.5, 1.0]]]
    assert multireader.reader_area(kernel[0]).value == 0.875

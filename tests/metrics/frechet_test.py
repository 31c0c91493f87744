"""The Frechet distance against its closed form, and its extrapolation."""

import numpy as np
import pytest
import scipy.linalg

from synthct_jax.metrics.frechet import (
    MIN_SAMPLES,
    MIN_SUBJECTS,
    frechet_distance,
    frechet_distance_infinite,
)


def draw_samples(mean: np.ndarray, covariance: np.ndarray, *, n: int, seed: int):
    """Draw vectors whose mean and covariance are exactly the given ones."""
    x = np.random.default_rng(seed).normal(size=(n, len(mean)))
    x -= x.mean(axis=0)
    x = np.linalg.solve(np.linalg.cholesky(x.T @ x / (n - 1)), x.T)
    return (np.linalg.cholesky(covariance) @ x).T + mean


def test_distance_of_gaussians_is_the_closed_form():
    rng = np.random.default_rng(0)
    a, b = (c @ c.T for c in rng.normal(size=(2, 5, 5)))
    shift = rng.normal(size=5)
    distance = frechet_distance(
        draw_samples(np.zeros(5), a, n=40, seed=1), draw_samples(shift, b, n=60, seed=2)
    )
    root = scipy.linalg.sqrtm(a @ b).real
    expected = shift @ shift + np.trace(a + b - 2 * root)
    assert distance == pytest.approx(expected, rel=1e-9)


def test_features_of_zero_do_not_change_the_distance():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(6, 4)), rng.normal(size=(5, 4)) * 2 + 1
    wide = [np.concatenate([x, np.zeros((len(x), 96))], axis=1) for x in (a, b)]
    assert frechet_distance(*wide) == pytest.approx(frechet_distance(a, b), rel=1e-9)


def test_distance_is_symmetric_and_zero_between_equal_sets():
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(30, 8)), rng.normal(size=(20, 8)) + 0.1
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)
    assert frechet_distance(a, b) > 0
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(a, a) >= 0


def test_sets_without_a_covariance_are_refused():
    for b in (np.zeros((1, 4)), np.zeros((3, 5))):
        message = rf"\(3, 4\) and \({b.shape[0]}, {b.shape[1]}\), expected"
        with pytest.raises(ValueError, match=message):
            frechet_distance(np.zeros((3, 4)), b)


def draw_features(n: int, *, seed: int) -> np.ndarray:
    """Draw vectors of 12 features with very different standard deviations."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 12)) / np.arange(1, 13) + 3


def extrapolated(a: np.ndarray, b: np.ndarray) -> float:
    """Return the extrapolated distance of samples of as many subjects."""
    subjects = np.split(np.arange(len(a) + len(b)), [len(a)])
    return frechet_distance_infinite(
        a, b, subjects_a=subjects[0], subjects_b=subjects[1]
    )


def mean_of_pairs(distance, n: int) -> float:
    return np.mean(
        [
            distance(*(draw_features(n, seed=seed + k) for k in (0, 1)))
            for seed in range(0, 20, 2)
        ]
    )


def test_extrapolation_removes_the_bias_that_falls_with_n():
    plain = [mean_of_pairs(frechet_distance, n) for n in (40, 160, 640)]
    assert plain[0] > 3 * plain[1] > 9 * plain[2] > 0
    for n, expected in zip((40, 160, 640), plain, strict=True):
        assert abs(mean_of_pairs(extrapolated, n)) < 0.25 * expected


def test_extrapolated_distance_is_that_of_the_distributions():
    a, b = (draw_features(300, seed=seed) for seed in (0, 1))
    spread = np.sum(1 / np.arange(1, 13) ** 2)
    expected = 12 * 0.3**2 + 0.5**2 * spread  # mean moved, deviations halved
    b = (b - 3) / 2 + 3.3
    plain, infinite = frechet_distance(a, b), extrapolated(a, b)
    assert infinite == pytest.approx(expected, rel=0.05)
    assert abs(infinite - expected) < abs(plain - expected)
    assert infinite == extrapolated(a, b)


def draw_subjects(count: int, slices: int, *, seed: int) -> np.ndarray:
    """Draw slices that differ between subjects, and little within a subject."""
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(count, 1, 6))
    return (own + 0.2 * rng.normal(size=(count, slices, 6))).reshape(-1, 6)


def test_extrapolation_by_subjects_removes_more_bias_than_by_slices():
    plain, by_slices, by_subjects = [], [], []
    for seed in range(0, 20, 2):
        a, b = draw_subjects(10, 12, seed=seed), draw_subjects(10, 12, seed=seed + 1)
        of_a, of_b = np.repeat(np.arange(10), 12), np.repeat(np.arange(10, 20), 12)
        plain.append(frechet_distance(a, b))
        by_slices.append(extrapolated(a, b))
        by_subjects.append(
            frechet_distance_infinite(a, b, subjects_a=of_a, subjects_b=of_b)
        )
    assert np.mean(by_slices) > 0.8 * np.mean(plain)
    assert abs(np.mean(by_subjects)) < 0.3 * np.mean(plain)


def test_too_few_samples_or_subjects_to_extrapolate_give_nan():
    a, b = (draw_features(MIN_SAMPLES, seed=seed) for seed in (0, 1))
    assert np.isfinite(extrapolated(a, b))
    assert np.isnan(extrapolated(a[1:], b))
    names = np.arange(MIN_SAMPLES) % MIN_SUBJECTS
    assert np.isfinite(
        frechet_distance_infinite(a, b, subjects_a=names, subjects_b=names)
    )
    assert np.isnan(
        frechet_distance_infinite(a, b, subjects_a=names, subjects_b=names % 3)
    )


@pytest.mark.parametrize("counts", [(39, 40), (40, 41), (41, 39)])
def test_other_numbers_of_subjects_than_of_samples_are_refused(counts):
    a, b = (draw_features(40, seed=seed) for seed in (0, 1))
    message = "of {} and {} samples, expected 40 and 40".format(*counts)
    with pytest.raises(ValueError, match=message):
        frechet_distance_infinite(
            a, b, subjects_a=np.arange(counts[0]), subjects_b=np.arange(counts[1])
        )

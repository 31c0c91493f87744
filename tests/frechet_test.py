"""The Frechet distance against its closed form, and the features that it compares."""

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage

from synthct_jax.metrics import haar_features
from synthct_jax.metrics.frechet import frechet_distance


def samples(mean: np.ndarray, covariance: np.ndarray, *, n: int, seed: int):
    """Vectors whose mean and covariance are exactly these."""
    x = np.random.default_rng(seed).normal(size=(n, len(mean)))
    x -= x.mean(axis=0)
    x = np.linalg.solve(np.linalg.cholesky(x.T @ x / (n - 1)), x.T)
    return (np.linalg.cholesky(covariance) @ x).T + mean


def test_it_is_the_closed_form_between_gaussians():
    rng = np.random.default_rng(0)
    a, b = (c @ c.T for c in rng.normal(size=(2, 5, 5)))
    shift = rng.normal(size=5)
    found = frechet_distance(
        samples(np.zeros(5), a, n=40, seed=1), samples(shift, b, n=60, seed=2)
    )
    root = scipy.linalg.sqrtm(a @ b).real
    expected = shift @ shift + np.trace(a + b - 2 * root)
    assert found == pytest.approx(expected, rel=1e-9)


def test_fewer_samples_than_features_give_the_same_as_spare_features_of_zero():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(6, 4)), rng.normal(size=(5, 4)) * 2 + 1
    wide = [np.concatenate([x, np.zeros((len(x), 96))], axis=1) for x in (a, b)]
    assert frechet_distance(*wide) == pytest.approx(frechet_distance(a, b), rel=1e-9)


def test_it_is_symmetric_and_zero_between_equal_sets():
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(30, 8)), rng.normal(size=(20, 8)) + 0.1
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)
    assert frechet_distance(a, b) > 0
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(a, a) >= 0


def test_what_has_no_covariance_is_refused():
    with pytest.raises(ValueError, match="1 and 3 samples"):
        frechet_distance(np.zeros((1, 4)), np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"\(3, 4\) and \(3, 5\)"):
        frechet_distance(np.zeros((3, 4)), np.zeros((3, 5)))


def abdomens(n: int, *, seed: int) -> np.ndarray:
    """Slices like abdomens: fat around muscle, organs, a bone; (n, 48, 48) HU."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:48, 0:48] - 23.5
    slices = []
    for _ in range(n):
        wide, high = rng.uniform(17, 22), rng.uniform(13, 17)
        radius = np.hypot(x / wide, y / high)
        hu = np.where(radius < 1, -100.0, -1024.0)
        hu[radius < rng.uniform(0.8, 0.9)] = 55
        left, size = rng.uniform(-8, -4), rng.uniform(4, 6)
        hu[np.hypot(x - left, y) < size] = rng.normal(90, 10)
        hu[np.hypot(x, y - 0.5 * high) < rng.uniform(2, 3)] = 400
        slices.append(np.where(radius < 1, hu + rng.normal(0, 12, hu.shape), hu))
    return np.array(slices)


FAULTS = {
    "shifted by 30 HU": lambda hu: np.where(hu > -900, hu + 30, hu),
    "blurred": lambda hu: scipy.ndimage.gaussian_filter(hu, (0, 1, 1)),
    "noisy": lambda hu: hu + np.random.default_rng(9).normal(0, 40, hu.shape),
    "inverted": lambda hu: np.where(hu > -900, -hu, hu),
    "checkered": lambda hu: hu + 30 * (np.indices(hu.shape).sum(axis=0) % 2 * 2 - 1),
    "moved": lambda hu: np.roll(hu, 4, axis=2),
    "without bone": lambda hu: np.where(hu > 250, 55, hu),
    "one slice repeated": lambda hu: np.repeat(hu[:1], len(hu), axis=0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_features_see_planted_faults_beyond_what_people_differ(fault):
    real, other = (
        haar_features.haar_features(abdomens(80, seed=seed)) for seed in (0, 1)
    )
    spoiled = haar_features.haar_features(FAULTS[fault](abdomens(80, seed=1)))
    assert frechet_distance(real, spoiled) > 2 * frechet_distance(real, other)


# Every ninth feature of the slice below; other numbers need another version.
VERSION_1 = [
    1.8286549097864566,
    -4.171497446582855,
    -3.059317184650334,
    -6.907755278982137,
    -2.6699959347601,
    1.4880141907501858,
    0.4867183174077345,
    0.0,
]


def test_features_are_those_of_version_1():
    z, y, x = np.mgrid[0:1, 0:40, 0:36]
    hu = 300.0 * np.sin(x / 5) * np.cos(y / 7) - 100
    features = haar_features.haar_features(hu)
    assert haar_features.NAME == "frechet_haar_v1"
    assert features.shape == (1, haar_features.DIMENSION)
    assert features.dtype == np.float64
    assert features[0, ::9] == pytest.approx(VERSION_1, rel=1e-9)


def test_features_of_a_slice_do_not_depend_on_the_others_nor_on_the_type():
    hu = np.round(abdomens(3, seed=5))
    features = haar_features.haar_features(hu)
    alone = haar_features.haar_features(hu[1:2].astype(np.int16))
    np.testing.assert_array_equal(alone[0], features[1])


def test_slices_too_small_for_the_scales_are_refused():
    with pytest.raises(ValueError, match="16 rows"):
        haar_features.haar_features(np.zeros((2, 8, 32)))

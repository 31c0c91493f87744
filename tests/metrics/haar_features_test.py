"""Haar features: the same numbers in all versions, and larger for planted faults."""

import numpy as np
import pytest
import scipy.ndimage

from synthct_jax.metrics import haar_features
from synthct_jax.metrics.frechet import frechet_distance


def draw_abdomens(n: int, *, seed: int) -> np.ndarray:
    """Draw slices of abdomens with muscle, fat, organs and bone, (n, 48, 48) HU."""
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
def test_planted_faults_change_features_more_than_subjects_differ(fault):
    real, other = (
        haar_features.haar_features(draw_abdomens(80, seed=seed)) for seed in (0, 1)
    )
    spoiled = haar_features.haar_features(FAULTS[fault](draw_abdomens(80, seed=1)))
    assert frechet_distance(real, spoiled) > 2 * frechet_distance(real, other)


# Features by the first implementation, in numpy and float64. Other numbers need another
# version.
# fmt: off
SMOOTH = [
        1.828655, 1.42257, -5.823325, -6.711015, -5.315584, -6.243871, -3.12016,
        -5.210077, -2.28733, -4.171497, 0.4965549, 0.6976242, -4.434407, -6.090127,
        -3.788308, -5.237479, -3.106486, -4.02923, -3.059317, -4.4845, 0, 0,
        -6.907755, -6.907755, -6.907755, -6.907755, -6.907755, -6.907755, -6.907755,
        -6.907755, -1.94428, -1.57112, -1.409459, -1.976651, -2.188394, -2.327786,
        -2.669996, -2.696675, -4.60517, -4.60517, 1.5, 1.442779, 1.440859, 0,
        1.375948, 1.488014, 1.489097, 0, 1.430111, 1.493929, 1.49455, 0, 0.5,
        0.4872338, 0.4867183, 0, 0.7659738, 0.2678228, 0.2601266, 0, 0.07015532,
        0.5482774, 0.5590011, 0, 0.1688991, 0.4595426, 0.4659826, 0, 0.2482481,
        0.08050978, 0.07790004, 0,
]
WILD = [
        1.498272, 1.392965, -3.395146, -4.500697, -2.829748, -3.704947, -2.31122,
        -2.535176, -2.592083, -2.767584, 1.018865, 1.358042, -3.319365, -4.134841,
        -2.72366, -3.451176, -2.215806, -2.456744, -2.530972, -2.554045, 0.2915958,
        0.5822157, -3.883375, -5.041957, -3.445076, -4.143118, -3.014078, -3.2452,
        -3.422767, -3.259328, -3.316222, -3.164339, -3.358092, -3.262989, -3.085344,
        -3.022272, -3.141125, -3.085344, -2.992167, -0.335667, 1.429875, 1.085651,
        1.148841, 0.3562955, 1.075645, 1.09799, 1.041848, 0.3550724, 1.128157,
        1.001993, 1.052537, 0.329422, 0.2589047, 0.2501612, 0.2431186, 0.1306641,
        1.324125, 0.7288021, 0.7661458, 0.252, 0.6802396, 0.7418958, 0.5790417,
        0.2729896, 0.7763958, 0.6227396, 0.6632187, 0.1836771, 0.1739896, 0.1523854,
        0.1161146, 0.1171563,
]
# fmt: on


def test_features_are_those_of_version_1():
    z, y, x = np.mgrid[0:1, 0:40, 0:36]
    smooth = haar_features.haar_features(300 * np.sin(x / 5) * np.cos(y / 7) - 100)
    z, y, x = np.mgrid[0:2, 0:52, 0:67]
    hu = 900 * np.sin(x * y / 97 + z) + 700 * np.cos((x - 2 * y) / 3.7) * np.sin(y / 11)
    wild = haar_features.haar_features(np.round(np.clip(hu - 150, -1024, 1800)))
    assert haar_features.NAME == "frechet_haar_v1"
    assert wild.shape == (2, haar_features.DIMENSION) and wild.dtype == np.float64
    np.testing.assert_allclose(smooth[0], SMOOTH, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(wild[1], WILD, rtol=1e-5, atol=1e-5)


def test_features_of_a_slice_depend_neither_on_other_slices_nor_on_the_type():
    hu = np.round(draw_abdomens(3, seed=5))
    features = haar_features.haar_features(hu)
    alone = haar_features.haar_features(hu[1:2].astype(np.int16))
    np.testing.assert_array_equal(alone[0], features[1])


def test_features_do_not_depend_on_the_number_of_slices():
    hu = draw_abdomens(19, seed=6)
    features = haar_features.haar_features(hu)
    halves = [haar_features.haar_features(part) for part in (hu[:5], hu[5:])]
    np.testing.assert_array_equal(features, np.concatenate(halves))


def test_slices_too_small_for_the_scales_are_refused():
    with pytest.raises(ValueError, match="16 rows"):
        haar_features.haar_features(np.zeros((2, 8, 32)))

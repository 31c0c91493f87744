"""Spectra against plain sums and scikit-learn, and the faults that they show."""

import numpy as np
import pytest
import scipy.ndimage

from synthct_jax.metrics import spectrum

SIZE = 64
LOW, HIGH = spectrum.RANGE_HU


def subjects(count: int, *, seed: int, slices: int = 5) -> np.ndarray:
    """Draw HU (subjects, slices, SIZE, SIZE): fat around muscle, organs and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE] - SIZE / 2
    volumes = np.empty((count, slices, SIZE, SIZE), np.float32)
    for volume in volumes:
        wide, high, fat = rng.uniform(24, 28), rng.uniform(17, 21), rng.uniform(3, 5)
        for hu in volume:
            outside = np.hypot(x / wide, y / high) >= 1
            hu[:] = -100
            hu[np.hypot(x / (wide - fat), y / (high - fat)) < 1] = 50
            for _ in range(6):
                left, top, size = rng.uniform((-14, -9, 2), (14, 9, 6))
                hu[np.hypot(x - left, y - top) < size] = rng.uniform(-100, 150)
            hu[:] = scipy.ndimage.gaussian_filter(hu, 0.6)
            hu += rng.normal(0, 10, hu.shape)
            hu[outside] = -1024
    return volumes


def spectra(volumes: np.ndarray) -> list[np.ndarray]:
    power = spectrum.radial_power(volumes.reshape(-1, SIZE, SIZE))
    return list(power.reshape(*volumes.shape[:2], -1))


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    return subjects(8, seed=0)


@pytest.fixture(scope="module")
def others() -> np.ndarray:
    return subjects(8, seed=1)


BODY = -500  # HU; denser voxels are body
BOARD = np.indices((SIZE, SIZE)).sum(axis=0) % 2 * 2 - 1
FAULTS = {
    "blurred": lambda hu: scipy.ndimage.gaussian_filter(hu, (0, 0, 0.5, 0.5)),
    "noisy": lambda hu: np.where(
        hu > BODY, hu + np.random.default_rng(9).normal(0, 30, hu.shape), hu
    ),
    "checkered": lambda hu: np.where(hu > BODY, hu + 5 * BOARD, hu),
}


# --- the spectrum ---------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 64, 50), (2, 33, 61)])
def test_power_is_that_of_averages_over_the_whole_transform(shape):
    hu = np.random.default_rng(0).normal(0, 200, shape)
    bins = spectrum.BINS
    tapers = []
    for length in shape[1:]:
        place = (np.arange(length) + 0.5) / length
        edge = np.minimum(np.minimum(place, 1 - place) / 0.25, 1)
        tapers.append(0.5 - 0.5 * np.cos(np.pi * edge))
    window = np.outer(*tapers)
    # Odd sizes have a row or a column of air added, the small one more than that.
    size = [max(length + length % 2, 2 * bins) for length in shape[1:]]
    unit = (np.clip(hu, LOW, HIGH) - LOW) / (HIGH - LOW)
    power = np.abs(np.fft.fft2(unit * window, size)) ** 2 / (window**2).sum()
    radius = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1]))
    ends = np.arange(bins + 1) / (2 * bins) + 1e-9
    expected = [
        power[:, (radius > low) & (radius <= high)].mean(axis=1)
        for low, high in zip(ends[:-1], ends[1:], strict=True)
    ]
    power_by_bin = spectrum.radial_power(hu)
    assert power_by_bin.dtype == np.float64
    np.testing.assert_allclose(power_by_bin, np.transpose(expected), rtol=1e-4)


@pytest.mark.parametrize("size", [20, 64, 150])
def test_white_noise_is_flat_and_the_same_for_slices_of_any_size(size):
    hu = np.random.default_rng(1).normal(0, 20, (16, size, size))
    power = spectrum.radial_power(hu).mean(axis=0)
    # Lower frequencies have the power of the tapered mean.
    high = power[spectrum.frequencies() > 0.3]
    expected = (20 / (HIGH - LOW)) ** 2
    np.testing.assert_allclose(high.mean(), expected, rtol=0.08)
    np.testing.assert_allclose(high, expected, rtol=0.25)


def test_spectra_do_not_depend_on_the_number_of_slices(real):
    hu = real.reshape(-1, SIZE, SIZE)[:19]
    for measure in (spectrum.radial_power, spectrum.checkerboard_energy):
        together = measure(hu)
        np.testing.assert_array_equal(measure(hu[:3]), together[:3])
        np.testing.assert_array_equal(
            measure(hu[18:].astype(np.float64)), together[18:]
        )


def test_blur_lowers_and_noise_raises_high_frequencies_more_than_subjects_differ(
    real, others
):
    of_real, of_others = (np.concatenate(spectra(hu)) for hu in (real, others))
    faulty = {
        name: np.concatenate(spectra(spoil(others))) for name, spoil in FAULTS.items()
    }
    between_subjects = abs(spectrum.high_frequency_ratio(of_others, of_real))
    blurred = spectrum.high_frequency_ratio(faulty["blurred"], of_real)
    noisy = spectrum.high_frequency_ratio(faulty["noisy"], of_real)
    assert blurred < -3 * between_subjects and noisy > 3 * between_subjects
    distance = spectrum.spectral_distance(of_others, of_real)
    assert spectrum.spectral_distance(faulty["blurred"], of_real) > 2 * distance
    assert spectrum.spectral_distance(faulty["noisy"], of_real) > 2 * distance
    slopes = [spectrum.slope(p) for p in (faulty["blurred"], of_real, faulty["noisy"])]
    assert slopes[0] < slopes[1] < slopes[2]


def test_ratios_are_signed_logarithms_of_mean_power():
    real = np.repeat([[1e-2, 4.0, 7.0, 2.0], [3e-2, 2.0, 1.0, 2.0]], 6, axis=1)
    synthetic = real.mean(axis=0, keepdims=True) * np.repeat([1, 10, 100, 0.1], 6)
    ratios = spectrum.log_ratio(synthetic, real)
    np.testing.assert_allclose(ratios, np.repeat([0, 1, 2, -1], 6), atol=1e-4)
    assert spectrum.spectral_distance(synthetic, real) == pytest.approx(1, abs=1e-4)
    high = spectrum.high_frequency_ratio(synthetic, real)
    assert high == pytest.approx(0.5, abs=1e-4)


def test_the_slope_is_that_of_a_power_law():
    power = 3.0 * spectrum.frequencies() ** -2.5
    assert spectrum.slope(np.stack([power, 9 * power])) == pytest.approx(-2.5, abs=1e-3)


def test_slices_of_air_have_a_finite_spectrum():
    air = np.concatenate([np.full((3, 32), -1024.0)] * 32).reshape(3, 32, 32)
    power = spectrum.radial_power(air)
    assert (power == 0).all()
    assert spectrum.spectral_distance(power, power) == 0
    np.testing.assert_array_equal(spectrum.checkerboard_energy(air), 0)


def test_slices_too_small_for_a_spectrum_are_refused():
    with pytest.raises(ValueError, match="16 rows"):
        spectrum.radial_power(np.zeros((2, 8, 32)))


# --- checkerboards --------------------------------------------------------------------


ROW, COLUMN = np.indices((SIZE, SIZE))
PATTERNS = {
    "board": BOARD,
    "rows": ROW % 2 * 2 - 1,
    "columns": COLUMN % 2 * 2 - 1,
    "dots": (ROW % 2) * (COLUMN % 2) * 4 - 1,
}


def change_of_checkerboard(hu: np.ndarray, faulty: np.ndarray) -> float:
    energies = [
        spectrum.checkerboard_energy(volumes.reshape(-1, SIZE, SIZE)).mean()
        for volumes in (hu, faulty)
    ]
    return energies[1] - energies[0]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_of_5_hu_stands_out(real, pattern):
    hu = real[:2]
    faulty = np.where(hu > BODY, hu + 5 * PATTERNS[pattern], hu)
    assert change_of_checkerboard(hu, faulty) > 0.4


def test_a_pattern_of_twice_the_period_is_no_checkerboard(real):
    hu = real[:2]
    coarse = (ROW // 2 + COLUMN // 2) % 2 * 2 - 1
    faulty = np.where(hu > BODY, hu + 15 * coarse, hu)
    assert abs(change_of_checkerboard(hu, faulty)) < 0.05


@pytest.mark.parametrize("fault", ["blurred", "noisy"])
def test_other_faults_are_no_checkerboards(real, fault):
    assert abs(change_of_checkerboard(real[:2], FAULTS[fault](real[:2]))) < 0.3


def test_repeated_pixels_of_a_coarser_image_change_the_checkerboard(real):
    coarse = real[:2, :, ::2, ::2].repeat(2, axis=2).repeat(2, axis=3)
    assert abs(change_of_checkerboard(real[:2], coarse)) > 0.3


# --- separability ---------------------------------------------------------------------


def test_logistic_regression_is_that_of_scikit_learn():
    i, j = np.mgrid[0:24, 0:4]
    x = np.sin(2.0 * i + 5 * j**2) + 0.6 * (i % 3 == 0) * (j < 2)
    w, offset = spectrum.fit_logistic(x, np.arange(24) % 3 == 0)
    # scikit-learn 1.9.1, LogisticRegression(C=1.0, class_weight='balanced', tol=1e-12,
    # max_iter=10000).fit(x, y): coef_ and intercept_.
    coefficients = [-1.27551313, -0.55051731, 0.45636090, -0.18151355]
    np.testing.assert_allclose(w, coefficients, atol=1e-6)
    assert offset == pytest.approx(0.24253939, abs=1e-6)


def test_logistic_regression_converges_for_separable_classes():
    x = np.array([[-30.0], [-20], [25], [40]])
    w, offset = spectrum.fit_logistic(x, np.array([False, False, True, True]))
    assert 0 < w[0] < 1 and abs(offset) < 5


def separability(synthetic, real, names=None) -> float:
    """Return the separability of volumes; without names each has a subject."""
    if names is None:
        names = np.split(np.arange(len(synthetic) + len(real)), [len(synthetic)])
    return spectrum.separability(
        synthetic, real, subjects_synthetic=names[0], subjects_real=names[1]
    )


@pytest.mark.parametrize("fault", ["blurred", "noisy"])
def test_faulty_spectra_are_recognised_and_sound_ones_are_not(real, others, fault):
    assert separability(spectra(FAULTS[fault](others)), spectra(real)) > 0.9
    assert 0.3 < separability(spectra(others), spectra(real)) < 0.7


def test_identical_volumes_are_not_told_apart(real):
    names = [f"subject_{i}" for i in range(8)]
    assert separability(spectra(real), spectra(real), (names, names)) == 0.5


def test_spectra_peculiar_to_a_subject_are_not_recognised():
    """Every subject has a spectrum of its own, which says nothing of the others."""
    rng = np.random.default_rng(3)
    own = rng.normal(0, 1, (12, 1, 24))
    volumes = list(10 ** (own + rng.normal(0, 0.01, (12, 20, 24))))
    assert 0.15 < separability(volumes[:6], volumes[6:]) < 0.85
    # Slices of one subject in training and test would be recognised.
    singles = [volume[i : i + 1] for volume in volumes for i in range(20)]
    assert separability(singles[:120], singles[120:]) > 0.95
    # A volume drawn twice is in one fold.
    drawn = np.repeat(np.arange(6), 2)
    twice = [volumes[i] for i in drawn]
    names = drawn[:6], drawn[6:]
    accuracy = separability(twice[:6], twice[6:], names)
    assert accuracy < 0.85 < separability(twice[:6], twice[6:])


def test_separability_of_a_single_subject_is_nan(real):
    assert np.isnan(separability(spectra(real[:1]), spectra(real)))
    names = ["a", "a"], ["b", "c"]
    assert np.isnan(separability(spectra(real[:2]), spectra(real[2:4]), names))

"""Power spectra of CT slices, which show blur, noise and checkerboards.

Generators with upsampling fail to reproduce the spectrum of real images, and a linear
classifier recognises them by its azimuthal average (Durall et al., CVPR 2020).

Frequencies are in cycles per pixel, up to 0.5 (Nyquist) for slices of any size: compare
images of one pixel spacing. Power is kept linear, so that it can be averaged; measures
that compare spectra take logarithms to base 10.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.special

from synthct_jax.metrics.batches import over_slices
from synthct_jax.metrics.groups import assign_folds

BINS = 24
RANGE_HU = (-250.0, 250.0)
"""Range to which HU are clipped before they are scaled to 0 ... 1.

The edges of skin and bone are steep and alike in all CT. In the whole range of HU they
have nearly all of the power, and a checkerboard of 5 HU is lost among them.
"""

MIN_SIZE = 16  # rows and columns
_FOLDS = 5  # of the cross-validation in `separability`
# Share of the slice on each side that Tukey's window tapers: without it, a body that
# the field of view cuts off has the spectrum of that cut. Hann's window, without a
# flat middle, leaves so little of the body that subjects differ twice as much.
_TAPER = 0.25
# HU are stored as integers. The power of their rounding is added to every power, so
# that the logarithm of nothing does not decide.
_ROUNDING_POWER = 1 / 12 / (RANGE_HU[1] - RANGE_HU[0]) ** 2
# Cycles per pixel: below is the shape of the body, above are noise and interpolation.
_SLOPE_RANGE = (0.05, 0.3)
# Distances from the frequencies of a checkerboard, in cycles per pixel: the peak of a
# pattern that fills a body of 80 pixels is as narrow as the first.
_CORE = 0.0125
_SURROUND = (0.025, 0.0625)
_MIN_TRANSFORM = 2 * BINS  # coefficients along an axis: smaller slices are padded


def frequencies() -> np.ndarray:
    """Return the centre frequency of each annulus in cycles per pixel, (BINS,)."""
    return (np.arange(BINS) + 0.5) / (2 * BINS)


def radial_power(hu: np.ndarray) -> np.ndarray:
    """Return the azimuthally averaged power spectrum of each slice, linear power.

    The power is averaged over annuli of equal width from frequency 0, which is left
    out, to 0.5 cycles per pixel (Durall et al., CVPR 2020). White noise of standard
    deviation s, in units of RANGE_HU's width, has the power s^2 at all frequencies for
    any number of pixels. HU are (slices, rows, columns), powers (slices, BINS) float64.

    Raises:
        ValueError: the shape is another, there are no slices, or fewer than MIN_SIZE
            rows or columns.
    """
    return _power_sums(hu, _annuli(_transform_size(hu)))


def checkerboard_energy(hu: np.ndarray) -> np.ndarray:
    """Return log10 of the power of a checkerboard relative to its surroundings.

    Transposed convolutions of stride 2 leave patterns with a period of 2 pixels (Odena
    et al., Distill 2016), whose power is close to the frequencies (0, 1/2), (1/2, 0)
    and (1/2, 1/2) cycles per pixel. The measure is the mean, over these three, of the
    power there divided by that around them: about 0 without a pattern, 1 for a pattern
    ten times its surroundings. It can be far below 0 as well, because the repeated
    pixels of a coarser image leave notches at the same frequencies.

    Arguments and errors are those of `radial_power`; the result is (slices,) float64.
    """
    sums = _power_sums(hu, _checkerboard_regions(_transform_size(hu)))
    core, surround = np.split(sums + _ROUNDING_POWER, 2, axis=1)
    return np.log10((core / surround).mean(axis=1))


def log_ratio(synthetic: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Return log10 of the ratio of mean `radial_power`, synthetic over real, (BINS,).

    It is above 0 where the synthetic CT has too much of a frequency.
    """
    return _log_of_mean(synthetic) - _log_of_mean(real)


def spectral_distance(synthetic: np.ndarray, real: np.ndarray) -> float:
    """Return the mean of |`log_ratio`| over frequencies."""
    return float(np.abs(log_ratio(synthetic, real)).mean())


def high_frequency_ratio(synthetic: np.ndarray, real: np.ndarray) -> float:
    """Return the mean of `log_ratio` above half of the Nyquist frequency.

    It is below 0 for a blurred and above 0 for a noisy synthetic CT.
    """
    return float(log_ratio(synthetic, real)[frequencies() > 0.25].mean())


def slope(power: np.ndarray) -> float:
    """Return the slope of log power over log frequency, 0.05 to 0.3 cycles per pixel.

    The slope of sharp edges is -3, steeper where they are blurred; that of white noise
    is 0 (for natural images: Field, J Opt Soc Am A 1987; 4:2379).

    `radial_power`, (slices, BINS), is averaged over slices.
    """
    low, high = _SLOPE_RANGE
    chosen = (frequencies() >= low) & (frequencies() <= high)
    logs = _log_of_mean(power)[chosen]
    return float(np.polyfit(np.log10(frequencies()[chosen]), logs, 1)[0])


def separability(
    synthetic: Sequence[np.ndarray],
    real: Sequence[np.ndarray],
    *,
    subjects_synthetic: Sequence[str],
    subjects_real: Sequence[str],
) -> float:
    """Return the accuracy of a linear classifier of slices as synthetic or real.

    The classifier is a regularised logistic regression on log spectra that are
    standardised by the training folds (Durall et al., CVPR 2020). It is cross-validated
    by subject: no subject is in both training and test. The folds are always the same.

    Args:
        synthetic, real: `radial_power` of each volume.
        subjects_synthetic, subjects_real: subject of each volume.

    Returns:
        Balanced accuracy over all slices: 1 if all are recognised, 0.5 if none can be
        told apart; below 0.5 by chance with few subjects. nan with fewer than two
        subjects of either kind.
    """
    subjects = subjects_synthetic, subjects_real
    count = min(_FOLDS, *(len(set(names)) for names in subjects))
    if count < 2:
        return float("nan")
    volumes = [*synthetic, *real]
    lengths = [len(volume) for volume in volumes]
    folds = np.repeat(np.concatenate(assign_folds(*subjects, count)), lengths)
    is_synthetic = np.repeat(np.arange(len(volumes)) < len(synthetic), lengths)
    logs = np.log10(np.concatenate(volumes) + _ROUNDING_POWER)
    return _cross_validated_accuracy(logs, is_synthetic, folds)


def _log_of_mean(power: np.ndarray) -> np.ndarray:
    return np.log10(power.mean(axis=0) + _ROUNDING_POWER)


# --- logistic regression --------------------------------------------------------------


def fit_logistic(
    features: np.ndarray, positive: np.ndarray
) -> tuple[np.ndarray, float]:
    """Fit an L2-regularised logistic regression with balanced classes.

    It minimises |w|^2 / 2 + the sum of log losses, in which both classes weigh the
    same, as scikit-learn's LogisticRegression(C=1, class_weight='balanced') does.

    Args:
        features: (samples, features), of similar scale.
        positive: (samples,) bool, with both classes present.

    Returns:
        Weights w and the offset: positive is what has features @ w + offset > 0.
    """
    n, positives = len(positive), positive.sum()
    shares = np.where(positive, n / (2 * positives), n / (2 * (n - positives)))
    signs = np.where(positive, 1.0, -1.0)
    design = np.column_stack([features, np.ones(n)])
    penalty = np.append(np.ones(features.shape[1]), 0.0)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signs * (design @ w)
        value = shares @ np.logaddexp(0, -margins) + penalty @ np.square(w) / 2
        slopes = -signs * shares * scipy.special.expit(-margins)
        return value, design.T @ slopes + penalty * w

    start = np.zeros(design.shape[1])
    options = {"ftol": 1e-14, "gtol": 1e-8, "maxiter": 1000}
    w = scipy.optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", options=options
    ).x
    return w[:-1], float(w[-1])


def _cross_validated_accuracy(
    features: np.ndarray, positive: np.ndarray, folds: np.ndarray
) -> float:
    """Return the balanced accuracy of `fit_logistic` on folds it was not trained on.

    It is the mean of the shares of positives and of negatives that are recognised, over
    all samples; a sample on the boundary counts half. Features are standardised by mean
    and standard deviation of the training folds.
    """
    correct = np.zeros(len(positive))
    for fold in np.unique(folds):
        test = folds == fold
        training = features[~test]
        deviation = training.std(axis=0)
        scale = np.where(deviation > 1e-12, deviation, 1.0)
        unit = (features - training.mean(axis=0)) / scale
        w, offset = fit_logistic(unit[~test], positive[~test])
        margins = np.where(positive[test], 1, -1) * (unit[test] @ w + offset)
        # Samples that differ by rounding only are on the boundary.
        correct[test] = np.where(np.abs(margins) < 1e-6, 0.5, margins > 0)
    return float((correct[positive].mean() + correct[~positive].mean()) / 2)


# --- sums over the transform ----------------------------------------------------------


def _power_sums(hu: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return weighted sums of the power of each slice, (slices, sums) float64.

    Weights are (sums, rows, half of the columns + 1) of the transform.
    """
    function = functools.partial(_power_sums_on_device, weights=jnp.asarray(weights))
    return over_slices(function, hu.astype(np.float32, copy=False)).astype(np.float64)


@jax.jit
def _power_sums_on_device(hu: jax.Array, weights: jax.Array) -> jax.Array:
    low, high = RANGE_HU
    window = np.outer(*(_tukey_window(length) for length in hu.shape[1:]))
    window = window.astype(np.float32)
    images = (jnp.clip(hu, low, high) - low) / (high - low) * window
    size = weights.shape[1], 2 * (weights.shape[2] - 1)
    transform = jnp.fft.rfft2(images, s=size)
    power = jnp.square(transform.real) + jnp.square(transform.imag)
    sums = jnp.einsum(
        "nij,kij->nk", power, weights, precision=jax.lax.Precision.HIGHEST
    )
    return sums / np.square(window).sum()


def _tukey_window(length: int) -> np.ndarray:
    """Return a window that rises as a cosine over _TAPER of each side; 1 between."""
    from_end = np.minimum(np.arange(length) + 0.5, length - np.arange(length) - 0.5)
    return np.sin(np.minimum(from_end / (_TAPER * length), 1) * np.pi / 2) ** 2


def _transform_size(hu: np.ndarray) -> tuple[int, int]:
    """Return the even numbers of rows and columns of the transform.

    Errors are those of `radial_power`.
    """
    if hu.ndim != 3 or min(hu.shape[1:]) < MIN_SIZE:
        raise ValueError(
            f"images are {hu.shape}, expected (slices, rows, columns) with {MIN_SIZE} "
            "rows and columns or more"
        )
    rows, columns = (max(n + n % 2, _MIN_TRANSFORM) for n in hu.shape[1:])
    return rows, columns


@functools.lru_cache(maxsize=4)
def _annuli(size: tuple[int, int]) -> np.ndarray:
    """Return weights that average the power over each annulus."""
    radius = _frequency_distance(size, (0.0, 0.0))
    # Upper ends belong to the annulus; 1e-9 is for their rounding.
    annulus = np.ceil(radius * 2 * BINS - 1e-9).astype(int) - 1
    return _mean_weights([annulus == index for index in range(BINS)])


@functools.lru_cache(maxsize=4)
def _checkerboard_regions(size: tuple[int, int]) -> np.ndarray:
    """Return weights that average over the three cores, then the three surrounds."""
    frequencies = [(0.0, 0.5), (0.5, 0.0), (0.5, 0.5)]
    distances = [_frequency_distance(size, frequency) for frequency in frequencies]
    low, high = _SURROUND
    return _mean_weights(
        [distance <= _CORE for distance in distances]
        + [(low <= distance) & (distance <= high) for distance in distances]
    )


def _frequency_distance(
    size: tuple[int, int], frequency: tuple[float, float]
) -> np.ndarray:
    """Return the distance of each coefficient of the transform from a frequency.

    Frequencies repeat every 1 cycle per pixel, so the shorter way counts.
    """
    rows, columns = (
        np.abs((np.arange(length) / length - at + 0.5) % 1 - 0.5)
        for length, at in zip(size, frequency, strict=True)
    )
    return np.hypot(rows[:, None], columns)


def _mean_weights(regions: Sequence[np.ndarray]) -> np.ndarray:
    """Return weights that average over regions, for the half of the transform kept.

    The transform of a real image is the same, conjugate, at opposite frequencies.
    """
    weights = np.array([region / region.sum() for region in regions], np.float32)
    opposite = np.roll(np.flip(weights, (1, 2)), 1, (1, 2))
    half = weights.shape[2] // 2
    # Column 0 and the last are opposite to themselves and kept whole.
    weights[:, :, 1:half] += opposite[:, :, 1:half]
    return weights[:, :, : half + 1]

"""Power spectra of CT slices: blur, noise and checkerboards that no error may show.

Durall et al., CVPR 2020: generators with upsampling fail to reproduce the spectrum of
real images, and a linear classifier tells them apart by its azimuthal average.

Frequencies are in cycles per pixel, up to 0.5 (Nyquist) whatever the size of slices:
compare images of one pixel spacing. Power is kept linear, so that it can be averaged;
what compares takes logarithms to base 10.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from synthct_jax.metrics import groups, logistic
from synthct_jax.metrics.batches import over_slices

BINS = 24
RANGE_HU = (-250.0, 250.0)
"""HU are clipped to it and scaled to 0 ... 1.

Edges of skin to air and of bone, alike in all CT, are steep: in the whole range of HU
they have nearly all of the power, and a checkerboard of 5 HU is lost among them.
"""

MIN_SIZE = 16  # rows and columns
# A quarter of the slice on each side is tapered (Tukey's window): a body that the field
# of view cuts off has the spectrum of that cut otherwise. Hann's window, without a
# flat middle, leaves so little of the body that people differ twice as much.
_TAPER = 0.25
# HU are stored as integers: the power of their rounding is added to any other, lest
# logarithms of nothing decide.
_FLOOR = 1 / 12 / (RANGE_HU[1] - RANGE_HU[0]) ** 2
# Cycles per pixel: below is the shape of the body, above are noise and interpolation.
_SLOPE_RANGE = (0.05, 0.3)
# Distances from the frequencies of a pattern, in cycles per pixel: a pattern that
# fills a body of 80 pixels is as narrow as the first.
_CORE = 0.0125
_SURROUND = (0.025, 0.0625)
_LEAST_TRANSFORM = 48  # coefficients along an axis: smaller slices have some air added


def frequencies(bins: int = BINS) -> np.ndarray:
    """The middle of each annulus in cycles per pixel, (bins,)."""
    return (np.arange(bins) + 0.5) / (2 * bins)


def radial_power(hu: np.ndarray, *, bins: int = BINS) -> np.ndarray:
    """Azimuthally averaged power spectrum of each slice (Durall et al., CVPR 2020).

    Means over annuli of equal width, from frequency 0, which is left out, to 0.5 cycles
    per pixel. White noise with deviation s, of RANGE_HU's width as 1, has the power s^2
    at all frequencies, whatever the number of pixels.

    Args:
        hu: (slices, rows, columns).
        bins: number of annuli.

    Returns:
        (slices, bins) float64, linear.

    Raises:
        ValueError: another shape, no slices, or fewer than MIN_SIZE rows or columns.
    """
    return _weighted(hu, _annuli(_transform_size(hu, 2 * bins), bins))


def checkerboard_energy(hu: np.ndarray, *, period: int = 2) -> np.ndarray:
    """How far a pattern of period 2 stands out of the spectrum of each slice, log10.

    A transposed convolution of stride 2 leaves such patterns (Odena et al., Distill
    2016), which are power at the frequencies (0, 1/2), (1/2, 0) and (1/2, 1/2) cycles
    per pixel and close to them. The mean over the three of the power there over that
    around: about 0 where there is no pattern, 1 where it is ten times its surroundings.
    It can be far below 0 as well: repeated pixels of a coarser image leave notches at
    the same frequencies.

    Args:
        hu: (slices, rows, columns).
        period: of the pattern in pixels; 4 is that of the layer before the last of two
            such layers, whose frequencies are the other multiples of 1/4.

    Returns:
        (slices,) float64.

    Raises:
        ValueError: as of `radial_power`, or a period that is neither 2 nor 4.
    """
    if period not in (2, 4):
        raise ValueError(f"period is {period}, expected 2 or 4 pixels")
    found = _weighted(hu, _patterns(_transform_size(hu, _LEAST_TRANSFORM), period))
    at, around = np.split(found + _FLOOR, 2, axis=1)
    return np.log10((at / around).mean(axis=1))


def log_ratio(synthetic: np.ndarray, real: np.ndarray) -> np.ndarray:
    """log10 of the ratio of mean powers by frequency, synthetic over real.

    Args:
        synthetic, real: (slices, bins), `radial_power` of one number of bins.

    Returns:
        (bins,); above 0 where synthetic CT has too much of a frequency.

    Raises:
        ValueError: numbers of bins differ, or no slices.
    """
    synthetic, real = np.asarray(synthetic), np.asarray(real)
    if synthetic.ndim != 2 or synthetic.shape[1:] != real.shape[1:]:
        raise ValueError(
            f"spectra are {synthetic.shape} and {real.shape}, expected (slices, bins) "
            "with equally many bins"
        )
    if not (len(synthetic) and len(real)):
        raise ValueError(f"{len(synthetic)} and {len(real)} spectra, expected some")
    return _log_of_mean(synthetic) - _log_of_mean(real)


def spectral_distance(synthetic: np.ndarray, real: np.ndarray) -> float:
    """Mean over the frequencies of |log_ratio|; arguments and errors as of it."""
    return float(np.abs(log_ratio(synthetic, real)).mean())


def high_frequency_ratio(synthetic: np.ndarray, real: np.ndarray) -> float:
    """Mean of `log_ratio` above half of Nyquist: below 0 blurred, above 0 noisy."""
    ratios = log_ratio(synthetic, real)
    return float(ratios[frequencies(len(ratios)) > 0.25].mean())


def slope(power: np.ndarray) -> float:
    """Slope of log power over log frequency from 0.05 to 0.3 cycles per pixel.

    Field, J Opt Soc Am A 1987; 4:2379, for natural images. That of sharp edges is -3,
    steeper where they are blurred; that of white noise is 0.

    Args:
        power: (slices, bins), averaged, or (bins,).
    """
    logs = _log_of_mean(np.atleast_2d(power))
    at = frequencies(len(logs))
    chosen = (at >= _SLOPE_RANGE[0]) & (at <= _SLOPE_RANGE[1])
    return float(np.polyfit(np.log10(at[chosen]), logs[chosen], 1)[0])


def separability(
    synthetic: Sequence[np.ndarray],
    real: Sequence[np.ndarray],
    *,
    groups_synthetic: Sequence[str] | None = None,
    groups_real: Sequence[str] | None = None,
) -> float:
    """How well a linear classifier tells slices apart by their log spectra.

    Durall et al., CVPR 2020. A regularised logistic regression (`logistic.fit`) on
    spectra that are standardised by the training folds, cross-validated: no subject is
    in training and test. Folds are the same each time.

    Args:
        synthetic, real: of each subject (slices, bins), `radial_power`.
        groups_synthetic, groups_real: names of the subjects, of both or of neither. The
            same name is the same person and in one fold; without names all differ.

    Returns:
        Balanced accuracy over all slices: 1 told apart, 0.5 not; with few subjects it
        can be below. nan with fewer than two subjects of either kind.
    """
    people = groups.numbered(
        groups_synthetic, groups_real, counts=(len(synthetic), len(real))
    )
    count = min(logistic.FOLDS, *(len(np.unique(one)) for one in people))
    if count < 2:
        return float("nan")
    volumes = [*synthetic, *real]
    lengths = [len(volume) for volume in volumes]
    folds = np.repeat(np.concatenate(groups.deal(*people, count)), lengths)
    is_synthetic = np.repeat(np.arange(len(volumes)) < len(synthetic), lengths)
    logs = np.log10(np.concatenate(volumes) + _FLOOR)
    return logistic.cross_validated_accuracy(logs, is_synthetic, folds)


def _log_of_mean(power: np.ndarray) -> np.ndarray:
    return np.log10(power.mean(axis=0) + _FLOOR)


# --- sums over the transform ----------------------------------------------------------


def _weighted(hu: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sums of the power of each slice with weights (sums, rows, half of the columns).

    Returns:
        (slices, sums) float64.
    """
    on_device = jnp.asarray(weights)
    found = over_slices(
        lambda images: _power_sums(images, on_device), hu.astype(np.float32, copy=False)
    )
    return found.astype(np.float64)


@jax.jit
def _power_sums(hu: jax.Array, weights: jax.Array) -> jax.Array:
    low, high = RANGE_HU
    window = np.outer(*(_taper(length) for length in hu.shape[1:])).astype(np.float32)
    images = (jnp.clip(hu, low, high) - low) / (high - low) * window
    size = weights.shape[1], 2 * (weights.shape[2] - 1)
    transform = jnp.fft.rfft2(images, s=size)
    power = jnp.square(transform.real) + jnp.square(transform.imag)
    sums = jnp.einsum(
        "nij,kij->nk", power, weights, precision=jax.lax.Precision.HIGHEST
    )
    return sums / np.square(window).sum()


def _taper(length: int) -> np.ndarray:
    """Tukey's window: a cosine over _TAPER of each side; 1 between."""
    from_end = np.minimum(np.arange(length) + 0.5, length - np.arange(length) - 0.5)
    return np.sin(np.minimum(from_end / (_TAPER * length), 1) * np.pi / 2) ** 2


def _transform_size(hu: np.ndarray, least: int) -> tuple[int, int]:
    """Even, and fine enough for `least` coefficients; slices are filled up with air."""
    if hu.ndim != 3 or min(hu.shape[1:]) < MIN_SIZE:
        raise ValueError(
            f"images are {hu.shape}, expected (slices, rows, columns) with {MIN_SIZE} "
            "rows and columns or more"
        )
    rows, columns = (max(n + n % 2, least + least % 2) for n in hu.shape[1:])
    return rows, columns


@functools.lru_cache(maxsize=4)
def _annuli(size: tuple[int, int], bins: int) -> np.ndarray:
    radius = _distance(size, (0.0, 0.0))
    # Upper ends belong to the annulus; 1e-9 is for their rounding.
    bin_of = np.ceil(radius * 2 * bins - 1e-9).astype(int) - 1
    return _means([bin_of == index for index in range(bins)])


@functools.lru_cache(maxsize=4)
def _patterns(size: tuple[int, int], period: int) -> np.ndarray:
    steps = range(period)
    # Those that are multiples of 1/2 are of period 2.
    points = [
        (i / period, j / period) for i in steps for j in steps if i % 2 or j % 2
    ]  # fmt: skip
    distances = [_distance(size, point) for point in points]
    low, high = _SURROUND
    return _means(
        [distance <= _CORE for distance in distances]
        + [(low <= distance) & (distance <= high) for distance in distances]
    )


def _distance(size: tuple[int, int], point: tuple[float, float]) -> np.ndarray:
    """Of each coefficient of the transform from a frequency, which repeats every 1."""
    apart = [
        np.abs((np.arange(length) / length - at + 0.5) % 1 - 0.5)
        for length, at in zip(size, point, strict=True)
    ]
    return np.hypot(apart[0][:, None], apart[1])


def _means(regions: Sequence[np.ndarray]) -> np.ndarray:
    """Weights that average over regions of the transform, for its half that is kept.

    The transform of a real image is the same, conjugate, at opposite frequencies.
    """
    weights = np.array([region / region.sum() for region in regions], np.float32)
    opposite = np.roll(np.flip(weights, (1, 2)), 1, (1, 2))
    half = weights.shape[2] // 2
    # Column 0 and the last are opposite to themselves and kept whole.
    weights[:, :, 1:half] += opposite[:, :, 1:half]
    return weights[:, :, : half + 1]

"""Structural similarity of a synthetic CT and the true CT, as the SynthRAD challenges
compute it: SSIM as of 2023, MS-SSIM as of 2025.

Windows are 7 x 7 x 7 voxels, uniform. Seven slices at a time are on the device for each
that is looked at, and as many of those as a batch has.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from synthct_jax.metrics.batches import over_slices
from synthct_jax.metrics.paired import RANGE_HU

WINDOW = 7
_PAD = WINDOW // 2
_K1, _K2 = 0.01, 0.03

MULTISCALE_RANGE_HU = (-1024.0, 3071.0)
"""As of SynthRAD2025; that of 2023 ended at 3000."""
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""From fine to coarse: Wang, Simoncelli & Bovik 2003."""
_LEAST_SIZE = 97  # of each axis, so that the fifth scale has seven voxels


def structural_similarity(
    synthetic: np.ndarray, truth: np.ndarray, mask: np.ndarray
) -> float:
    """SSIM (Wang et al., IEEE Trans Image Process 2004; 13:600), mean over the mask.

    As SynthRAD2023 has it (Huijben et al., Medical Image Analysis 2024; 97:103276):
    scikit-image's, of images that are clipped to RANGE_HU, have its least value outside
    the mask and are shifted to 0 ... 4024, with that width as the dynamic range;
    K1 = 0.01, K2 = 0.03, unbiased covariances. Voxels nearer to a face of the volume
    than half a window do not count.

    Args:
        synthetic, truth: HU, (slices, rows, columns).
        mask: bool of that shape.

    Returns:
        The SSIM; nan for volumes of fewer than seven slices.

    Raises:
        ValueError: shapes differ, slices smaller than the window, or a mask that is
            empty, or (of seven slices or more) at the faces only.
    """
    _check(synthetic, truth, mask)
    if len(truth) < WINDOW:
        return float("nan")
    found = _mean_over_mask(
        _in_range(synthetic, mask, RANGE_HU),
        _in_range(truth, mask, RANGE_HU),
        mask,
        range_hu=RANGE_HU,
    )
    if found is None:
        raise ValueError("the mask has voxels near the faces of the volume only")
    return found


def multiscale_structural_similarity(
    synthetic: np.ndarray, truth: np.ndarray, mask: np.ndarray
) -> float:
    """MS-SSIM of SynthRAD2025, five scales in three dimensions, over the mask.

    After Wang, Simoncelli & Bovik, Asilomar Conf Signals Syst Comput 2003, p. 1398,
    with what that challenge's published evaluation does: the similarity of each voxel
    is raised to the scale's weight, luminance at all scales (not the coarsest only) and
    negative structure as 0, then averaged over the mask, and the five averages are
    multiplied. From scale to scale images are averaged over 2 x 2 x 2 voxels, the mask
    takes each second one. Images are clipped to MULTISCALE_RANGE_HU, air outside the
    mask; axes shorter than 97 voxels are filled up to 97 by repeating their ends. So
    thin volumes have a value too, whose coarsest scale is one voxel in the middle.

    Args:
        synthetic, truth: HU, (slices, rows, columns).
        mask: bool of that shape.

    Returns:
        The MS-SSIM; nan where the mask has no voxel at a coarse scale.

    Raises:
        ValueError: shapes differ, slices smaller than the window, or an empty mask.
    """
    _check(synthetic, truth, mask)
    images = [
        _in_range(image, mask, MULTISCALE_RANGE_HU) for image in (synthetic, truth)
    ]
    fill = [
        (short // 2, short - short // 2)
        for short in (max(_LEAST_SIZE - length, 0) for length in mask.shape)
    ]
    *images, mask = (np.pad(array, fill, mode="edge") for array in (*images, mask))
    product = 1.0
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            images = [_halved(image) for image in images]
            mask = mask[::2, ::2, ::2]
        found = _mean_over_mask(
            *images, mask, range_hu=MULTISCALE_RANGE_HU, weight=weight
        )
        if found is None:
            return float("nan")
        product *= found
    return product


def _mean_over_mask(
    x: np.ndarray,
    y: np.ndarray,
    mask: np.ndarray,
    *,
    range_hu: tuple[float, float],
    weight: float | None = None,
) -> float | None:
    """Mean of the map where the mask is, _PAD voxels from the faces; None without."""
    mask = mask[(slice(_PAD, -_PAD),) * 3]
    if not mask.any():
        return None
    function = functools.partial(_row_sums, range_hu=range_hu, weight=weight)
    sums = over_slices(function, _windows(x), _windows(y), mask)
    return float(sums.sum(dtype=np.float64) / mask.sum())


@functools.partial(jax.jit, static_argnames=("range_hu", "weight"))
def _row_sums(
    x: jax.Array,
    y: jax.Array,
    mask: jax.Array,
    *,
    range_hu: tuple[float, float],
    weight: float | None,
) -> jax.Array:
    """Sums of the similarity over the rows of the middle slices.

    Args:
        x, y: HU in the range, (n, WINDOW, rows, columns).
        mask: (n, rows - 2 _PAD, columns - 2 _PAD).

    Returns:
        (n, rows - 2 _PAD).
    """

    def mean(image: jax.Array) -> jax.Array:
        total = image.sum(axis=1)
        for window in ((1, WINDOW, 1), (1, 1, WINDOW)):
            total = jax.lax.reduce_window(
                total, 0.0, jax.lax.add, window, (1, 1, 1), "valid"
            )
        return total / WINDOW**3

    low, high = range_hu
    c1, c2 = ((k * (high - low)) ** 2 for k in (_K1, _K2))
    unbiased = WINDOW**3 / (WINDOW**3 - 1)
    # 2 a b = a^2 + b^2 - (a - b)^2 makes it 1 less what the difference of the images
    # takes off: nearly equal large numbers are never subtracted.
    mean_x, mean_difference = mean(x), mean(x - y)
    mean_y = mean_x - mean_difference
    variances = unbiased * (mean(x * x + y * y) - mean_x**2 - mean_y**2)
    lost = unbiased * (mean((x - y) ** 2) - mean_difference**2)
    squares = (mean_x - low) ** 2 + (mean_y - low) ** 2
    luminance = 1 - mean_difference**2 / (squares + c1)
    similarity = luminance * (1 - lost / (variances + c2))
    if weight is not None:
        similarity = jnp.maximum(similarity, 0) ** weight
    return jnp.where(mask, similarity, 0).sum(axis=-1)


def _windows(image: np.ndarray) -> np.ndarray:
    """(slices - 2 _PAD, WINDOW, rows, columns): a view, that takes no memory."""
    view = np.lib.stride_tricks.sliding_window_view(image, WINDOW, axis=0)
    return np.moveaxis(view, -1, 1)


def _halved(image: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 x 2 voxels, those at 2i and 2i - 1; air before the first."""
    for axis in range(3):
        before = [(int(number == axis), 0) for number in range(3)]
        image = np.pad(image, before, constant_values=MULTISCALE_RANGE_HU[0])
        image = np.moveaxis(image, axis, 0)
        second = image[1::2]
        image = np.moveaxis((image[::2][: len(second)] + second) / 2, 0, axis)
    return image


def _in_range(
    image: np.ndarray, mask: np.ndarray, range_hu: tuple[float, float]
) -> np.ndarray:
    image = np.clip(image, *range_hu, dtype=np.float32)
    return np.where(mask, image, np.float32(range_hu[0]))


def _check(synthetic: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> None:
    if not synthetic.shape == truth.shape == mask.shape:
        raise ValueError(
            f"shapes differ: synthetic {synthetic.shape}, truth {truth.shape}, mask "
            f"{mask.shape}"
        )
    if truth.ndim != 3 or min(truth.shape[1:]) < WINDOW:
        raise ValueError(
            f"images are {truth.shape}, expected (slices, rows, columns) with {WINDOW} "
            "rows and columns or more"
        )
    if not mask.any():
        raise ValueError("the mask is empty: there is nothing to compare")

"""Structural similarity of a synthetic CT and the reference CT.

SSIM is computed as in the SynthRAD challenge of 2023, MS-SSIM as in that of 2025.
Windows are uniform and have 7 x 7 x 7 voxels: the device holds seven slices for each
slice of a batch. Volumes are (slices, rows, columns), in HU; masks are bool of that
shape.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from synthct_jax.metrics.batches import over_slices
from synthct_jax.metrics.paired import RANGE_HU, check_volumes

WINDOW = 7
_PAD = WINDOW // 2
_K1, _K2 = 0.01, 0.03

MULTISCALE_RANGE_HU = (-1024.0, 3071.0)
"""Range of SynthRAD2025; that of 2023 ended at 3000 HU."""
# From the fine to the coarse scale (Wang, Simoncelli & Bovik 2003).
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_MIN_SIZE = 97  # of each axis, so that the fifth scale has seven voxels


def structural_similarity(
    synthetic: np.ndarray, reference_ct: np.ndarray, mask: np.ndarray
) -> float:
    """Return the mean structural similarity index (SSIM) over a mask.

    The index (Wang et al., IEEE Trans Image Process 2004; 13:600) is that of
    scikit-image, with the images that SynthRAD2023 uses (Huijben et al., Medical Image
    Analysis 2024; 97:103276): they are clipped to RANGE_HU, have its lower end outside
    the mask and are shifted to 0 ... 4024, with that width as the dynamic range. K1 is
    0.01, K2 is 0.03, and covariances are unbiased. Voxels closer to a face of the
    volume than half a window do not count.

    Returns:
        The SSIM, at most 1; nan for volumes of fewer than seven slices.

    Raises:
        ValueError: the shapes differ, slices are smaller than the window, or the mask
            is empty or (with seven slices or more) only near the faces.
    """
    _check(synthetic, reference_ct, mask)
    if len(reference_ct) < WINDOW:
        return float("nan")
    images = [_in_range(x, mask, RANGE_HU) for x in (synthetic, reference_ct)]
    mean = _mean_over_mask(*images, mask, RANGE_HU)
    if mean is None:
        raise ValueError("the mask has voxels near the faces of the volume only")
    return mean


def multiscale_structural_similarity(
    synthetic: np.ndarray, reference_ct: np.ndarray, mask: np.ndarray
) -> float:
    """Return the multi-scale structural similarity (MS-SSIM) in 3-D over a mask.

    It follows Wang, Simoncelli & Bovik, Asilomar Conf Signals Syst Comput 2003, p.
    1398, as the published evaluation of SynthRAD2025 computes it. At each of five
    scales the similarity of each voxel, with luminance at all scales (not only at the
    coarsest) and negative structure as 0, is raised to the scale's weight and averaged
    over the mask. The five averages are multiplied. From scale to scale images are
    averaged over 2 x 2 x 2 voxels, and the mask takes every second voxel. Images are
    clipped to MULTISCALE_RANGE_HU and are air outside the mask.

    Axes shorter than 97 voxels are padded to 97 by repeating their ends, so that thin
    volumes have a value too. Their coarsest scale is one voxel in the middle.

    Returns:
        The MS-SSIM, 0 to 1; nan if the mask has no voxel at a coarse scale.

    Raises:
        ValueError: the shapes differ, slices are smaller than the window, or the mask
            is empty.
    """
    _check(synthetic, reference_ct, mask)
    range_hu = MULTISCALE_RANGE_HU
    images = [_in_range(x, mask, range_hu) for x in (synthetic, reference_ct)]
    short = [max(_MIN_SIZE - length, 0) for length in mask.shape]
    fill = [(n // 2, n - n // 2) for n in short]
    *images, mask = (np.pad(array, fill, mode="edge") for array in (*images, mask))
    product = 1.0
    for scale, weight in enumerate(_SCALE_WEIGHTS):
        if scale:
            images = [_halve(image) for image in images]
            mask = mask[::2, ::2, ::2]
        mean = _mean_over_mask(*images, mask, range_hu, weight)
        if mean is None:
            return float("nan")
        product *= mean
    return product


def _mean_over_mask(
    x: np.ndarray,
    y: np.ndarray,
    mask: np.ndarray,
    range_hu: tuple[float, float],
    weight: float | None = None,
) -> float | None:
    """Return the mean similarity over the mask, _PAD from the faces; None if empty."""
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
    """Sum the similarity in the middle slice of each window over each row.

    Args:
        x, y: HU in the range, (n, WINDOW, rows, columns).
        mask: bool, (n, rows - 2 _PAD, columns - 2 _PAD).
        weight: exponent of the similarity, None for 1.
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
    # By 2 a b = a^2 + b^2 - (a - b)^2 each factor is 1 minus a term of the difference
    # of the images, so that nearly equal large numbers are never subtracted.
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
    """Return windows (slices - 2 _PAD, WINDOW, rows, columns), a view of the image."""
    view = np.lib.stride_tricks.sliding_window_view(image, WINDOW, axis=0)
    return np.moveaxis(view, -1, 1)


def _halve(image: np.ndarray) -> np.ndarray:
    """Return means of 2 x 2 x 2 voxels, at 2i and 2i - 1, with air before the first."""
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


def _check(synthetic: np.ndarray, reference_ct: np.ndarray, mask: np.ndarray) -> None:
    check_volumes(synthetic, reference_ct, mask)
    if min(mask.shape[1:]) < WINDOW:
        raise ValueError(
            f"images are {mask.shape}, expected (slices, rows, columns) with {WINDOW} "
            "rows and columns or more"
        )

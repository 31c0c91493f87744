"""Errors of a synthetic CT against the reference CT of the same subject, in HU.

Definitions follow the SynthRAD2023 challenge (Huijben et al., Medical Image Analysis
2024; 97:103276): one value per volume, over the voxels of a mask. Volumes are (slices,
rows, columns), in HU; masks are bool of that shape. Rows are summed on the device in
float32, and their sums on the host in float64.
"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage

from synthct_jax.metrics.batches import over_slices
from synthct_jax.metrics.tissues import BANDS

RANGE_HU = (-1024.0, 3000.0)
"""Range to which images are clipped for PSNR and SSIM; its width is the peak."""

ERROR_STEP_HU = 20
ERROR_RANGE_HU = (-1010, 1010)
_EDGES = np.arange(ERROR_RANGE_HU[0], ERROR_RANGE_HU[1] + 1, ERROR_STEP_HU)
ERROR_CENTRES_HU = (_EDGES[:-1] + _EDGES[1:]) / 2
"""Centres of the bins of `error_counts`; one of them is 0."""

Errors = dict[str, float]
"""'mae' and 'me' in HU, and 'voxels', of a part of a volume."""


def errors(
    synthetic: np.ndarray, reference_ct: np.ndarray, mask: np.ndarray
) -> dict[str, float]:
    """Return the errors of a volume over a mask of its shape.

    Returns:
        'mae', the mean absolute error, 'rmse', the root mean squared error, and 'me',
        the mean of synthetic minus reference, in HU; 'me' is above 0 if the synthetic
        CT is too dense. 'psnr', the peak signal-to-noise ratio in dB of images clipped
        to RANGE_HU, with its width (4024 HU) as the peak; infinite for equal images.

    Raises:
        ValueError: the shapes differ, or the mask is empty.
    """
    check_volumes(synthetic, reference_ct, mask)
    rows = over_slices(_error_sums, synthetic, reference_ct, mask)
    mean = {name: x.sum(dtype=np.float64) / mask.sum() for name, x in rows.items()}
    peak, mse = RANGE_HU[1] - RANGE_HU[0], mean["squared_in_range"]
    return {
        "mae": float(mean["absolute"]),
        "rmse": float(np.sqrt(mean["squared"])),
        "me": float(mean["signed"]),
        "psnr": float(10 * np.log10(peak**2 / mse)) if mse else float("inf"),
    }


def by_label(
    synthetic: np.ndarray, reference_ct: np.ndarray, labels: np.ndarray, *, count: int
) -> list[Errors | None]:
    """Return the errors of the voxels of each label, 0 to count - 1; None without any.

    Raises:
        ValueError: the shapes differ, or a label is out of its range.
    """
    _check_shapes(synthetic, reference_ct, labels=labels)
    if labels.min() < 0 or labels.max() >= count:
        raise ValueError(
            f"labels go from {labels.min()} to {labels.max()}, expected 0 to "
            f"{count - 1}"
        )
    sums = functools.partial(_label_sums, count=count)
    return _means(over_slices(sums, synthetic, reference_ct, labels))


def by_band(
    synthetic: np.ndarray,
    reference_ct: np.ndarray,
    mask: np.ndarray,
    bands: Mapping[str, tuple[float, float]],
) -> dict[str, Errors | None]:
    """Return the errors of the voxels of the mask whose reference HU is in each band.

    Bands have a lower limit (inclusive) and an upper limit (exclusive) in HU. Errors
    are None if the band does not occur.

    Raises:
        ValueError: the shapes differ, or the mask is empty.
    """
    check_volumes(synthetic, reference_ct, mask)
    low, high = np.array(list(bands.values()), np.float32).reshape(-1, 2).T
    sums = functools.partial(_band_sums, low=low, high=high)
    means = _means(over_slices(sums, synthetic, reference_ct, mask))
    return dict(zip(bands, means, strict=True))


def error_counts(
    synthetic: np.ndarray, reference_ct: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """Count the voxels of the mask by their error, (bins,) int64.

    Bins of synthetic minus reference are ERROR_STEP_HU wide over ERROR_RANGE_HU. Errors
    beyond the range count in the outermost bins.

    Raises:
        ValueError: as for `errors`.
    """
    check_volumes(synthetic, reference_ct, mask)
    counts = over_slices(_error_histograms, synthetic, reference_ct, mask)
    return counts.sum(axis=0, dtype=np.int64)


def fat_muscle_border(reference_ct: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the voxels on either side of the borders between fat and soft tissue.

    These are voxels of fat with soft tissue (muscle and organs) among their eight
    neighbours in the slice, and voxels of soft tissue with fat among them, by
    `tissues.BANDS`. The rim of the skin has the HU of fat where it shares a voxel with
    air: fat that touches air, lung or the outside of the mask does not count.
    """

    def near(voxels: np.ndarray) -> np.ndarray:
        return scipy.ndimage.binary_dilation(voxels, np.ones((1, 3, 3), bool))

    def inside(low: float, high: float) -> np.ndarray:
        return mask & (reference_ct >= low) & (reference_ct < high)

    fat = inside(*BANDS["fat"]) & ~near(~mask | (reference_ct < BANDS["fat"][0]))
    soft_tissue = inside(*BANDS["soft_tissue"])
    return (fat & near(soft_tissue)) | (soft_tissue & near(fat))


# --- sums of a slice ------------------------------------------------------------------


@jax.jit
def _error_sums(synthetic: jax.Array, reference_ct: jax.Array, mask: jax.Array) -> dict:
    error = _difference(synthetic, reference_ct)
    in_range = _difference(*(jnp.clip(x, *RANGE_HU) for x in (synthetic, reference_ct)))
    values = {
        "signed": error,
        "absolute": jnp.abs(error),
        "squared": error**2,
        "squared_in_range": in_range**2,
    }
    return {name: jnp.where(mask, x, 0).sum(axis=-1) for name, x in values.items()}


@functools.partial(jax.jit, static_argnames="count")
def _label_sums(
    synthetic: jax.Array, reference_ct: jax.Array, labels: jax.Array, *, count: int
) -> dict:
    error = _difference(synthetic, reference_ct)
    values = {"signed": error, "absolute": jnp.abs(error), "voxels": labels >= 0}
    return {name: _row_sums_by_index(x, labels, count) for name, x in values.items()}


@jax.jit
def _band_sums(
    synthetic: jax.Array,
    reference_ct: jax.Array,
    mask: jax.Array,
    *,
    low: jax.Array,
    high: jax.Array,
) -> dict:
    error = _difference(synthetic, reference_ct)

    def sums_of_band(low: jax.Array, high: jax.Array) -> dict:
        in_band = mask & (reference_ct >= low) & (reference_ct < high)
        return {
            "signed": jnp.where(in_band, error, 0).sum(axis=-1),
            "absolute": jnp.where(in_band, jnp.abs(error), 0).sum(axis=-1),
            "voxels": in_band.sum(axis=-1),
        }

    return jax.vmap(sums_of_band, out_axes=1)(low, high)


@jax.jit
def _error_histograms(
    synthetic: jax.Array, reference_ct: jax.Array, mask: jax.Array
) -> jax.Array:
    error = _difference(synthetic, reference_ct)
    position = (error - ERROR_RANGE_HU[0]) / ERROR_STEP_HU
    bins = len(ERROR_CENTRES_HU)
    index = jnp.clip(jnp.floor(position), 0, bins - 1)
    return _row_sums_by_index(mask, index, bins).sum(axis=-1)


def _row_sums_by_index(values: jax.Array, index: jax.Array, count: int) -> jax.Array:
    """Sum values (n, rows, columns) by their index in each row, (n, count, rows)."""
    zeros = jnp.zeros(count, jnp.promote_types(values.dtype, jnp.int32))
    of_row = jax.vmap(lambda values, index: zeros.at[index].add(values))
    rows = jax.vmap(of_row)(values, index.astype(jnp.int32))
    return rows.swapaxes(1, 2)


def _difference(synthetic: jax.Array, reference_ct: jax.Array) -> jax.Array:
    return synthetic.astype(jnp.float32) - reference_ct.astype(jnp.float32)


# --- sums of a volume -----------------------------------------------------------------


def _means(sums: Mapping[str, np.ndarray]) -> list[Errors | None]:
    """Return the means of each group, from sums (slices, groups, rows)."""
    signed, absolute = (
        sums[name].sum(axis=(0, 2), dtype=np.float64) for name in ("signed", "absolute")
    )
    voxels = sums["voxels"].sum(axis=(0, 2), dtype=np.int64)
    return [
        {"mae": float(a / n), "me": float(s / n), "voxels": int(n)} if n else None
        for n, s, a in zip(voxels, signed, absolute, strict=True)
    ]


def check_volumes(
    synthetic: np.ndarray, reference_ct: np.ndarray, mask: np.ndarray
) -> None:
    """Raise ValueError unless the shapes are alike and the mask is not empty."""
    _check_shapes(synthetic, reference_ct, mask=mask)
    if not mask.any():
        raise ValueError("the mask is empty: there is nothing to compare")


def _check_shapes(
    synthetic: np.ndarray, reference_ct: np.ndarray, **voxels: np.ndarray
) -> None:
    ((name, chosen),) = voxels.items()
    if not synthetic.shape == reference_ct.shape == chosen.shape:
        raise ValueError(
            f"shapes differ: synthetic {synthetic.shape}, reference CT "
            f"{reference_ct.shape}, {name} {chosen.shape}"
        )
    if chosen.ndim != 3:
        raise ValueError(f"images are {chosen.shape}, expected (slices, rows, columns)")

"""Errors of a synthetic CT where the true CT is known, in HU.

Definitions follow the SynthRAD2023 challenge (Huijben et al., Medical Image Analysis
2024; 97:103276): over the voxels of a mask, one value a volume. Volumes are (slices,
rows, columns); sums over rows are made on the device, in float32, and added up on the
host, in float64.
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
"""To which images are clipped for PSNR (and SSIM); its width is the peak."""

ERROR_STEP_HU = 20
ERROR_RANGE_HU = (-1010, 1010)
_EDGES = np.arange(ERROR_RANGE_HU[0], ERROR_RANGE_HU[1] + 1, ERROR_STEP_HU)
ERROR_CENTRES_HU = (_EDGES[:-1] + _EDGES[1:]) / 2
"""Of the bins of `error_counts`; one of them is around 0."""


def errors(
    synthetic: np.ndarray, truth: np.ndarray, mask: np.ndarray
) -> dict[str, float]:
    """The errors of a volume.

    Args:
        synthetic, truth: HU, (slices, rows, columns).
        mask: bool of that shape; what counts.

    Returns:
        'mae', mean absolute error; 'rmse', root mean squared error; 'me', the mean of
        synthetic - truth, above 0 where the synthetic CT is too dense, all in HU;
        'psnr', the peak signal-to-noise ratio in dB of images clipped to RANGE_HU, with
        its width (4024 HU) as the peak: infinite for equal images.

    Raises:
        ValueError: shapes differ, or the mask is empty.
    """
    _check(synthetic, truth, mask=mask)
    rows = over_slices(_error_sums, synthetic, truth, mask)
    mean = {name: _total(sums) / mask.sum() for name, sums in rows.items()}
    peak, mse = RANGE_HU[1] - RANGE_HU[0], mean["squared_in_range"]
    return {
        "mae": float(mean["absolute"]),
        "rmse": float(np.sqrt(mean["squared"])),
        "me": float(mean["signed"]),
        "psnr": float(10 * np.log10(peak**2 / mse)) if mse else float("inf"),
    }


def by_label(
    synthetic: np.ndarray, truth: np.ndarray, labels: np.ndarray, *, count: int
) -> list[dict[str, float] | None]:
    """MAE and ME of each label's voxels.

    Args:
        synthetic, truth: HU, (slices, rows, columns).
        labels: integers of that shape, from 0.
        count: labels are below.

    Returns:
        For each label 0, 1, ...: {'mae', 'me', 'voxels'}, None where it does not occur.

    Raises:
        ValueError: shapes differ, or a label is not below `count`.
    """
    _check(synthetic, truth, labels=labels)
    if labels.min() < 0 or labels.max() >= count:
        raise ValueError(
            f"labels go from {labels.min()} to {labels.max()}, expected 0 to "
            f"{count - 1}"
        )
    sums = functools.partial(_label_sums, count=count)
    return _means(over_slices(sums, synthetic, truth, labels))


def by_band(
    synthetic: np.ndarray,
    truth: np.ndarray,
    mask: np.ndarray,
    bands: Mapping[str, tuple[float, float]],
) -> dict[str, dict[str, float] | None]:
    """MAE and ME of the voxels whose true HU is in a band.

    Args:
        synthetic, truth: HU, (slices, rows, columns).
        mask: bool of that shape; what counts.
        bands: of each name the least HU, and the one that is just above the band.

    Returns:
        For each name {'mae', 'me', 'voxels'}, None where the mask has none of it.

    Raises:
        ValueError: shapes differ, or the mask is empty.
    """
    _check(synthetic, truth, mask=mask)
    low, high = np.array(list(bands.values()), np.float32).reshape(-1, 2).T
    sums = functools.partial(_band_sums, low=low, high=high)
    found = _means(over_slices(sums, synthetic, truth, mask))
    return dict(zip(bands, found, strict=True))


def error_counts(
    synthetic: np.ndarray, truth: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """How many voxels have which error: counts add up over volumes.

    Bins of synthetic - truth are ERROR_STEP_HU wide over ERROR_RANGE_HU; what is beyond
    counts in the outermost bins. Arguments and errors as of `errors`.

    Returns:
        (bins,) int64.
    """
    _check(synthetic, truth, mask=mask)
    counts = over_slices(_error_histograms, synthetic, truth, mask)
    return counts.sum(axis=0, dtype=np.int64)


def fat_muscle_border(truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the voxels on either side of the borders between fat and soft tissue.

    These are voxels of fat with soft tissue (muscle and organs) among their eight
    neighbours in the slice, and voxels of soft tissue with fat among them, by
    `tissues.BANDS`. The rim of the skin has the HU of fat where it shares a voxel with
    air: fat that touches air, lung or the outside of the mask does not count.

    Args:
        truth: HU, (slices, rows, columns).
        mask: bool of that shape, the body.

    Returns:
        Bool of that shape.
    """

    def near(where: np.ndarray) -> np.ndarray:
        return scipy.ndimage.binary_dilation(where, np.ones((1, 3, 3), bool))

    def inside(low: float, high: float) -> np.ndarray:
        return mask & (truth >= low) & (truth < high)

    fat = inside(*BANDS["fat"]) & ~near(~mask | (truth < BANDS["fat"][0]))
    soft_tissue = inside(*BANDS["soft_tissue"])
    return (fat & near(soft_tissue)) | (soft_tissue & near(fat))


# --- sums of a slice ------------------------------------------------------------------


@jax.jit
def _error_sums(synthetic: jax.Array, truth: jax.Array, mask: jax.Array) -> dict:
    error = _difference(synthetic, truth)
    in_range = _difference(*(jnp.clip(x, *RANGE_HU) for x in (synthetic, truth)))
    values = {
        "signed": error,
        "absolute": jnp.abs(error),
        "squared": error**2,
        "squared_in_range": in_range**2,
    }
    return {
        name: jnp.where(mask, value, 0).sum(axis=-1) for name, value in values.items()
    }


@functools.partial(jax.jit, static_argnames="count")
def _label_sums(
    synthetic: jax.Array, truth: jax.Array, labels: jax.Array, *, count: int
) -> dict:
    error = _difference(synthetic, truth)
    values = {"signed": error, "absolute": jnp.abs(error), "voxels": labels >= 0}
    return {name: _by_row(value, labels, count) for name, value in values.items()}


@jax.jit
def _band_sums(
    synthetic: jax.Array,
    truth: jax.Array,
    mask: jax.Array,
    *,
    low: jax.Array,
    high: jax.Array,
) -> dict:
    error = _difference(synthetic, truth)
    return jax.vmap(
        lambda low, high: _sums_where(error, mask & (truth >= low) & (truth < high)),
        out_axes=1,
    )(low, high)


def _sums_where(error: jax.Array, where: jax.Array) -> dict:
    return {
        "signed": jnp.where(where, error, 0).sum(axis=-1),
        "absolute": jnp.where(where, jnp.abs(error), 0).sum(axis=-1),
        "voxels": where.sum(axis=-1),
    }


@jax.jit
def _error_histograms(
    synthetic: jax.Array, truth: jax.Array, mask: jax.Array
) -> jax.Array:
    position = (_difference(synthetic, truth) - ERROR_RANGE_HU[0]) / ERROR_STEP_HU
    bins = len(ERROR_CENTRES_HU)
    index = jnp.clip(jnp.floor(position), 0, bins - 1)
    return _by_row(mask, index, bins).sum(axis=-1)


def _by_row(values: jax.Array, index: jax.Array, count: int) -> jax.Array:
    """Sums of values with the same index, (n, rows, columns) to (n, count, rows)."""
    zeros = jnp.zeros(count, jnp.promote_types(values.dtype, jnp.int32))
    of_row = jax.vmap(lambda values, index: zeros.at[index].add(values))
    rows = jax.vmap(of_row)(values, index.astype(jnp.int32))
    return rows.swapaxes(1, 2)


def _difference(synthetic: jax.Array, truth: jax.Array) -> jax.Array:
    return synthetic.astype(jnp.float32) - truth.astype(jnp.float32)


# --- sums of a volume -----------------------------------------------------------------


def _total(sums: np.ndarray) -> np.float64:
    return sums.sum(dtype=np.float64)


def _means(sums: Mapping[str, np.ndarray]) -> list[dict[str, float] | None]:
    """Of sums (slices, groups, rows)."""
    signed, absolute = (
        sums[name].sum(axis=(0, 2), dtype=np.float64) for name in ("signed", "absolute")
    )
    voxels = sums["voxels"].sum(axis=(0, 2), dtype=np.int64)
    return [
        {"mae": float(a / n), "me": float(s / n), "voxels": int(n)} if n else None
        for n, s, a in zip(voxels, signed, absolute, strict=True)
    ]


def _check(synthetic: np.ndarray, truth: np.ndarray, **where: np.ndarray) -> None:
    ((name, chosen),) = where.items()
    if not synthetic.shape == truth.shape == chosen.shape:
        raise ValueError(
            f"shapes differ: synthetic {synthetic.shape}, truth {truth.shape}, {name} "
            f"{chosen.shape}"
        )
    if truth.ndim != 3:
        raise ValueError(f"images are {truth.shape}, expected (slices, rows, columns)")
    if name == "mask" and not chosen.any():
        raise ValueError("the mask is empty: there is nothing to compare")

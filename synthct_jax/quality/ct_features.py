"""Features of a synthetic CT on the network's pixels, alone and beside its MR."""

import numpy as np
import scipy.ndimage

from input_pipeline.body import body_mask
from synthct_jax.metrics import tissues
from synthct_jax.metrics.continuity import (
    slice_difference_statistics,
    slice_differences,
)
from synthct_jax.metrics.path_length import relative_stopping_power
from synthct_jax.quality.mr_features import unevenness

_MODE_HU = 4.0  # width of the bins of a histogram
_MODE_BLUR = 2.0  # bins
_SPINE_MM = 45.0  # half the width of the strip that holds the vertebral column
_PATH_MM = 20.0  # half the width of a bundle of rays
_LEVELS = {1: 48, 2: 12, 3: 6}  # of brightness of each MR channel, by their number
_RANGE_HU = (-300.0, 300.0)  # beyond it MR does not tell how dense
_DEVIATION_MM = 8.0  # standard deviation of the Gaussian, for organs and no vessels
_DARK, _BRIGHTEST = 0.08, 90.0  # of the MR's scale; percentile
_LEAST_FAT = 0.05  # share of fat near a place where its brightness counts
_SIGNAL = 0.2  # of the MR's scale, above which it shows soft tissue or fat
_OFFSETS = range(-4, 5)  # pixels


def hounsfield(hu: np.ndarray, body: np.ndarray) -> dict:
    """Return peaks of the tissues and their shares in the body.

    Args:
        hu: (slices, rows, columns).
        body: bool of that shape.
    """
    inside = hu[body]
    bone = inside[inside >= tissues.BONE_FROM_HU]
    aerated = inside < tissues.AERATED_BELOW_HU
    return {
        "fat_peak_hu": _peak(inside, tissues.BANDS["fat"]),
        "soft_peak_hu": _peak(inside, tissues.BANDS["soft_tissue"]),
        "bone_median_hu": np.median(bone) if bone.size else np.nan,
        "air_share": aerated.mean(),
        "fat_share": _share(inside, "fat"),
        "soft_share": _share(inside, "soft_tissue"),
        "bone_share": bone.size / inside.size,
    }


def _is(values: np.ndarray, tissue: str) -> np.ndarray:
    low, high = tissues.BANDS[tissue]
    return (values >= low) & (values < high)


def _share(values: np.ndarray, tissue: str) -> float:
    return _is(values, tissue).mean()


def _peak(values: np.ndarray, band: tuple[float, float]) -> float:
    """Return the HU of the maximum of the histogram in a band."""
    edges = np.arange(band[0], band[1] + _MODE_HU, _MODE_HU)
    counts, _ = np.histogram(values, edges)
    if not counts.any():
        return np.nan
    smooth = scipy.ndimage.gaussian_filter1d(counts.astype(float), _MODE_BLUR)
    return float(edges[np.argmax(smooth)] + _MODE_HU / 2)


def shape(
    hu: np.ndarray,
    body: np.ndarray,
    rim: np.ndarray,
    spacing_mm: tuple[float, float, float],
) -> dict:
    """Return the outline beside that of the MR, the spine and changes along slices.

    Args:
        hu: (slices, rows, columns).
        body, rim: of the MR, bool of that shape.
    """
    outline = body_mask(hu[..., None], "CT", spacing_mm)
    skin = body & ~_core_of(body)
    changes = slice_difference_statistics(slice_differences(hu, body))
    return {
        "outline_dice": 2 * (outline & body).sum() / (outline.sum() + body.sum()),
        "air_at_skin": (hu[skin] < tissues.AERATED_BELOW_HU).mean(),
        "rim_hu": np.median(hu[rim]) if rim.any() else np.nan,
        "spine_share": _spine_share(hu, body, spacing_mm),
        "ct_slice_jump": changes["largest"],
        "ct_slice_repeat": changes["smallest"],
        "slice_step_hu": _slice_step(hu, body),
    }


def _slice_step(hu: np.ndarray, body: np.ndarray) -> float:
    """Return how far soft tissue of a slice is from that of its two neighbours."""
    low, high = tissues.BANDS["soft_tissue"]
    soft = body & (hu >= low) & (hu < high)
    levels = [
        np.median(plane[mask])
        for plane, mask in zip(hu, soft, strict=True)
        if mask.any()
    ]
    bends = np.diff(levels, 2) / 2
    return float(np.abs(bends).max(initial=0))


def _core_of(body: np.ndarray) -> np.ndarray:
    """Return the body without the outermost three pixels of each slice."""
    return scipy.ndimage.binary_erosion(body, np.ones((1, 7, 7)))


def _spine_share(
    hu: np.ndarray, body: np.ndarray, spacing_mm: tuple[float, float, float]
) -> float:
    """Return the share of slices that one piece of bone near the spine reaches."""
    row, column = (int(np.median(np.nonzero(body)[axis])) for axis in (1, 2))
    half = round(_SPINE_MM / spacing_mm[2])
    strip = hu[:, row:, max(column - half, 0) : column + half]
    pieces, count = scipy.ndimage.label(
        strip >= tissues.BONE_FROM_HU, np.ones((3, 3, 3))
    )
    if not count:
        return 0.0
    reach = max(
        box[0].stop - box[0].start for box in scipy.ndimage.find_objects(pieces)
    )
    return reach / body.any(axis=(1, 2)).sum()


def path_lengths(
    hu: np.ndarray, body: np.ndarray, spacing_mm: tuple[float, float, float]
) -> dict:
    """Return the ratio of water-equivalent to geometric path length, by side.

    Each is of a bundle of parallel rays, 40 mm wide, from the skin to the middle of
    the body, over all slices together.
    """
    power = np.where(body, np.asarray(relative_stopping_power(hu)), 0)
    row, column = (int(np.median(np.nonzero(body)[axis])) for axis in (1, 2))
    up, left = (round(_PATH_MM / mm) for mm in spacing_mm[1:])
    across = slice(max(column - left, 0), column + left + 1)
    along = slice(max(row - up, 0), row + up + 1)
    bundles = {
        "anterior": np.s_[:, :row, across],
        "posterior": np.s_[:, row:, across],
        "right": np.s_[:, along, :column],
        "left": np.s_[:, along, column:],
    }
    return {
        f"path_{side}": power[bundle].sum() / max(body[bundle].sum(), 1)
        for side, bundle in bundles.items()
    }


def agreement(
    hu: np.ndarray,
    mr: np.ndarray,
    body: np.ndarray,
    spacing_mm: tuple[float, float, float],
) -> dict:
    """Return how the CT follows the MR.

    Args:
        hu: (slices, rows, columns).
        mr: (slices, rows, columns, channels), shares of the scale.
        body: bool of the shape of `hu`.
    """
    cells = _cells(mr)
    core = _core_of(body)
    cell, inside = cells[body], hu[body]
    clipped = np.clip(inside, *_RANGE_HU)
    counts = np.bincount(cell)
    usual = np.bincount(cell, clipped) / np.maximum(counts, 1)
    mean = mr[body].mean(axis=-1)
    # Bone and gas are alike in MR.
    signal = core & (mr.mean(axis=-1) > _SIGNAL)
    deviation = np.zeros(hu.shape, np.float32)
    deviation[body] = clipped - usual[cell]
    sigma = [_DEVIATION_MM / mm for mm in spacing_mm]
    share, local = (
        scipy.ndimage.gaussian_filter(image, sigma, truncate=3)[signal]
        for image in (signal.astype(np.float32), np.where(signal, deviation, 0))
    )
    local = local / np.maximum(share, 0.5)
    fat = core & _is(hu, "fat")
    bright = inside[mean >= np.percentile(mean, _BRIGHTEST)]
    dark = hu[core & (mr.max(axis=-1) < _DARK)]
    soft = np.abs(inside - 40) < 60
    return {
        "information": information(cell, clipped),
        "offset_rows_mm": spacing_mm[1] * _offset(hu, cells, core, axis=1),
        "offset_columns_mm": spacing_mm[2] * _offset(hu, cells, core, axis=2),
        "denser_than_alike_hu": local.max(initial=0),
        "lighter_than_alike_hu": local.min(initial=0),
        "fat_unevenness": unevenness(
            mr.mean(axis=-1), fat, spacing_mm, least_share=_LEAST_FAT
        ),
        "bright_as_fat": _share(bright, "fat"),
        "dark_as_soft": (np.abs(dark - 40) < 60).mean() if dark.size else np.nan,
        "soft_brightness": np.median(mean[soft]) / np.median(mean)
        if soft.any()
        else np.nan,
    }


def _cells(mr: np.ndarray) -> np.ndarray:
    """Return the number of each voxel's combination of brightness, int64.

    Each channel has some levels of brightness; equal numbers are equal combinations.
    """
    levels = _LEVELS.get(mr.shape[-1], 4)
    steps = np.clip(mr * (levels / 1.2), 0, levels - 1).astype(np.int64)
    return np.ravel_multi_index(
        tuple(np.moveaxis(steps, -1, 0)), (levels,) * mr.shape[-1]
    )


def _offset(hu: np.ndarray, cells: np.ndarray, core: np.ndarray, axis: int) -> float:
    """Return how many pixels the CT must move for the MR to explain most of it.

    It is the vertex of the parabola through the best whole number and its neighbours;
    NaN where there is nothing to explain.
    """
    every = slice(None, None, 2)  # half of the slices is enough
    cell, hu, core = cells[every][core[every]], hu[every], core[every]
    if not core.any():
        return np.nan
    known = [
        information(cell, np.clip(np.roll(hu, n, axis)[core], *_RANGE_HU))
        for n in _OFFSETS
    ]
    if not np.isfinite(known).any():  # all of one HU
        return np.nan
    best = int(np.clip(np.nanargmax(known), 1, len(known) - 2))
    before, at, after = known[best - 1 : best + 2]
    bend = before - 2 * at + after
    vertex = (before - after) / (2 * bend) if bend < 0 else 0.0
    return _OFFSETS[best] + float(np.clip(vertex, -1, 1))


def information(cell: np.ndarray, hu: np.ndarray) -> float:
    """Return the share of the entropy of HU that the MR's brightness explains."""
    bins = ((hu - _RANGE_HU[0]) / 20).astype(np.int64)
    joint = np.bincount(cell * (bins.max() + 1) + bins).astype(float)
    entropies = [
        -(p * np.log(p)).sum()
        for counts in (joint, np.bincount(cell), np.bincount(bins))
        for p in [counts[counts > 0] / counts.sum()]
    ]
    both, of_mr, of_ct = entropies
    return float((of_mr + of_ct - both) / of_ct) if of_ct > 0 else np.nan

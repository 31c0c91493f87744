"""Baselines that know no anatomy: water, the CT histogram, thresholds, medians.

Both maps of brightness are tables: float32 HU of stored MR 0, 1, ..., 32767. Medians
are a table over bins of all channels.
"""

import itertools

import numpy as np
import scipy.ndimage

from input_pipeline.intensity import AIR_HU, MR_ONE

CLASSES_HU = (-900.0, 80.0, -100.0)
"""HU of gas and lung, soft tissue, and fat: from dark to bright in phase."""
_BIN = MR_ONE // 128
_BINS = 32768 // _BIN
# Bins of each channel of medians, by the number of channels, and of HU to 1536.
_MEDIAN_BINS = {1: 256, 2: 64, 3: 32}
_MEDIAN_HU_STEP, _MEDIAN_HU_BINS = 16, 160


def water(body: np.ndarray) -> np.ndarray:
    """Return water in the outline of the MR and air outside, float32 HU."""
    return np.where(body, np.float32(0), np.float32(AIR_HU))


def map_brightness(hu: np.ndarray, mr: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Map a stored MR channel by a table of HU; air outside the body."""
    return np.where(body, hu[np.maximum(mr, 0)], np.float32(AIR_HU))


def fit_histogram_map(mr_counts: np.ndarray, ct_counts: np.ndarray) -> np.ndarray:
    """Return the HU of each stored MR value by histogram specification.

    The result is (32768,) float32; negative MR values count as 0. MR and HU correspond
    at equal mid-ranks, the middles of the steps of the cumulative distributions; HU in
    between are interpolated (Gonzalez & Woods, Digital Image Processing).

    Args:
        mr_counts, ct_counts: (65536,), how often each int16 from -32768 up occurs in
            the bodies of training subjects (`preparation.statistics.count_values`).

    Raises:
        ValueError: a histogram is empty.
    """
    if not mr_counts.sum() or not ct_counts.sum():
        raise ValueError(
            f"{mr_counts.sum()} voxels of MR and {ct_counts.sum()} of CT in the bodies "
            "of training subjects: there is no histogram to map"
        )
    middle = len(mr_counts) // 2
    mr_counts = np.append(mr_counts[: middle + 1].sum(), mr_counts[middle + 1 :])
    present = np.flatnonzero(ct_counts)
    hu = np.interp(
        _mid_ranks(mr_counts), _mid_ranks(ct_counts)[present], present - middle
    )
    return hu.astype(np.float32)


def threshold_errors(mr: np.ndarray, ct: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Sum |ct - HU| of each class by brightness, over the mask: (3, bins) float64.

    Args:
        mr, ct: a stored MR channel and the reference CT, of any shape.
    """
    bins, ct = np.maximum(mr[mask], 0) // _BIN, ct[mask].astype(np.float64)
    return np.stack([np.bincount(bins, np.abs(ct - hu), _BINS) for hu in CLASSES_HU])


def fit_thresholds(errors: np.ndarray) -> np.ndarray:
    """Return the table of HU with the least error of all with two thresholds.

    It has one of CLASSES_HU below both thresholds, another between them and the third
    above them, in any order: in T2 with suppressed fat, fat is dark. It is a form of
    the bulk densities of dose planning, see `path_length.bulk_density`.

    Args:
        errors: sum of `threshold_errors` of subjects.
    """
    least, table = np.inf, None
    edges = np.arange(_BINS + 1)
    cumulative = np.pad(errors.cumsum(axis=1), [(0, 0), (1, 0)])
    for order in itertools.permutations(range(len(CLASSES_HU))):
        dark, middle, bright = cumulative[list(order)]
        total = (dark - middle)[:, None] + (middle - bright)[None] + bright[-1]
        total[edges[:, None] > edges] = np.inf
        if total.min() < least:
            least = total.min()
            low, high = np.unravel_index(total.argmin(), total.shape)
            classes = np.repeat(order, (low, high - low, _BINS - high))
            table = np.array(CLASSES_HU, np.float32)[classes].repeat(_BIN)
    return table


def intensity_bins(mr: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the bin of each channel of stored MR (..., channels), in its last axis."""
    bins = np.maximum(mr, 0) // (32768 // _MEDIAN_BINS[mr.shape[-1]])
    return tuple(np.moveaxis(bins, -1, 0))


def median_counts(mr: np.ndarray, ct: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Count the CT of each bin of MR intensities over the mask, (bins, ..., HU) int64.

    Args:
        mr: stored, (..., channels).
        ct: HU of its shape without channels.
    """
    channels = mr.shape[-1]
    shape = (_MEDIAN_BINS[channels],) * channels + (_MEDIAN_HU_BINS,)
    hu = (ct[mask].astype(np.int64) - AIR_HU) // _MEDIAN_HU_STEP
    cells = (*intensity_bins(mr[mask]), np.clip(hu, 0, _MEDIAN_HU_BINS - 1))
    counts = np.bincount(np.ravel_multi_index(cells, shape), minlength=np.prod(shape))
    return counts.reshape(shape)


def fit_medians(counts: np.ndarray) -> np.ndarray:
    """Return the median HU of each bin of MR intensities, (bins, ...) float32.

    Of all rules that see one voxel alone, medians have the least absolute error. Bins
    without a voxel have the median of the nearest one with some.

    Args:
        counts: sum of `median_counts` of subjects.
    """
    cumulative = counts.cumsum(axis=-1)
    half = cumulative[..., -1:] / 2
    hu_bin = (cumulative < half).sum(axis=-1, keepdims=True)
    inside = np.take_along_axis(counts, hu_bin, axis=-1)
    below = np.take_along_axis(cumulative, hu_bin, axis=-1) - inside
    share = (half - below) / np.maximum(inside, 1)
    medians = (AIR_HU + _MEDIAN_HU_STEP * (hu_bin + share))[..., 0]
    nearest = scipy.ndimage.distance_transform_edt(
        half[..., 0] == 0, return_distances=False, return_indices=True
    )
    return medians[tuple(nearest)].astype(np.float32)


def map_intensities(
    medians: np.ndarray, mr: np.ndarray, body: np.ndarray
) -> np.ndarray:
    """Map stored MR (..., channels) by `fit_medians`; air outside the body."""
    return np.where(body, medians[intensity_bins(mr)], np.float32(AIR_HU))


def _mid_ranks(counts: np.ndarray) -> np.ndarray:
    """Return the share of voxels below each value, plus half of those that have it."""
    return (np.cumsum(counts) - counts / 2) / counts.sum()

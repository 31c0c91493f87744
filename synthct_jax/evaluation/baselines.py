"""Two baselines that know no anatomy: water, and MR mapped to the CT histogram."""

import numpy as np

from input_pipeline.intensity import AIR_HU


def water(body: np.ndarray) -> np.ndarray:
    """Return water in the outline of the MR and air outside, float32 HU."""
    return np.where(body, np.float32(0), np.float32(AIR_HU))


def map_histogram(hu: np.ndarray, mr: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Map a stored MR channel to `hu` of `fit_histogram_map`; air outside the body."""
    return np.where(body, hu[np.maximum(mr, 0)], np.float32(AIR_HU))


def fit_histogram_map(mr_counts: np.ndarray, ct_counts: np.ndarray) -> np.ndarray:
    """Return float32 HU of stored MR 0, 1, ..., 32767: the same quantile in the body.

    Histogram specification (Gonzalez & Woods, Digital Image Processing): a value goes
    by the middle of its step of the cumulative distribution; HU in between are
    interpolated.

    Args:
        mr_counts, ct_counts: (65536,), how often each int16 from -32768 up occurs in
            the bodies of training subjects (`preparation.statistics.count_values`).

    Raises:
        ValueError: no voxels in one of them.
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


def _mid_ranks(counts: np.ndarray) -> np.ndarray:
    """Return the share of voxels below each value, plus half of those that have it."""
    return (np.cumsum(counts) - counts / 2) / counts.sum()

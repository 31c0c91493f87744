"""Comparison of the standard deviation over views and networks with the errors."""

import numpy as np
import scipy.special

from synthct_jax.metrics.paired import check_volumes

COVERED = 0.9
Z_90 = float(scipy.special.ndtri(0.5 + COVERED / 2))
"""Standard deviations on either side of the mean that hold 90 % of normal values."""


def compare(
    spread: np.ndarray,
    synthetic: np.ndarray,
    reference_ct: np.ndarray,
    mask: np.ndarray,
) -> dict[str, float]:
    """Compare standard deviations with absolute errors over the voxels of a mask.

    Args:
        spread: standard deviation of each voxel of `synthetic`; volumes in HU of shape
            (slices, rows, columns), as is the mask.

    Returns:
        'coverage', the share in % of voxels whose error is within Z_90 standard
        deviations; 'factor', by which that interval has to be widened to cover 90 %,
        infinite if more than 10 % of the voxels have an error but no spread;
        'correlation', Spearman's, NaN if all spreads are equal.

    Raises:
        ValueError: the shapes differ, or the mask is empty.
    """
    check_volumes(synthetic, reference_ct, mask)
    errors = np.abs(np.subtract(synthetic, reference_ct, dtype=np.float64))[mask]
    half_widths = Z_90 * spread[mask].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        # An exact voxel is covered, also without spread.
        ratios = np.where(errors == 0, 0, errors / half_widths)
    # `higher` does not interpolate, which infinite ratios would make NaN.
    factor = np.quantile(ratios, COVERED, method="higher")
    is_constant = np.ptp(half_widths) == 0 or np.ptp(errors) == 0
    correlation = np.nan if is_constant else _spearman(half_widths, errors)
    return {
        "coverage": float(100 * np.mean(errors <= half_widths)),
        "factor": float(factor),
        "correlation": float(correlation),
    }


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    return np.corrcoef(_ranks(x), _ranks(y))[0, 1]


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value; equal ones share the mean of theirs."""
    # scipy.stats, which has it as well, takes half a second to import.
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[index]

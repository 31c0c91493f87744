"""Signs of a failed translation from MR to CT, which need no reference CT.

Volumes are (slices, rows, columns), HU float and masks bool of that shape. A share of
an empty mask is NaN.
"""

import numpy as np

from synthct_jax.metrics.tissues import AERATED_BELOW_HU, BANDS, BONE_FROM_HU


def fat_soft_swap(hu: np.ndarray, fat: np.ndarray, soft: np.ndarray) -> float:
    """Return the share of fat with HU of soft tissue, or the reverse if it is larger.

    `fat` and `soft` are the pixels that the MR shows as fat and as soft tissue.
    """
    return _larger(
        _share(hu[fat], *BANDS["soft_tissue"]), _share(hu[soft], *BANDS["fat"])
    )


def bone_air_swap(hu: np.ndarray, gas: np.ndarray, bright: np.ndarray) -> float:
    """Return the share of gas with HU of bone, or of bright pixels with HU of gas.

    The larger of both is returned. Pixels that are bright on MR hold no gas, but may
    hold marrow. `gas` are those that the MR shows as gas or lung.
    """
    return _larger(
        _share(hu[gas], *BANDS["bone"]), _share(hu[bright], -np.inf, AERATED_BELOW_HU)
    )


def bone_share(hu: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of the mask that has HU of bone."""
    return _share(hu[mask], BONE_FROM_HU, np.inf)


def displacement(mr: np.ndarray, hu: np.ndarray) -> float:
    """Return by how many pixels, along rows or columns, CT is shifted against its MR.

    It is the larger component of the shift at which the magnitudes of their gradients
    correlate best, over all slices. `mr` is one channel.
    """
    of_mr, of_hu = (
        np.fft.rfft2(np.hypot(*np.gradient(x, axis=(1, 2)))) for x in (mr, hu)
    )
    correlation = np.fft.irfft2((of_hu * of_mr.conj()).sum(axis=0), s=mr.shape[1:])
    peak = np.unravel_index(correlation.argmax(), correlation.shape)
    return float(
        max(min(i, n - i) for i, n in zip(peak, correlation.shape, strict=True))
    )


def variation(hu: np.ndarray) -> float:
    """Return the standard deviation over slices, in HU, mean over pixels."""
    return float(hu.std(axis=0).mean())


def _share(hu: np.ndarray, low: float, high: float) -> float:
    return float(((hu >= low) & (hu < high)).mean()) if hu.size else float("nan")


def _larger(*shares: float) -> float:
    return float(np.fmax(*shares))  # ignores a NaN

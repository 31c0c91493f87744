"""Errors of a synthetic CT where the true CT is known, in HU.

Definitions follow the SynthRAD challenges (Huijben et al., Medical Image Analysis 2024;
97:103276): errors over the voxels of a mask, one value a volume; PSNR and SSIM with
the range of HU below, to which both images are clipped. One thing differs: SSIM looks
at slices, with a window of 7 x 7 pixels instead of 7 x 7 x 7 voxels, because slices are
thick and volumes may have fewer than seven.
"""

import numpy as np
import scipy.ndimage

RANGE_HU = (-1024.0, 3000.0)
SSIM_WINDOW = 7


def mean_error(synthetic: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Mean of synthetic - truth in HU: above 0, the synthetic CT is too dense.

    Args:
        synthetic, truth: HU of one shape.
        mask: bool of that shape; what counts.

    Raises:
        ValueError: shapes differ, or the mask is empty.
    """
    return float(_errors(synthetic, truth, mask).mean())


def mean_absolute_error(
    synthetic: np.ndarray, truth: np.ndarray, mask: np.ndarray
) -> float:
    """MAE in HU; arguments and errors as of `mean_error`."""
    return float(np.abs(_errors(synthetic, truth, mask)).mean())


def root_mean_squared_error(
    synthetic: np.ndarray, truth: np.ndarray, mask: np.ndarray
) -> float:
    """RMSE in HU; arguments and errors as of `mean_error`."""
    return float(np.sqrt(np.square(_errors(synthetic, truth, mask)).mean()))


def peak_signal_to_noise(
    synthetic: np.ndarray, truth: np.ndarray, mask: np.ndarray
) -> float:
    """PSNR in dB of images clipped to RANGE_HU, with its width (4024 HU) as the peak.

    Infinite for equal images. Arguments and errors as of `mean_error`.
    """
    low, high = RANGE_HU
    errors = _errors(np.clip(synthetic, low, high), np.clip(truth, low, high), mask)
    mse = np.square(errors).mean()
    return float(10 * np.log10((high - low) ** 2 / mse)) if mse else float("inf")


def structural_similarity(
    synthetic: np.ndarray, truth: np.ndarray, mask: np.ndarray
) -> float:
    """SSIM (Wang et al., IEEE Trans Image Process 2004; 13:600), mean over the mask.

    K1 = 0.01, K2 = 0.03, a uniform window of SSIM_WINDOW x SSIM_WINDOW, unbiased
    covariances, and the width of RANGE_HU as the dynamic range: what scikit-image
    computes by default. Outside the mask both images are air. Pixels nearer to the
    border than half a window do not count.

    Args:
        synthetic, truth: HU, (slices, rows, columns).
        mask: bool of that shape.

    Raises:
        ValueError: shapes differ, slices smaller than the window, or a mask that is
            empty or at the border only.
    """
    _check(synthetic, truth, mask)
    if truth.ndim != 3 or min(truth.shape[1:]) < SSIM_WINDOW:
        raise ValueError(
            f"images are {truth.shape}, expected (slices, rows, columns) with "
            f"{SSIM_WINDOW} rows and columns or more"
        )
    pad = SSIM_WINDOW // 2
    inside = (slice(pad, -pad), slice(pad, -pad))
    total, count = 0.0, 0
    for x, y, where in zip(synthetic, truth, mask, strict=True):
        if (chosen := where[inside]).any():
            similarity = _similarity_map(_in_range(x, where), _in_range(y, where))
            total += float(similarity[inside][chosen].sum())
            count += int(chosen.sum())
    if not count:
        raise ValueError("the mask has voxels at the border of slices only")
    return total / count


def by_label(
    synthetic: np.ndarray, truth: np.ndarray, labels: np.ndarray, *, count: int
) -> list[dict[str, float] | None]:
    """MAE and ME of each label's voxels.

    Args:
        synthetic, truth: HU of one shape.
        labels: integers of that shape, from 0.
        count: labels are below.

    Returns:
        For each label 0, 1, ...: {'mae', 'me', 'voxels'}, None where it does not occur.

    Raises:
        ValueError: shapes differ, or a label is not below `count`.
    """
    if not synthetic.shape == truth.shape == labels.shape:
        raise ValueError(
            f"shapes differ: synthetic {synthetic.shape}, truth {truth.shape}, labels "
            f"{labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= count:
        raise ValueError(
            f"labels go from {labels.min()} to {labels.max()}, expected 0 to "
            f"{count - 1}"
        )
    errors = (synthetic.astype(np.float64) - truth).ravel()
    where = labels.ravel()
    voxels = np.bincount(where, minlength=count)
    signed = np.bincount(where, errors, minlength=count)
    absolute = np.bincount(where, np.abs(errors), minlength=count)
    return [
        {"mae": float(a / n), "me": float(s / n), "voxels": int(n)} if n else None
        for n, s, a in zip(voxels, signed, absolute, strict=True)
    ]


def _check(synthetic: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> None:
    if not synthetic.shape == truth.shape == mask.shape:
        raise ValueError(
            f"shapes differ: synthetic {synthetic.shape}, truth {truth.shape}, mask "
            f"{mask.shape}"
        )
    if not mask.any():
        raise ValueError("the mask is empty: there is nothing to compare")


def _errors(synthetic: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    _check(synthetic, truth, mask)
    return synthetic[mask].astype(np.float64) - truth[mask]


def _in_range(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Clipped and shifted to 0 ... 4024; 0, the least HU, outside the mask."""
    low, high = RANGE_HU
    return np.where(mask, np.clip(image.astype(np.float64), low, high) - low, 0.0)


def _similarity_map(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    def mean(image: np.ndarray) -> np.ndarray:
        return scipy.ndimage.uniform_filter(image, SSIM_WINDOW)

    c1, c2 = ((k * (RANGE_HU[1] - RANGE_HU[0])) ** 2 for k in (0.01, 0.03))
    unbiased = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)
    mean_x, mean_y = mean(x), mean(y)
    variances = unbiased * (mean(x * x) + mean(y * y) - mean_x**2 - mean_y**2)
    covariance = unbiased * (mean(x * y) - mean_x * mean_y)
    return ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variances + c2)
    )

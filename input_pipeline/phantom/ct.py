"""The CT scanner: tissue to Hounsfield units, texture, partial volume, noise."""

import numpy as np
import scipy.ndimage

from input_pipeline.phantom import shapes, tissues

CONTRASTS = ("non_contrast", "portal_venous")


def liver_hu(fat_fraction: float) -> float:
    """Unenhanced CT number of a liver with this fat fraction (0 to 1).

    Pickhardt PJ et al., Quantification of liver fat content with unenhanced MDCT, AJR
    2018; 211:W151-W157: fat fraction in % = 38.2 - 0.58 HU, solved for HU.
    """
    return (38.2 - 100 * fat_fraction) / 0.58


def marrow_hu(fat_fraction: float) -> float:
    """CT number of spongy bone: the more fat, the fewer trabeculae. Chosen."""
    return 245 - 240 * fat_fraction


def tissue_hu(
    rng: np.random.Generator, fat_fractions: dict[str, float], contrast: str
) -> np.ndarray:
    """CT number of each label; subjects enhance more or less than each other."""
    plain = tissues.by_label("hu")
    enhancement = tissues.by_label("hu_enhanced") - plain
    plain[tissues.LABELS["liver"]] = liver_hu(fat_fractions["liver"])
    plain[tissues.LABELS["marrow"]] = marrow_hu(fat_fractions["marrow"])
    strength = rng.uniform(0.85, 1.15)  # drawn for either: the noise stays the same
    if contrast == "portal_venous":
        plain += strength * enhancement
    return plain.astype(np.float32)


def acquire(
    rng: np.random.Generator,
    labels: np.ndarray,
    *,
    factors: tuple[int, int, int],
    texture: np.ndarray,
    fat_fractions: dict[str, float],
    contrast: str,
) -> np.ndarray:
    """One CT of the fine labels.

    Args:
        labels: (z, y, x) fine labels.
        factors: sub-voxels of a voxel along each axis.
        texture: (slices, rows, columns) texture of unit deviation.
        fat_fractions: the subject's own, of 'liver' and 'marrow'.
        contrast: one of CONTRASTS.

    Returns:
        (slices, rows, columns) float32 HU.
    """
    hu = shapes.coarsen(tissue_hu(rng, fat_fractions, contrast)[labels], factors)
    grain = tissues.by_label("hu_texture").astype(np.float32)
    hu += shapes.coarsen(grain[labels], factors) * texture
    # Air is what scanners are calibrated to; the error of the scale grows from there.
    hu = (hu + 1000) * np.float32(rng.normal(1, 0.002)) - 1000
    hu += np.float32(rng.uniform(7, 13)) * reconstruction_noise(rng, hu.shape)
    return np.clip(hu, -1024, 3071)


def reconstruction_noise(
    rng: np.random.Generator, shape: tuple[int, int, int]
) -> np.ndarray:
    """Noise as filtered back-projection leaves it: a band of frequencies, deviation 1.

    The ramp filter takes the low frequencies, the reconstruction kernel the high ones
    (Riederer SJ et al., The noise power spectrum in computed X-ray tomography. Phys
    Med Biol 1978; 23:446-454); a difference of two Gaussians stands for both.
    """
    white = rng.standard_normal(shape, dtype=np.float32)
    fine = scipy.ndimage.gaussian_filter(white, (0.35, 0.7, 0.7), mode="wrap")
    coarse = scipy.ndimage.gaussian_filter(white, (0.35, 2.0, 2.0), mode="wrap")
    noise = fine - 0.8 * coarse
    return noise / max(float(noise.std()), 1e-6)

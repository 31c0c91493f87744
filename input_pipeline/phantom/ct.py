"""CT scanner: Hounsfield units of tissues, texture, partial volume and noise."""

import numpy as np
import scipy.ndimage

from input_pipeline.phantom import shapes, tissues

# What the table calls the HU of each contrast phase.
_COLUMNS = {
    "non_contrast": "hu",
    "arterial": "hu_arterial",
    "portal_venous": "hu_portal_venous",
    "delayed": "hu_delayed",
}
CONTRASTS = tuple(_COLUMNS)
# Deviations of HU between patients: chosen.
_SPREAD_HU = 5.0
_WIDE_HU = {"cortical_bone": 120.0, "marrow": 25.0, "lung": 45.0, "bowel_content": 15.0}


def liver_hu(fat_fraction: float) -> float:
    """Return the unenhanced HU of a liver with a fat fraction of 0 to 1.

    Source: Pickhardt PJ et al., Quantification of liver fat content with unenhanced
    MDCT, AJR 2018; 211:W151-W157: fat fraction in % = 38.2 - 0.58 HU, solved for HU.
    """
    return (38.2 - 100 * fat_fraction) / 0.58


def marrow_hu(fat_fraction: float) -> float:
    """Return the HU of cancellous bone whose marrow has a fat fraction of 0 to 1.

    They fall from 245 to 5, since more fat means fewer trabeculae. This relation was
    chosen for the phantom, not measured.
    """
    return 245 - 240 * fat_fraction


def tissue_hu(
    rng: np.random.Generator, fat_fractions: dict[str, float], contrast: str
) -> np.ndarray:
    """Return the HU of each label; the strength of enhancement is random."""
    plain = tissues.by_label("hu")
    enhancement = tissues.by_label(_COLUMNS[contrast]) - plain
    plain[tissues.LABELS["liver"]] = liver_hu(fat_fractions["liver"])
    plain[tissues.LABELS["marrow"]] = marrow_hu(fat_fractions["marrow"])
    # Drawn for either contrast, so that the noise after it is the same.
    strength = rng.uniform(0.85, 1.15)
    plain += strength * enhancement
    return plain.astype(np.float32)


def draw_hu(
    rng: np.random.Generator, fat_fractions: dict[str, float], contrast: str
) -> np.ndarray:
    """Return the HU of each label of one patient, about those of `tissue_hu`."""
    spread = np.full(len(tissues.TISSUES), _SPREAD_HU)
    for name, deviation in _WIDE_HU.items():
        spread[tissues.LABELS[name]] = deviation
    spread[[tissues.LABELS[name] for name in ("outside", "gas")]] = 0
    hu = tissue_hu(rng, fat_fractions, contrast)
    return hu + (spread * rng.standard_normal(len(hu))).astype(np.float32)


def acquire(
    rng: np.random.Generator,
    labels: np.ndarray,
    *,
    factors: tuple[int, int, int],
    texture: np.ndarray,
    fat_fractions: dict[str, float],
    contrast: str,
) -> np.ndarray:
    """Return one CT of an anatomy in HU, (slices, rows, columns) float32.

    Args:
        labels: labels of sub-voxels, (z, y, x).
        factors: sub-voxels per voxel along each axis.
        texture: of standard deviation 1, (slices, rows, columns).
        fat_fractions: the subject's, of 'liver' and 'marrow'.
        contrast: one of CONTRASTS.
    """
    hu = shapes.coarsen(tissue_hu(rng, fat_fractions, contrast)[labels], factors)
    grain = tissues.by_label("hu_texture").astype(np.float32)
    hu += shapes.coarsen(grain[labels], factors) * texture
    # Scanners are calibrated to air, so the error of the scale grows from there.
    hu = (hu + 1000) * np.float32(rng.normal(1, 0.002)) - 1000
    hu += np.float32(rng.uniform(7, 13)) * reconstruction_noise(rng, hu.shape)
    return np.clip(hu, -1024, 3071)


def add_scanner(
    rng: np.random.Generator, hu: np.ndarray, *, spacing_mm: float
) -> np.ndarray:
    """Return CT as a random scanner shows it: its sharpness, and its noise.

    `hu` is (slices, rows, columns) without noise; rows and columns are spaced alike.
    """
    width = rng.uniform(0, 0.8) / spacing_mm  # of the kernel, in mm: chosen
    hu = scipy.ndimage.gaussian_filter(hu, (0, width, width), mode="nearest")
    hu = hu + np.float32(rng.uniform(4, 16)) * reconstruction_noise(rng, hu.shape)
    return np.clip(hu, -1024, 3071)


def reconstruction_noise(
    rng: np.random.Generator, shape: tuple[int, int, int]
) -> np.ndarray:
    """Draw noise like that of filtered back-projection, of standard deviation 1.

    The ramp filter removes the low frequencies, the reconstruction kernel the high ones
    (Riederer SJ et al., The noise power spectrum in computed X-ray tomography. Phys
    Med Biol 1978; 23:446-454). A difference of two Gaussians approximates both.
    """
    white = rng.standard_normal(shape, dtype=np.float32)
    fine = scipy.ndimage.gaussian_filter(white, (0.35, 0.7, 0.7), mode="wrap")
    coarse = scipy.ndimage.gaussian_filter(white, (0.35, 2.0, 2.0), mode="wrap")
    noise = fine - 0.8 * coarse
    return noise / max(float(noise.std()), 1e-6)

"""Errors where the tissues are known: swaps, lesions, displacements of organs.

Tissues go by their names in `input_pipeline.phantom.tissues`. A voxel is pure if its
eight neighbours in the slice are of the same tissue or group: it has no partial volume.
"""

import math
from collections.abc import Sequence

import numpy as np
import scipy.ndimage

FAT = ("subcutaneous_fat", "visceral_fat")
SOFT_TISSUE = (
    "muscle", "liver", "spleen", "kidney_cortex", "kidney_medulla", "pancreas",
    "artery", "vein", "heart", "pelvic_organ",
)  # fmt: skip
LESIONS = ("fluid", "dense_fluid", "pale_tumour", "vascular_tumour")
ORGANS = {
    "liver": ("liver",),
    "kidneys": ("kidney_cortex", "kidney_medulla"),
    "spleen": ("spleen",),
}
WITH_LESIONS = ("liver", "kidneys")

# Chosen: halfway between fat and unenhanced fatty soft tissue; a contrast that stands
# out of noise; and less than the contrast of most lesions of enhanced organs.
SWAP_HU = -20.0
LEAST_CONTRAST_HU = 20.0
LEAST_CORE = 4  # voxels of a lesion
INVENTED_HU = 30.0
REACH = 3  # voxels, of displacements

_BESIDE = np.ones((1, 3, 3), bool)

Core = tuple[tuple[slice, ...], np.ndarray]
"""A box of a volume, and the voxels in it that count, bool."""


def pure(mask: np.ndarray) -> np.ndarray:
    """Return the voxels of a mask all of whose neighbours in the slice are in it."""
    return scipy.ndimage.binary_erosion(mask, _BESIDE)


def pure_labels(labels: np.ndarray) -> np.ndarray:
    """Return the labels of pure voxels, and 0 for all others."""
    size = _BESIDE.shape
    least, most = (
        extreme(labels, size, mode="constant")
        for extreme in (scipy.ndimage.minimum_filter, scipy.ndimage.maximum_filter)
    )
    return np.where(least == most, labels, 0)


def percent(shares: np.ndarray) -> float:
    """Return the mean of shares, or the share of True, in %; NaN without any."""
    return 100 * float(shares.mean()) if shares.size else math.nan


def lesion_cores(lesions: np.ndarray, organ: np.ndarray) -> list[Core]:
    """Return the pure voxels of each lesion of an organ.

    A lesion is a connected part of the mask `lesions`, most of whose neighbours in the
    slices belong to the mask `organ`. One with less than LEAST_CORE pure voxels is left
    out.
    """
    objects, _ = scipy.ndimage.label(lesions)
    inner, cores = pure(lesions), []
    for number, box in enumerate(scipy.ndimage.find_objects(objects), start=1):
        box = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        lesion = objects[box] == number
        rim = scipy.ndimage.binary_dilation(lesion, _BESIDE) & ~lesion
        core = lesion & inner[box]
        if core.sum() >= LEAST_CORE and organ[box][rim].mean() > 0.5:
            cores.append((box, core))
    return cores


def contrasts_kept(
    synthetic: np.ndarray,
    reference_ct: np.ndarray,
    cores: Sequence[Core],
    organ: np.ndarray,
) -> list[float]:
    """Return the contrast of lesions in the synthetic CT over that in the reference.

    A contrast is the mean HU of a lesion's core minus that of the organ's pure voxels.
    Lesions with less than LEAST_CONTRAST_HU in the reference CT are left out.
    """
    inner, ratios = pure(organ), []
    for box, core in cores:
        kept, known = (
            image[box][core].mean(dtype=np.float64)
            - image[inner].mean(dtype=np.float64)
            for image in (synthetic, reference_ct)
        )
        if abs(known) >= LEAST_CONTRAST_HU:
            ratios.append(float(kept / known))
    return ratios


def deviations(
    synthetic: np.ndarray, reference_ct: np.ndarray, organ: np.ndarray
) -> np.ndarray:
    """Return how far errors within an organ are from their median, in HU.

    Errors are means over 3 x 3 voxels of the slice, so that noise counts for little, of
    voxels two or more from the organ's edge, which blur does not reach.
    """
    error = synthetic.astype(np.float32) - reference_ct
    error = scipy.ndimage.uniform_filter(error, _BESIDE.shape)[pure(pure(organ))]
    return np.abs(error - np.median(error)) if error.size else error


def displacement_mm(
    synthetic: np.ndarray,
    reference_ct: np.ndarray,
    organ: np.ndarray,
    spacing_mm: tuple[float, float, float],
) -> float:
    """Return by how many mm an organ is displaced in its slices.

    It is the displacement of the synthetic CT, up to REACH voxels along rows and along
    columns, at which it correlates best with the reference CT, over the organ and what
    is within REACH voxels of it. Parabolas through the correlations give fractions of
    a voxel.

    Returns:
        NaN without the organ, or where either CT has one value there.
    """
    width = 2 * REACH + 1
    near = scipy.ndimage.binary_dilation(organ, np.ones((1, width, width), bool))
    voxels, columns = np.flatnonzero(near), organ.shape[-1]
    if not voxels.size:
        return math.nan
    fixed = _standardise(reference_ct.ravel()[voxels])
    moving, correlations = synthetic.ravel(), np.empty((width, width))
    for row, column in np.ndindex(width, width):
        step = (row - REACH) * columns + column - REACH
        values = moving.take(voxels + step, mode="clip")
        correlations[row, column] = _standardise(values) @ fixed
    if not np.isfinite(correlations).all():
        return math.nan
    row, column = np.unravel_index(correlations.argmax(), correlations.shape)
    return math.hypot(
        (_peak(correlations[:, column], row) - REACH) * spacing_mm[1],
        (_peak(correlations[row], column) - REACH) * spacing_mm[2],
    )


def _standardise(values: np.ndarray) -> np.ndarray:
    """Return values of mean 0 and length 1; NaN if all are equal."""
    centred = values - values.mean(dtype=np.float64)
    length = np.linalg.norm(centred)
    return centred / (length if length > 1e-6 else math.nan)


def _peak(values: np.ndarray, place: int) -> float:
    """Return where the parabola through a maximum and its neighbours is highest."""
    if not 0 < place < len(values) - 1:
        return float(place)
    before, highest, after = values[place - 1 : place + 2]
    curvature = before - 2 * highest + after
    return place + (float((before - after) / (2 * curvature)) if curvature else 0.0)

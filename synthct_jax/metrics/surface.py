"""Agreement of two masks: their overlap, and the distance of their surfaces."""

import numpy as np
import scipy.ndimage
import scipy.spatial


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Dice coefficient, 2 |a and b| / (|a| + |b|).

    It is 1 for equal and 0 for disjoint masks (Dice, Ecology 1945; 26:297), nan if both
    are empty.

    Raises:
        ValueError: the shapes differ.
    """
    _check(a, b)
    voxels = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / voxels if voxels else float("nan")


def hausdorff_95(
    a: np.ndarray, b: np.ndarray, spacing_mm: tuple[float, float, float]
) -> float:
    """Return the 95 % Hausdorff distance of the surfaces of two masks, in mm.

    It is the 95th percentile of the distances from the surface of a to that of b, or
    from b to a, whichever is greater, as in MONAI and SynthRAD2025 (Huttenlocher et
    al., IEEE Trans Pattern Anal 1993; 15:850, with the percentile in place of the
    maximum). The surface of a mask is its voxels with at least one of six neighbours
    outside. Unlike in MONAI, the faces of the volume are no surface: scans end there,
    not bodies, and those ends would agree however badly the outlines do.

    The spacing is that of slices, rows and columns. The distance is infinite if only
    one mask has a surface, nan if neither has.

    Raises:
        ValueError: the shapes differ.
    """
    _check(a, b)
    surfaces = [_surface(a), _surface(b)]
    exist = [surface.any() for surface in surfaces]
    if not all(exist):
        return float("inf") if any(exist) else float("nan")
    return max(
        _percentile_distance(*surfaces, spacing_mm),
        _percentile_distance(*surfaces[::-1], spacing_mm),
    )


def centre_distance(
    a: np.ndarray, b: np.ndarray, spacing_mm: tuple[float, float, float]
) -> float:
    """Return the distance of the centres of two masks in mm, NaN if one is empty.

    The spacing is that of slices, rows and columns.

    Raises:
        ValueError: the shapes differ.
    """
    _check(a, b)
    if not a.any() or not b.any():
        return float("nan")
    centres = [np.argwhere(mask).mean(axis=0) * spacing_mm for mask in (a, b)]
    return float(np.linalg.norm(np.subtract(*centres)))


def _surface(mask: np.ndarray) -> np.ndarray:
    return mask & ~scipy.ndimage.binary_erosion(mask, border_value=1)


def _percentile_distance(
    surface: np.ndarray, other: np.ndarray, spacing_mm: tuple[float, float, float]
) -> float:
    """Return the 95th percentile of distances from `surface` to the nearest `other`."""
    distances = np.zeros(int(surface.sum()))
    # Voxels on both surfaces, often most of them, have the distance 0.
    apart = np.argwhere(surface & ~other) * spacing_mm
    tree = scipy.spatial.KDTree(
        np.argwhere(other) * spacing_mm, compact_nodes=False, balanced_tree=False
    )
    distances[: len(apart)] = tree.query(apart)[0]
    return float(np.percentile(distances, 95))


def _check(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape:
        raise ValueError(f"shapes of the masks differ: {a.shape} and {b.shape}")

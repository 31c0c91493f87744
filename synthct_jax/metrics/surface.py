"""How far two masks agree: their overlap, and the distance of their surfaces."""

import numpy as np
import scipy.ndimage
import scipy.spatial

from synthct_jax.metrics.tissues import BONE_FROM_HU


def bone(hu: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Return the voxels of the body that are bone by threshold, `BONE_FROM_HU`.

    Args:
        hu: HU, of any shape.
        body: bool of that shape.

    Returns:
        Bool of that shape.
    """
    return body & (hu >= BONE_FROM_HU)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice coefficient, 2 |a and b| / (|a| + |b|): 1 for equal masks, 0 for disjoint.

    Dice, Ecology 1945; 26:297.

    Args:
        a, b: bool of one shape.

    Returns:
        The coefficient; nan if both are empty.

    Raises:
        ValueError: shapes differ.
    """
    _check(a, b)
    voxels = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / voxels if voxels else float("nan")


def hausdorff_95(
    a: np.ndarray, b: np.ndarray, spacing_mm: tuple[float, float, float]
) -> float:
    """How far apart the surfaces of two masks are, but for the worst 5 %, in mm.

    The 95th percentile of the distances from the surface of a to that of b, or from b
    to a, whichever is greater: as MONAI and SynthRAD2025 compute it (Huttenlocher et
    al., IEEE Trans Pattern Anal 1993; 15:850, with the percentile in place of the
    maximum). Surface are the voxels of a mask that have one of six neighbours outside
    of it. The faces of the volume are no surface, other than with MONAI: scans end
    there, not bodies, and those ends would agree however badly the outlines do.

    Args:
        a, b: bool, (slices, rows, columns).
        spacing_mm: of voxels: between slices, rows, columns.

    Returns:
        The distance; infinite if only one of them has a surface, nan if neither has.

    Raises:
        ValueError: shapes differ.
    """
    _check(a, b)
    surfaces = [_surface(a), _surface(b)]
    found = [surface.any() for surface in surfaces]
    if not all(found):
        return float("inf") if any(found) else float("nan")
    return max(
        _percentile_distance(*surfaces, spacing_mm),
        _percentile_distance(*surfaces[::-1], spacing_mm),
    )


def _surface(mask: np.ndarray) -> np.ndarray:
    return mask & ~scipy.ndimage.binary_erosion(mask, border_value=1)


def _percentile_distance(
    surface: np.ndarray, other: np.ndarray, spacing_mm: tuple[float, float, float]
) -> float:
    """Of distances of all voxels of `surface` to the nearest of `other`."""
    distances = np.zeros(int(surface.sum()))
    # Those on both surfaces, often most of them, have the distance 0.
    apart = np.argwhere(surface & ~other) * spacing_mm
    tree = scipy.spatial.KDTree(
        np.argwhere(other) * spacing_mm, compact_nodes=False, balanced_tree=False
    )
    distances[: len(apart)] = tree.query(apart)[0]
    return float(np.percentile(distances, 95))


def _check(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape:
        raise ValueError(f"shapes of the masks differ: {a.shape} and {b.shape}")

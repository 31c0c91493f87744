"""Alignment of a T2 image with the phases, by their positions in the patient.

Another sequence has slices and pixels of its own, and another breath-hold. It is
resampled by the affines, not registered. The readers check the patient that headers
name. Affines may be wrong, and NIfTI files name no patient, so `check_one_body`
compares the outlines of the body. Another patient of the same build may pass.
"""

import math

import numpy as np
import scipy.ndimage

from input_pipeline.body import body_mask
from input_pipeline.volume import Origin, UnusableScan, Volume, to_axial

SAME_GRID_MM = 0.1  # how far apart grids of different scans may be, to be one
_LEAST_REACH = 0.5  # of the slices
# Dice of the outlines. A CHAOS subject has 0.98 with its own T2, 0.79 with that 40 mm
# off in both directions, 0.84 to 0.93 with the T2 of three others in its best place.
_LEAST_OVERLAP = 0.85
_OTHER_AXES = ((1, 2), (0, 2), (0, 1))


def grids_apart_mm(grid: Origin, other: Origin) -> float:
    """Return the largest distance along an axis of the corners of two grids, in mm.

    It is inf if their shapes differ. Differences of the axes, which may cancel at the
    corners, count as well.
    """
    if grid.shape != other.shape:
        return math.inf
    difference = grid.affine - other.affine
    far = np.array([*grid.shape[::-1], 1]) - (1, 1, 1, 0)
    corners = np.array([[0, 0, 0, 1], far]).T
    return max(np.abs(difference @ corners).max(), np.abs(difference[:3, :3]).max())


def check_same_grid(
    path: str,
    grid: Origin,
    other_path: str,
    other: Origin,
    *,
    within_mm: float,
    remedy: str = "",
) -> None:
    """Check that two scans have one grid.

    Args:
        within_mm: largest distance of corresponding corners.
        remedy: end of the message.

    Raises:
        UnusableScan: shapes differ, or corners are further apart; names both scans.
    """
    remedy = remedy and f"; {remedy}"
    if grid.shape != other.shape:
        raise UnusableScan(
            f"{path} has (slices, rows, columns) {grid.shape} and {other_path} has "
            f"{other.shape}, expected one grid{remedy}"
        )
    apart_mm = grids_apart_mm(grid, other)
    if apart_mm > within_mm:
        raise UnusableScan(
            f"{path} and {other_path} lie up to {apart_mm:.4g} mm apart, expected one "
            f"grid to {within_mm:g} mm{remedy}"
        )


def onto_grid(
    values: np.ndarray,
    affine: np.ndarray,
    grid: Origin,
    *,
    source: str,
    grid_source: str,
) -> np.ndarray:
    """Interpolate linearly onto another grid, smoothed first if that is coarser.

    The outermost pixels keep their whole extent; beyond it the result is 0.

    Args:
        values: (slices, rows, columns) float32, at (column, row, slice, 1) of `affine`.
        source, grid_source: names of both, for messages.

    Raises:
        UnusableScan: `values` do not reach the middles of half of the grid's slices.
    """
    # (slice, row, column) of the grid to those of the values.
    flip = np.eye(4)[[2, 1, 0, 3]]
    matrix = flip @ np.linalg.inv(affine) @ grid.affine @ flip
    rotation, offset = matrix[:3, :3], matrix[:3, 3, None, None]
    size = np.array(values.shape)[:, None, None]

    def inside(places: np.ndarray) -> np.ndarray:
        return ((places > -0.5 - 1e-6) & (places < size - 0.5 + 1e-6)).all(axis=0)

    slices, rows, columns = grid.shape
    middles = np.zeros((3, slices, 1))
    middles[0, :, 0] = np.arange(slices)
    middles[1:] = np.array([rows - 1, columns - 1])[:, None, None] / 2
    reached = int(inside(_map(rotation, middles) + offset).sum())
    if reached < _LEAST_REACH * slices:
        raise UnusableScan(
            f"{source}: it reaches the middle of {reached} of {slices} slices of "
            f"{grid_source}, expected half of them or more: it shows another part of "
            "the body, or another patient"
        )

    # A box as wide as the grid's pixel, less the own one in quadrature, has this
    # standard deviation.
    steps = np.linalg.norm(rotation, axis=1)
    widths = np.sqrt(np.maximum(steps**2 - 1, 0) / 12)
    if widths.max() > 0.05:
        values = scipy.ndimage.gaussian_filter(values, widths, mode="nearest")
    plane = np.stack(np.mgrid[:1, :rows, :columns][:, 0]).astype(np.float64)
    result = np.zeros(grid.shape, np.float32)
    for index in range(slices):
        plane[0] = index
        places = _map(rotation, plane) + offset
        result[index] = np.where(
            inside(places),
            scipy.ndimage.map_coordinates(values, places, order=1, mode="nearest"),
            0,
        )
    return result


def _map(rotation: np.ndarray, places: np.ndarray) -> np.ndarray:
    return np.tensordot(rotation, places, axes=1)


def check_one_body(volume: Volume) -> None:
    """Check that T2 and the phases of a volume show the same outline.

    It is compared within the extent of T2. Volumes of one of them alone pass.

    Raises:
        UnusableScan: the outlines overlap too little (Dice, Ecology 1945; 26:297).
    """
    phases = [i for i, name in enumerate(volume.channels) if name != "t2"]
    if "t2" not in volume.channels or not phases:
        return
    axial = to_axial(volume)
    voxels, t2 = axial.voxels, volume.channels.index("t2")
    reached = [np.flatnonzero(voxels[..., t2].any(axis=a)) for a in _OTHER_AXES]
    if not all(len(places) for places in reached):
        raise UnusableScan(f"{volume.source}: the t2 image is 0 everywhere")
    box = tuple(slice(places[0], places[-1] + 1) for places in reached)
    phase_body, t2_body = (
        body_mask(voxels[box][..., which], "MR", axial.spacing_mm)
        for which in (phases, [t2])
    )
    total = phase_body.sum() + t2_body.sum()
    overlap = 2 * (phase_body & t2_body).sum() / total if total else 1.0
    if overlap < _LEAST_OVERLAP:
        raise UnusableScan(
            f"{volume.source}: the outlines of the body in t2 and in "
            f"{volume.channels[phases[0]]} overlap by {overlap:.2f} (Dice), expected "
            f"{_LEAST_OVERLAP} or more: one of them is out of place, or of another "
            "patient"
        )

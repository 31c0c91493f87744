"""Conversion of a volume to the int16 slices that are stored, and their position.

Preparation and translation share it, so that the network gets the same input in both.
"""

import dataclasses
import math

import numpy as np

from input_pipeline import intensity
from input_pipeline.resample import Grid, grid_around, resample_to_grid
from input_pipeline.volume import UnusableScan, Volume


def to_slices(
    volume: Volume,
    grid: Grid,
    *,
    mask: np.ndarray,
    mask_outside: bool,
    mr_percentile: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Mask, resample in plane, scale and round a volume.

    Args:
        volume: in axial order (`to_axial`).
        mask: (slices, rows, columns) bool, the body.
        mask_outside: replace everything outside the body by air.
        mr_percentile: percentile of the body's MR that becomes MR_ONE.

    Returns:
        (slices, grid.rows, grid.columns, channels) int16: HU, or MR as a multiple of
        scale / MR_ONE; and the scale, (channels,) float32, which is 1 for CT.

    Raises:
        UnusableScan: MR without a body, or with a channel that is empty there.
    """
    fill = intensity.background(volume.modality)
    masked = volume
    if mask_outside:
        voxels = np.where(mask[..., None], volume.voxels, np.float32(fill))
        masked = dataclasses.replace(volume, voxels=voxels)
    samples = resample_to_grid(masked, grid, fill=fill)
    if volume.modality == "CT":
        return intensity.hu_to_int16(samples), np.ones(1, np.float32)
    try:
        scale = intensity.mr_scale(
            volume.voxels, mask, channels=volume.channels, percentile=mr_percentile
        )
    except ValueError as error:
        raise UnusableScan(f"{volume.source}: {error}") from error
    return intensity.mr_to_int16(samples, scale), scale


def grid_of_body(
    volume: Volume,
    mask: np.ndarray,
    *,
    size: int,
    spacing_mm: float,
    grow_by: int | None = None,
) -> Grid:
    """Return a square grid around the middle of the body that holds all of it.

    Preparation and translation use the same square: instance norms average over a
    whole slice, so the air around a patient has a part in the HU inside.

    Args:
        volume: in axial order.
        mask: (slices, rows, columns) bool, the body.
        grow_by: enlarge the square by a multiple of this many pixels if the body does
            not fit; None: refuse the scan.

    Raises:
        UnusableScan: there is no body, or it is larger than the square; names the
            size that holds it.
    """
    centre, extent = [], []
    for axis, step_mm in enumerate(volume.spacing_mm[1:], start=1):
        other = (0, 3 - axis)
        places = np.flatnonzero(mask.any(axis=other))
        if not len(places):
            raise UnusableScan(f"{volume.source}: no body was found in the image")
        centre.append((places[0] + places[-1]) / 2 * step_mm)
        extent.append((places[-1] - places[0] + 1) * step_mm)
    missing = max(extent) - size * spacing_mm
    if grow_by and missing > 1e-3:
        size += math.ceil(missing / spacing_mm / grow_by) * grow_by
    elif missing > 1e-3:
        # Networks halve the image twice or more often.
        needed = math.ceil(max(extent) / spacing_mm / 16) * 16
        raise UnusableScan(
            f"{volume.source}: the body is {extent[1]:.0f} mm wide and "
            f"{extent[0]:.0f} mm deep, which does not fit into {size} pixels of "
            f"{spacing_mm:g} mm ({size * spacing_mm:.0f} mm); data.size={needed} "
            "holds it"
        )
    return grid_around(
        volume, spacing_mm, rows=size, columns=size, centre_mm=tuple(centre)
    )


def grid_affine(volume: Volume, grid: Grid, *, first_slice: int = 0) -> np.ndarray:
    """Return the (4, 4) affine of slices on a grid, (column, row, slice, 1) to RAS."""
    _, row_mm, column_mm = volume.spacing_mm
    to_pixels = np.diag([grid.spacing_mm / column_mm, grid.spacing_mm / row_mm, 1, 1])
    start = grid.column_start_mm / column_mm, grid.row_start_mm / row_mm, first_slice
    to_pixels[:3, 3] = start
    return volume.affine @ to_pixels

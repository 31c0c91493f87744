"""Short stacks of axial slices of CT, made alike in all that is no anatomy.

Real and synthetic CT differ in pixel size, slice thickness, table, air, largest HU and
noise. Every stack gets the coarsest pixels and slices of all volumes, nothing outside
the body, HU of one range, and the noise of the noisiest.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.ndimage

from input_pipeline.body import body_mask
from input_pipeline.display import WINDOWS
from input_pipeline.intensity import AIR_HU
from input_pipeline.resample import grid_around, resample_to_grid
from input_pipeline.volume import UnusableScan, Volume
from synthct_jax.metrics.tissues import BANDS

# What no window shows white is cut off: real CT has metal, a synthetic CT has not.
HIGHEST_HU = max(window.high for window in WINDOWS.values())

_MARGIN_MM = 10.0  # of air around the body
# Standard deviation, in pixels, of the blur that all stacks get. It hides how far the
# pixels of a scan lie from those of the stack, which interpolation would show.
_BLUR = 0.5
_SQUARE = (1, 5, 5)  # pixels in which noise is measured
_LEAST_SQUARES = 100  # of flat soft tissue in a slice, to measure its noise


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extent:
    """The part of a volume that shows the body.

    Attributes:
        pixel_mm, slice_mm: the larger spacing within slices, and that of slices.
        slices: indices of the first slice with body, and after the last.
        rows_mm, columns_mm: first and last position of the body.
    """

    pixel_mm: float
    slice_mm: float
    slices: tuple[int, int]
    rows_mm: tuple[float, float]
    columns_mm: tuple[float, float]

    @property
    def thickness_mm(self) -> float:
        return (self.slices[1] - self.slices[0]) * self.slice_mm

    @property
    def centre_mm(self) -> tuple[float, float]:
        return sum(self.rows_mm) / 2, sum(self.columns_mm) / 2

    @property
    def width_mm(self) -> float:
        return max(np.ptp(self.rows_mm), np.ptp(self.columns_mm))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
    """The grid of all stacks: square slices of `size` pixels, `slice_mm` apart."""

    slices: int
    size: int
    pixel_mm: float
    slice_mm: float


class Stack(NamedTuple):
    """HU and the mask of the body, (slices, size, size) each."""

    hu: np.ndarray
    body: np.ndarray


def measure(ct: Volume) -> tuple[Extent, np.ndarray]:
    """Return the extent of the body in a CT, and its mask, (slices, rows, columns).

    Raises:
        UnusableScan: there is no body.
    """
    mask = body_mask(ct.voxels, "CT", ct.spacing_mm)
    if not mask.any():
        raise UnusableScan(f"{ct.source}: no voxel of a body, expected some")
    ends = []
    for axis in range(3):
        filled = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        ends.append((int(filled[0]), int(filled[-1])))
    slice_mm, row_mm, column_mm = ct.spacing_mm
    extent = Extent(
        pixel_mm=max(row_mm, column_mm),
        slice_mm=slice_mm,
        slices=(ends[0][0], ends[0][1] + 1),
        rows_mm=(ends[1][0] * row_mm, ends[1][1] * row_mm),
        columns_mm=(ends[2][0] * column_mm, ends[2][1] * column_mm),
    )
    return extent, mask


def common_frame(extents: Sequence[Extent], slices: int) -> Frame:
    """Return the grid of stacks of so many slices that all volumes can fill."""
    pixel_mm = max(extent.pixel_mm for extent in extents)
    width_mm = max(extent.width_mm for extent in extents) + 2 * _MARGIN_MM
    return Frame(
        slices=slices,
        size=math.ceil(width_mm / pixel_mm),
        pixel_mm=pixel_mm,
        slice_mm=max(extent.slice_mm for extent in extents),
    )


def cut_stack(
    ct: Volume,
    extent: Extent,
    mask: np.ndarray,
    *,
    frame: Frame,
    height: float,
) -> Stack:
    """Cut a stack out of the body, centred on it.

    Each slice is the mean of the volume's slices, weighted by how much of each lies in
    it.

    Args:
        ct: in axial order, with its extent and mask as by `measure`.
        height: of the stack in the body: 0 at the bottom, nearly 1 at the top.

    Raises:
        UnusableScan: the body has fewer slices than the stack.
    """
    needed_mm = frame.slices * frame.slice_mm
    room_mm = extent.thickness_mm - needed_mm
    if room_mm < -1e-3:
        raise UnusableScan(
            f"{ct.source}: {extent.thickness_mm:g} mm of body, expected "
            f"{needed_mm:g} mm or more for {frame.slices} slices of "
            f"{frame.slice_mm:g} mm: take a smaller number by --slices, or leave it out"
        )
    spare = math.floor(max(room_mm, 0) / extent.slice_mm + 1e-6)
    bottom = extent.slices[0] + math.floor(height * (spare + 1))
    step = frame.slice_mm / extent.slice_mm
    edges = step * np.arange(frame.slices + 1)  # from the bottom, in slices
    cut = slice(bottom, bottom + math.ceil(edges[-1] - 1e-6))
    hu = np.where(mask[cut], ct.voxels[cut, ..., 0], np.float32(AIR_HU))
    place = np.arange(len(hu))
    inside = np.minimum(edges[1:, None], place + 1) - np.maximum(
        edges[:-1, None], place
    )
    weights = np.clip(inside, 0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    slabs = np.tensordot(
        weights.astype(np.float32), np.stack([hu, mask[cut]], axis=-1), axes=1
    )
    slab_volume = dataclasses.replace(ct, voxels=slabs, channels=("hu", "body"))
    grid = grid_around(
        slab_volume,
        frame.pixel_mm,
        rows=frame.size,
        columns=frame.size,
        centre_mm=extent.centre_mm,
    )
    hu, body = np.moveaxis(resample_to_grid(slab_volume, grid, fill=0.0), -1, 0)
    body = body > 0.5
    return Stack(_blur(np.where(body, hu, AIR_HU)), body)


def noise(hu: np.ndarray, tissue: np.ndarray | None = None) -> np.ndarray:
    """Return the noise of flat soft tissue in each slice.

    It is the first decile of standard deviations in small squares: edges and vessels
    raise most of the others.

    Args:
        hu: (slices, rows, columns).
        tissue: bool of that shape, where to measure; None for soft tissue by its HU.

    Returns:
        HU of each slice; NaN where squares of soft tissue are too few.
    """
    mean = scipy.ndimage.uniform_filter(hu, _SQUARE)
    if tissue is None:
        low, high = BANDS["soft_tissue"]
        tissue = (mean > low) & (mean < high)
    flat = scipy.ndimage.binary_erosion(tissue, np.ones(_SQUARE))
    variance = scipy.ndimage.uniform_filter((hu - mean) ** 2, _SQUARE)
    deciles = [
        np.percentile(of_slice[where], 10) if where.sum() >= _LEAST_SQUARES else np.nan
        for of_slice, where in zip(variance, flat, strict=True)
    ]
    # The filter adds and takes away: without noise its result may be below 0.
    return np.sqrt(np.maximum(deciles, 0.0))


def match_noise(stacks: Sequence[Stack], rng: np.random.Generator) -> list[np.ndarray]:
    """Add noise to the body until all slices have the noise of the noisiest.

    It is as smooth as the blur of all stacks. A slice with too little soft tissue to
    measure gets as much as the median slice of its stack, or of all.

    Returns:
        int16 HU, from AIR_HU, outside the body, to HIGHEST_HU.
    """
    levels = np.stack([_fill(noise(stack.hu), np.nan) for stack in stacks])
    levels = _fill(levels, 0.0)
    missing = np.sqrt(levels.max() ** 2 - levels**2)
    matched = []
    for stack, amount in zip(stacks, missing, strict=True):
        grain = _blur(rng.normal(size=stack.hu.shape))
        scale = amount / noise(grain, np.ones(grain.shape, bool))
        hu = stack.hu + scale[:, None, None] * grain
        hu = np.where(stack.body, np.clip(hu, AIR_HU, HIGHEST_HU), AIR_HU)
        matched.append(np.round(hu).astype(np.int16))
    return matched


def _fill(levels: np.ndarray, otherwise: float) -> np.ndarray:
    """Replace NaN by the median of the other levels, or by a value without any."""
    known = levels[~np.isnan(levels)]
    median = np.median(known) if known.size else otherwise
    return np.where(np.isnan(levels), median, levels)


def _blur(hu: np.ndarray) -> np.ndarray:
    return scipy.ndimage.gaussian_filter(hu, (0, _BLUR, _BLUR))

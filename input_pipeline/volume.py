"""A scan in memory: voxels, where they lie in the patient, and what comes with them.

Arrays are `voxels[slice, row, column, channel]`. The affine maps (column, row, slice,
1) to millimetres of voxel centres in RAS (x to the patient's right, y to anterior, z to
superior), as in NIfTI. Everything after the readers works on the canonical axial order
of `to_axial`: slices from inferior to superior, rows from anterior to posterior,
columns from the patient's right to the left, which is how a radiologist looks at them.
"""

import dataclasses
import itertools
import math

import numpy as np
import scipy.sparse


class UnusableScan(ValueError):
    """A scan that cannot become a volume; the message names the file and the reason."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Volume:
    """One scan of one patient on one regular grid.

    Attributes:
        voxels: (slices, rows, columns, channels) float32; HU for CT, the scanner's own
            units for MR.
        affine: (4, 4) float64, (column, row, slice, 1) to RAS mm of voxel centres.
        modality: 'MR' or 'CT'.
        channels: one name a channel: 'in_phase', 'out_of_phase', 't2'; 'hu' for CT.
        source: the path it came from, for messages.
        origin: what an output must inherit (DicomOrigin, NiftiOrigin), None when the
            volume was made up. It always describes the order in which the scan was
            stored, also after `to_axial`.
    """

    voxels: np.ndarray
    affine: np.ndarray
    modality: str
    channels: tuple[str, ...]
    source: str = ""
    origin: object | None = None

    def __post_init__(self):
        if self.voxels.ndim != 4 or self.voxels.shape[3] != len(self.channels):
            raise ValueError(
                f"{self.source or 'volume'}: voxels of shape {self.voxels.shape}, "
                f"expected (slices, rows, columns, {len(self.channels)}) for the "
                f"channels {', '.join(self.channels)}"
            )
        if self.modality not in ("MR", "CT"):
            raise ValueError(f"modality is {self.modality!r}, expected 'MR' or 'CT'")
        if np.shape(self.affine) != (4, 4):
            raise ValueError(f"affine is {np.shape(self.affine)}, expected (4, 4)")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring (rows, columns, slices) in mm."""
        column, row, slice_ = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(row), float(column), float(slice_)


# --- array order ----------------------------------------------------------------------

# Signs of (column, row, slice) in RAS for the canonical order: columns run to the
# patient's left, rows to posterior, slices to superior.
_AXIAL_SIGNS = (-1, -1, 1)


def _axial_order(affine: np.ndarray) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """For (column, row, slice) of the axial order: its axis in `affine`, and its flip.

    An oblique scan gets the assignment of axes with the largest sum of cosines.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    order = max(
        itertools.permutations(range(3)),
        key=lambda axes: sum(abs(directions[i, axis]) for i, axis in enumerate(axes)),
    )
    flips = tuple(
        bool(directions[i, axis] * sign < 0)
        for i, (axis, sign) in enumerate(zip(order, _AXIAL_SIGNS, strict=True))
    )
    return order, flips


def _array_axis(axis: int) -> int:
    """Axis of voxels[slice, row, column] for an axis of the affine, and back."""
    return 2 - axis


def to_axial(volume: Volume) -> Volume:
    """The same scan with its axes permuted and flipped to the canonical axial order.

    No interpolation: voxels only move, and `from_axial` is the exact inverse. Planes
    of an oblique, sagittal or coronal scan go to the nearest anatomical axes.
    """
    order, flips = _axial_order(volume.affine)
    sizes = volume.voxels.shape[2::-1]  # of (column, row, slice)
    voxels = volume.voxels.transpose(*(_array_axis(order[2 - i]) for i in range(3)), 3)
    move = np.zeros((4, 4))
    move[3, 3] = 1
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        move[old, new] = -1 if flip else 1
        move[old, 3] = sizes[old] - 1 if flip else 0
        if flip:
            voxels = np.flip(voxels, _array_axis(new))
    return dataclasses.replace(
        volume,
        voxels=np.ascontiguousarray(voxels),
        affine=volume.affine @ move,
    )


def from_axial(volume: Volume, reference: Volume) -> Volume:
    """Puts the voxels of an axial volume back into the array order of `reference`.

    Args:
        volume: any channels, on the grid of `to_axial(reference)`.
        reference: the scan as it was stored.

    Returns:
        `volume` with its voxels on the grid of `reference`.

    Raises:
        ValueError: the volume does not lie on the grid of `to_axial(reference)`.
    """
    shape = reference.voxels.shape[:3]
    voxels = restore_order(
        volume.voxels, volume.affine, shape=shape, affine=reference.affine
    )
    return dataclasses.replace(volume, voxels=voxels, affine=reference.affine.copy())


def restore_order(
    voxels: np.ndarray,
    voxels_affine: np.ndarray,
    *,
    shape: tuple[int, int, int],
    affine: np.ndarray,
) -> np.ndarray:
    """Moves voxels in stored or in axial order into the stored order.

    Args:
        voxels: (slices, rows, columns, ...) whose affine is `voxels_affine`.
        voxels_affine: (4, 4), either `affine` itself or that of its `to_axial`.
        shape: (slices, rows, columns) of the stored order.
        affine: (4, 4), the stored order's.

    Raises:
        ValueError: the voxels lie on neither of the two grids.
    """
    if voxels.shape[:3] == tuple(shape) and np.allclose(
        voxels_affine, affine, rtol=0, atol=1e-4
    ):
        return voxels
    stored = Volume(
        voxels=np.empty((*shape, 0), np.float32),
        affine=affine,
        modality="MR",
        channels=(),
    )
    axial = to_axial(stored)
    if voxels.shape[:3] != axial.voxels.shape[:3] or not np.allclose(
        voxels_affine, axial.affine, rtol=0, atol=1e-4
    ):
        raise ValueError(
            f"voxels of shape {voxels.shape[:3]} with the affine "
            f"{np.round(voxels_affine, 4).tolist()} are not on the scan's grid: "
            f"expected {tuple(shape)} with {np.round(affine, 4).tolist()}, or the "
            "same in axial order"
        )
    return _from_axial_order(voxels, affine)


def restore_slices(
    voxels: np.ndarray, start: int, *, shape: tuple[int, int, int], affine: np.ndarray
) -> tuple[int, np.ndarray] | None:
    """`restore_order` of some slices of a volume in axial order.

    Args:
        voxels: (slices, rows, columns, ...) from slice `start` on.
        shape: (slices, rows, columns) of the stored order.
        affine: (4, 4), the stored order's.

    Returns:
        Where the first of them is in the stored order, and the slices; None: there
        these planes are no slices.
    """
    order, flips = _axial_order(affine)
    if order[2] != 2:
        return None
    first = shape[0] - start - len(voxels) if flips[2] else start
    return first, _from_axial_order(voxels, affine)


def _from_axial_order(voxels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    order, flips = _axial_order(affine)
    for new, flip in enumerate(flips):
        if flip:
            voxels = np.flip(voxels, _array_axis(new))
    # to_axial's array axis a holds the stored array axis moved[a].
    moved = [_array_axis(order[2 - i]) for i in range(3)]
    rest = range(3, voxels.ndim)
    return np.ascontiguousarray(voxels.transpose(*np.argsort(moved), *rest))


# --- in-plane grids -------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Square pixels in the plane of a volume's slices.

    Positions are millimetres along the volume's rows (downwards) and columns (to the
    right), from the centre of the volume's own pixel (0, 0).

    Attributes:
        rows, columns: size.
        spacing_mm: of both axes.
        row_start_mm, column_start_mm: centre of the grid's pixel (0, 0).
    """

    rows: int
    columns: int
    spacing_mm: float
    row_start_mm: float
    column_start_mm: float


def grid_around(
    volume: Volume,
    spacing_mm: float,
    *,
    rows: int,
    columns: int,
    centre_mm: tuple[float, float] | None = None,
) -> Grid:
    """A grid of a given size, centred on (row, column) mm or on the field of view."""
    if not spacing_mm > 0 or rows < 1 or columns < 1:
        raise ValueError(
            f"a grid of {rows} x {columns} pixels of {spacing_mm} mm: expected sizes "
            "and a spacing above 0"
        )
    if centre_mm is None:
        row_mm, column_mm, _ = volume.spacing_mm
        centre_mm = (
            (volume.voxels.shape[1] - 1) / 2 * row_mm,
            (volume.voxels.shape[2] - 1) / 2 * column_mm,
        )
    return Grid(
        rows=rows,
        columns=columns,
        spacing_mm=float(spacing_mm),
        row_start_mm=float(centre_mm[0] - (rows - 1) / 2 * spacing_mm),
        column_start_mm=float(centre_mm[1] - (columns - 1) / 2 * spacing_mm),
    )


def grid_covering(volume: Volume, spacing_mm: float, *, multiple: int) -> Grid:
    """The smallest centred grid that holds the whole field of view.

    Its sizes are divisible by `multiple`, so that a fully convolutional network takes
    the patient whole.
    """
    row_mm, column_mm, _ = volume.spacing_mm
    _, rows, columns, _ = volume.voxels.shape

    def size(extent_mm: float) -> int:
        # The tolerance keeps an exact fit from growing by rounding.
        pixels = math.ceil(extent_mm / spacing_mm - 1e-6)
        return max(1, math.ceil(pixels / multiple)) * multiple

    return grid_around(
        volume, spacing_mm, rows=size(rows * row_mm), columns=size(columns * column_mm)
    )


def _hat_integral(t: np.ndarray) -> np.ndarray:
    """Integral from minus infinity to t of the linear interpolation kernel."""
    t = np.clip(t, -1, 1)
    return np.where(t < 0, 0.5 * (t + 1) ** 2, 1 - 0.5 * (1 - t) ** 2)


def _weights(
    positions: np.ndarray, size: int, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Interpolation matrix from `size` samples to `positions`, `step` samples apart.

    The samples are joined linearly and averaged over a box. Because both are symmetric
    a linear ramp comes out exact, unlike under a sampled triangle or Gaussian. The
    box's width sqrt(step^2 - 1) is the output pixel less the input pixel in quadrature:
    plain linear interpolation when upsampling, the area average for large steps.

    Returns:
        (len(positions), size) float32 weights with rows that sum to 1, and which
        positions lie in the field of view: up to the outer edge of the border pixels.
        Past the centre of a border pixel its value holds.
    """
    inside = (positions > -0.5 - 1e-6) & (positions < size - 0.5 + 1e-6)
    # Border pixels are repeated outwards: positions may not leave their extent, and
    # the weights that fall on the repetitions are folded back onto them.
    positions = np.clip(positions, -0.5, size - 0.5)
    box = math.sqrt(max(step * step - 1, 0))
    pad = math.ceil(box / 2 + 1.5)
    distance = positions[:, None] - np.arange(-pad, size + pad)[None, :]
    if box < 1e-3:  # the integral's difference would lose its digits
        weights = np.maximum(0, 1 - np.abs(distance))
    else:
        weights = _hat_integral(distance + box / 2) - _hat_integral(distance - box / 2)
        weights /= box
    folded = weights[:, pad : pad + size]
    folded[:, 0] += weights[:, :pad].sum(axis=1)
    folded[:, -1] += weights[:, pad + size :].sum(axis=1)
    return (folded / folded.sum(axis=1, keepdims=True)).astype(np.float32), inside


def _resample(
    voxels: np.ndarray,
    positions: tuple[np.ndarray, np.ndarray],
    steps: tuple[float, float],
    *,
    fill: float,
) -> np.ndarray:
    """Samples (slices, rows, columns, channels) at row and column positions."""
    sizes = voxels.shape[1:3]
    weights, inside = zip(*map(_weights, positions, sizes, steps), strict=True)
    by_row, by_column = map(scipy.sparse.csr_array, weights)
    shape = (len(voxels), by_row.shape[0], by_column.shape[0], voxels.shape[-1])
    samples = np.empty(shape, np.float32)
    # The few weights of a row that are not zero combine whole lines: many times faster
    # than dense products. A slice at a time, so that turning it stays in the caches.
    for sample, plane in zip(samples, voxels, strict=True):
        plane = np.asarray(plane, np.float32).reshape(sizes[0], -1)
        turned = (by_row @ plane).reshape(shape[1], sizes[1], -1).swapaxes(0, 1)
        lines = by_column @ turned.reshape(sizes[1], -1)
        sample[:] = lines.reshape(shape[2], shape[1], -1).swapaxes(0, 1)
    samples[:, ~inside[0]] = fill
    samples[:, :, ~inside[1]] = fill
    return samples


def resample_to_grid(volume: Volume, grid: Grid, *, fill: float) -> np.ndarray:
    """The volume's slices on a grid, smoothed first where the grid is coarser.

    Returns:
        (slices, grid.rows, grid.columns, channels) float32; `fill` outside the
        volume's field of view.
    """
    row_mm, column_mm, _ = volume.spacing_mm
    rows_mm = grid.row_start_mm + grid.spacing_mm * np.arange(grid.rows)
    columns_mm = grid.column_start_mm + grid.spacing_mm * np.arange(grid.columns)
    return _resample(
        volume.voxels,
        (rows_mm / row_mm, columns_mm / column_mm),
        (grid.spacing_mm / row_mm, grid.spacing_mm / column_mm),
        fill=fill,
    )


def resample_from_grid(
    voxels: np.ndarray, grid: Grid, volume: Volume, *, fill: float
) -> np.ndarray:
    """Slices on a grid, back on the volume's own pixels.

    Args:
        voxels: (slices, grid.rows, grid.columns, channels).
        grid: where they lie in the plane of `volume`.
        volume: gives the pixels to fill; its voxels are not read.
        fill: value of the volume's pixels that the grid does not reach.

    Returns:
        (slices, rows, columns, channels) float32.
    """
    if voxels.ndim != 4 or voxels.shape[1:3] != (grid.rows, grid.columns):
        raise ValueError(
            f"voxels of shape {voxels.shape}, expected (slices, {grid.rows}, "
            f"{grid.columns}, channels) on this grid"
        )
    row_mm, column_mm, _ = volume.spacing_mm
    _, rows, columns, _ = volume.voxels.shape
    rows_mm = row_mm * np.arange(rows) - grid.row_start_mm
    columns_mm = column_mm * np.arange(columns) - grid.column_start_mm
    return _resample(
        voxels,
        (rows_mm / grid.spacing_mm, columns_mm / grid.spacing_mm),
        (row_mm / grid.spacing_mm, column_mm / grid.spacing_mm),
        fill=fill,
    )

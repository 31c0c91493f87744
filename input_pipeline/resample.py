"""In-plane grids of square pixels, and volumes resampled onto them and back."""

import dataclasses
import math

import numpy as np
import scipy.sparse

from input_pipeline.volume import Volume


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Square pixels in the plane of a volume's slices.

    Positions are millimetres along the volume's rows (downwards) and columns (to the
    right), from the centre of the volume's own pixel (0, 0).

    Attributes:
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
    """Return a grid centred on (row, column) mm, or on the field of view."""
    if centre_mm is None:
        _, row_mm, column_mm = volume.spacing_mm
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
    """Return the smallest centred grid that holds the whole field of view.

    Its sizes are divisible by `multiple`, so that a fully convolutional network takes
    the patient whole.
    """
    _, row_mm, column_mm = volume.spacing_mm
    _, rows, columns, _ = volume.voxels.shape

    def size(extent_mm: float) -> int:
        # The tolerance keeps an exact fit from growing by rounding.
        pixels = math.ceil(extent_mm / spacing_mm - 1e-6)
        return max(1, math.ceil(pixels / multiple)) * multiple

    return grid_around(
        volume, spacing_mm, rows=size(rows * row_mm), columns=size(columns * column_mm)
    )


def _hat_integral(t: np.ndarray) -> np.ndarray:
    """Return the integral up to t of the linear interpolation kernel."""
    t = np.clip(t, -1, 1)
    return np.where(t < 0, 0.5 * (t + 1) ** 2, 1 - 0.5 * (1 - t) ** 2)


def _weights(
    positions: np.ndarray, size: int, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrix that interpolates `size` samples at `positions`, `step` apart.

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
    """Sample (slices, rows, columns, channels) at row and column positions."""
    sizes = voxels.shape[1:3]
    weights, inside = zip(*map(_weights, positions, sizes, steps), strict=True)
    by_row, by_column = map(scipy.sparse.csr_array, weights)
    shape = (len(voxels), by_row.shape[0], by_column.shape[0], voxels.shape[-1])
    samples = np.empty(shape, np.float32)
    # The few weights of a row that are not zero combine whole lines: many times faster
    # than dense products. One slice at a time, so that transposing stays in the caches.
    for sample, plane in zip(samples, voxels, strict=True):
        plane = np.asarray(plane, np.float32).reshape(sizes[0], -1)
        transposed = (by_row @ plane).reshape(shape[1], sizes[1], -1).swapaxes(0, 1)
        lines = by_column @ transposed.reshape(sizes[1], -1)
        sample[:] = lines.reshape(shape[2], shape[1], -1).swapaxes(0, 1)
    samples[:, ~inside[0]] = fill
    samples[:, :, ~inside[1]] = fill
    return samples


def resample_to_grid(volume: Volume, grid: Grid, *, fill: float) -> np.ndarray:
    """Resample the volume's slices onto a grid, smoothed first if it is coarser.

    Returns:
        (slices, grid.rows, grid.columns, channels) float32; `fill` outside the
        volume's field of view.
    """
    _, row_mm, column_mm = volume.spacing_mm
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
    """Resample slices on a grid back onto the volume's own pixels.

    Args:
        voxels: (slices, grid.rows, grid.columns, channels).
        volume: gives the pixels to fill; its voxels are not read.
        fill: value of the volume's pixels that the grid does not reach.

    Returns:
        (slices, rows, columns, channels) float32.
    """
    _, row_mm, column_mm = volume.spacing_mm
    _, rows, columns, _ = volume.voxels.shape
    rows_mm = row_mm * np.arange(rows) - grid.row_start_mm
    columns_mm = column_mm * np.arange(columns) - grid.column_start_mm
    return _resample(
        voxels,
        (rows_mm / grid.spacing_mm, columns_mm / grid.spacing_mm),
        (row_mm / grid.spacing_mm, column_mm / grid.spacing_mm),
        fill=fill,
    )

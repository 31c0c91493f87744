"""In-plane grids: exact positions, exact values of a ramp."""

import time

import numpy as np
import pytest
from fake_dicom import oblique
from tiny_scans import make_volume

from input_pipeline.resample import (
    Grid,
    grid_around,
    grid_covering,
    resample_from_grid,
    resample_to_grid,
)
from input_pipeline.volume import Volume


def ramps(volume: Volume) -> Volume:
    """Channels that hold the row and the column position in mm."""
    _, row_mm, column_mm = volume.spacing_mm
    _, rows, columns, _ = volume.voxels.shape
    row, column = np.meshgrid(
        np.arange(rows) * row_mm, np.arange(columns) * column_mm, indexing="ij"
    )
    voxels = np.broadcast_to(np.stack([row, column], -1), volume.voxels.shape)
    return Volume(
        voxels=voxels.astype(np.float32),
        affine=volume.affine,
        modality="MR",
        channels=volume.channels,
    )


@pytest.mark.parametrize("spacing_mm", [0.8, 1.5, 2.0, 3.7, 7.1])
@pytest.mark.parametrize("degrees", [(0, 0, 0), (8, -6, 11)])
def test_resampled_ramp_is_exact(spacing_mm, degrees):
    affine = oblique([0, 1, 2], (-1, -1, 1), degrees)
    volume = ramps(make_volume(shape=(2, 60, 44), affine=affine))
    grid = grid_covering(volume, spacing_mm, multiple=4)
    resampled = resample_to_grid(volume, grid, fill=-1.0)
    assert resampled.shape == (2, grid.rows, grid.columns, 2)
    row = grid.row_start_mm + spacing_mm * np.arange(grid.rows)
    column = grid.column_start_mm + spacing_mm * np.arange(grid.columns)
    # Away from the borders, where the filter would look beyond the image.
    margin = spacing_mm + 2.25
    r = (row > margin) & (row < 59 * 1.5 - margin)
    c = (column > margin) & (column < 43 * 2.25 - margin)
    inner = resampled[:, r][:, :, c]
    assert inner.size
    np.testing.assert_allclose(
        inner[..., 0], np.broadcast_to(row[r][:, None], inner.shape[:3]), atol=1e-4
    )
    np.testing.assert_allclose(
        inner[..., 1], np.broadcast_to(column[c], inner.shape[:3]), atol=1e-4
    )

    back = resample_from_grid(resampled, grid, volume, fill=-1.0)
    margin = int(np.ceil(2 * margin / 1.5)) + 1
    inner = (slice(None), slice(margin, -margin), slice(margin, -margin))
    np.testing.assert_allclose(back[inner], volume.voxels[inner], atol=2e-4)


def test_same_spacing_and_position_is_the_identity():
    volume = make_volume(shape=(3, 8, 10), affine=np.diag([-1.5, -1.5, 5.0, 1.0]))
    grid = grid_covering(volume, 1.5, multiple=2)
    assert (grid.rows, grid.columns) == (8, 10)
    resampled = resample_to_grid(volume, grid, fill=0.0)
    np.testing.assert_allclose(resampled, volume.voxels, atol=1e-6)


def test_downsampling_averages_what_it_cannot_show():
    # Stripes of one pixel: too fine for 4 mm, they must become their mean.
    volume = make_volume(shape=(1, 64, 64), affine=np.diag([-1.0, -1.0, 5.0, 1.0]))
    volume.voxels[...] = (np.arange(64) % 2 * 100.0)[None, None, :, None]
    grid = grid_covering(volume, 4.0, multiple=1)
    inner = resample_to_grid(volume, grid, fill=0.0)[:, 2:-2, 2:-2]
    np.testing.assert_allclose(inner, 50.0, atol=3.0)


def test_pixels_outside_the_field_of_view_are_the_fill():
    volume = make_volume(shape=(1, 10, 12), affine=np.diag([-1.0, -1.0, 5.0, 1.0]))
    grid = grid_around(volume, 1.0, rows=20, columns=20, centre_mm=(0.0, 0.0))
    resampled = resample_to_grid(volume, grid, fill=-1024.0)
    row = grid.row_start_mm + np.arange(20)
    assert grid.row_start_mm == -9.5
    outside = (row < -0.5) | (row > 9.5)
    assert (resampled[:, outside] == -1024.0).all()
    assert (resampled[:, :, (row < -0.5)] == -1024.0).all()
    assert (np.abs(resampled[:, ~outside][:, :, 10:]) < 10).all()

    part = Grid(
        rows=4, columns=4, spacing_mm=1.0, row_start_mm=3.0, column_start_mm=2.0
    )
    crop = resample_to_grid(volume, part, fill=0.0)
    np.testing.assert_allclose(crop, volume.voxels[:, 3:7, 2:6], atol=1e-6)
    back = resample_from_grid(crop, part, volume, fill=7.0)
    np.testing.assert_allclose(back[:, 3:7, 2:6], crop, atol=1e-6)
    back[:, 3:7, 2:6] = 7.0
    assert (back == 7.0).all()


def test_grid_around_is_centred_on_the_given_position():
    volume = make_volume(shape=(1, 30, 20), affine=np.diag([-2.0, -1.5, 5.0, 1.0]))
    grid = grid_around(volume, 1.25, rows=16, columns=9, centre_mm=(12.0, 7.0))
    assert grid.row_start_mm + 7.5 * 1.25 == pytest.approx(12.0)
    assert grid.column_start_mm + 4 * 1.25 == pytest.approx(7.0)


def test_grid_covering_holds_the_field_of_view_in_the_given_multiple():
    volume = make_volume(shape=(1, 33, 21), affine=np.diag([-2.0, -1.5, 5.0, 1.0]))
    grid = grid_covering(volume, 1.3, multiple=4)
    assert grid.rows % 4 == 0 and grid.columns % 4 == 0
    assert grid.row_start_mm - 0.65 <= -0.75
    assert grid.row_start_mm + (grid.rows - 0.5) * 1.3 >= 32.5 * 1.5
    assert grid.column_start_mm - 0.65 <= -1.0
    assert grid.column_start_mm + (grid.columns - 0.5) * 1.3 >= 20.5 * 2


def test_whole_volume_is_resampled_within_two_seconds():
    volume = make_volume(shape=(35, 256, 256), affine=np.diag([-1.9, -1.9, 5.5, 1.0]))
    grid = grid_covering(volume, 1.5, multiple=4)
    started = time.process_time()
    resample_to_grid(volume, grid, fill=0.0)
    assert time.process_time() - started < 2.0  # usually 0.2

"""Array order and in-plane grids: exact inverses, exact positions."""

import itertools
import time

import numpy as np
import pytest
from fake_dicom import rotation

from input_pipeline.volume import (
    Grid,
    Volume,
    from_axial,
    grid_around,
    grid_covering,
    resample_from_grid,
    resample_to_grid,
    restore_order,
    restore_slices,
    to_axial,
)


def make(shape=(4, 5, 6), affine=None, channels=2, seed=0) -> Volume:
    rng = np.random.default_rng(seed)
    names = ("in_phase", "out_of_phase", "t2")[:channels]
    voxels = rng.normal(size=(*shape, channels)).astype(np.float32)
    affine = np.diag([-2.0, -1.5, 5.0, 1.0]) if affine is None else affine
    return Volume(voxels=voxels, affine=affine, modality="MR", channels=names)


def oblique(axes, signs, degrees=(8, -6, 11)) -> np.ndarray:
    """An affine whose (column, row, slice) run mostly along the given axes."""
    affine = np.eye(4)
    affine[:3, :3] = (
        rotation(degrees) @ np.eye(3)[:, axes] * signs * np.array([2.25, 1.5, 6.0])
    )
    affine[:3, 3] = (10.5, -20.25, 33)
    return affine


def positions(volume: Volume) -> np.ndarray:
    """(slices, rows, columns, 3) RAS mm."""
    s, r, c = np.indices(volume.voxels.shape[:3])
    return np.stack([c, r, s, np.ones_like(s)], -1) @ volume.affine[:3].T


ORDERS = [
    (axes, signs)
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((-1, 1), repeat=3)
]


@pytest.mark.parametrize(("axes", "signs"), ORDERS)
def test_to_axial_moves_voxels_without_moving_the_patient(axes, signs):
    volume = make(affine=oblique(list(axes), signs))
    axial = to_axial(volume)
    # Columns to the left, rows to posterior, slices to superior.
    assert (np.diag(axial.affine)[:3] * (-1, -1, 1) > 0).all()
    here = np.concatenate([positions(volume), volume.voxels], -1).reshape(-1, 5)
    there = np.concatenate([positions(axial), axial.voxels], -1).reshape(-1, 5)
    order_here, order_there = np.argsort(here[:, 3]), np.argsort(there[:, 3])
    np.testing.assert_allclose(here[order_here], there[order_there], atol=1e-9)

    back = from_axial(axial, volume)
    np.testing.assert_array_equal(back.voxels, volume.voxels)
    np.testing.assert_array_equal(back.affine, volume.affine)
    np.testing.assert_array_equal(to_axial(axial).voxels, axial.voxels)


def test_restore_order_takes_stored_and_axial_order_and_nothing_else():
    volume = make(affine=oblique([1, 2, 0], (1, -1, -1)))
    axial = to_axial(volume)
    stored = {"shape": volume.voxels.shape[:3], "affine": volume.affine}
    labels = axial.voxels[..., 0]
    np.testing.assert_array_equal(
        restore_order(labels, axial.affine, **stored), volume.voxels[..., 0]
    )
    kept = restore_order(volume.voxels, volume.affine, **stored)
    np.testing.assert_array_equal(kept, volume.voxels)
    shifted = axial.affine.copy()
    shifted[0, 3] += 1
    with pytest.raises(ValueError, match="not on the scan's grid"):
        restore_order(labels, shifted, **stored)


@pytest.mark.parametrize("signs", [(-1, -1, 1), (1, -1, -1), (-1, 1, -1)])
@pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2]])
def test_slices_are_restored_one_by_one(order, signs):
    volume = make(affine=oblique(order, signs))
    axial = to_axial(volume)
    stored = {"shape": volume.voxels.shape[:3], "affine": volume.affine}
    found = np.zeros_like(volume.voxels)
    for start, stop in ((0, 1), (1, len(axial.voxels))):
        first, part = restore_slices(axial.voxels[start:stop], start, **stored)
        found[first : first + len(part)] = part
    np.testing.assert_array_equal(found, volume.voxels)


def test_other_planes_are_not_restored():
    volume = make(affine=oblique([1, 2, 0], (1, -1, -1)))
    stored = {"shape": volume.voxels.shape[:3], "affine": volume.affine}
    assert restore_slices(to_axial(volume).voxels[:1], 0, **stored) is None


def test_spacing_is_of_rows_columns_slices():
    volume = make(affine=oblique([0, 1, 2], (-1, -1, 1)))
    assert volume.spacing_mm == pytest.approx((1.5, 2.25, 6.0))


def test_volume_refuses_voxels_that_do_not_fit_its_channels():
    with pytest.raises(ValueError, match="expected .slices, rows, columns, 1."):
        Volume(
            voxels=np.zeros((2, 3, 4), np.float32),
            affine=np.eye(4),
            modality="CT",
            channels=("hu",),
        )


def ramps(volume: Volume) -> Volume:
    """Channels that hold the row and the column position in mm."""
    row_mm, column_mm, _ = volume.spacing_mm
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
def test_resampling_puts_a_ramp_where_it_was(spacing_mm, degrees):
    affine = oblique([0, 1, 2], (-1, -1, 1), degrees)
    volume = ramps(make(shape=(2, 60, 44), affine=affine))
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
    volume = make(shape=(3, 8, 10), affine=np.diag([-1.5, -1.5, 5.0, 1.0]))
    grid = grid_covering(volume, 1.5, multiple=2)
    assert (grid.rows, grid.columns) == (8, 10)
    resampled = resample_to_grid(volume, grid, fill=0.0)
    np.testing.assert_allclose(resampled, volume.voxels, atol=1e-6)


def test_downsampling_averages_what_it_cannot_show():
    # Stripes of one pixel: too fine for 4 mm, they must become their mean.
    volume = make(shape=(1, 64, 64), affine=np.diag([-1.0, -1.0, 5.0, 1.0]))
    volume.voxels[...] = (np.arange(64) % 2 * 100.0)[None, None, :, None]
    grid = grid_covering(volume, 4.0, multiple=1)
    inner = resample_to_grid(volume, grid, fill=0.0)[:, 2:-2, 2:-2]
    np.testing.assert_allclose(inner, 50.0, atol=3.0)


def test_outside_of_the_field_of_view_is_exactly_the_fill():
    volume = make(shape=(1, 10, 12), affine=np.diag([-1.0, -1.0, 5.0, 1.0]))
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


def test_grid_around_is_centred_on_the_position_asked_for():
    volume = make(shape=(1, 30, 20), affine=np.diag([-2.0, -1.5, 5.0, 1.0]))
    grid = grid_around(volume, 1.25, rows=16, columns=9, centre_mm=(12.0, 7.0))
    assert grid.row_start_mm + 7.5 * 1.25 == pytest.approx(12.0)
    assert grid.column_start_mm + 4 * 1.25 == pytest.approx(7.0)


def test_grid_covering_holds_the_field_of_view_in_the_multiple_asked_for():
    volume = make(shape=(1, 33, 21), affine=np.diag([-2.0, -1.5, 5.0, 1.0]))
    grid = grid_covering(volume, 1.3, multiple=4)
    assert grid.rows % 4 == 0 and grid.columns % 4 == 0
    assert grid.row_start_mm - 0.65 <= -0.75
    assert grid.row_start_mm + (grid.rows - 0.5) * 1.3 >= 32.5 * 1.5
    assert grid.column_start_mm - 0.65 <= -1.0
    assert grid.column_start_mm + (grid.columns - 0.5) * 1.3 >= 20.5 * 2


def test_a_whole_volume_is_resampled_in_a_second():
    volume = make(shape=(35, 256, 256), affine=np.diag([-1.9, -1.9, 5.5, 1.0]))
    grid = grid_covering(volume, 1.5, multiple=4)
    started = time.process_time()
    resample_to_grid(volume, grid, fill=0.0)
    assert time.process_time() - started < 2.0  # usually 0.2

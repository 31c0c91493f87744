"""Array order: exact inverses."""

import itertools

import numpy as np
import pytest
from fake_dicom import oblique
from tiny_scans import make_volume

from input_pipeline.volume import (
    Origin,
    Volume,
    from_axial,
    slices_from_axial,
    to_axial,
)


def origin(volume: Volume) -> Origin:
    return Origin(affine=volume.affine, shape=volume.voxels.shape[:3])


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
    volume = make_volume(affine=oblique(list(axes), signs))
    axial = to_axial(volume)
    # Columns to the left, rows to posterior, slices to superior.
    assert (np.diag(axial.affine)[:3] * (-1, -1, 1) > 0).all()
    here = np.concatenate([positions(volume), volume.voxels], -1).reshape(-1, 5)
    there = np.concatenate([positions(axial), axial.voxels], -1).reshape(-1, 5)
    order_here, order_there = np.argsort(here[:, 3]), np.argsort(there[:, 3])
    np.testing.assert_allclose(here[order_here], there[order_there], atol=1e-9)

    back = from_axial(axial.voxels, axial.affine, origin(volume))
    np.testing.assert_array_equal(back, volume.voxels)
    np.testing.assert_array_equal(to_axial(axial).voxels, axial.voxels)


def test_voxels_off_the_grid_are_not_brought_back():
    volume = make_volume(affine=oblique([1, 2, 0], (1, -1, -1)))
    axial = to_axial(volume)
    labels = axial.voxels[..., 0]
    np.testing.assert_array_equal(
        from_axial(labels, axial.affine, origin(volume)), volume.voxels[..., 0]
    )
    shifted = axial.affine.copy()
    shifted[0, 3] += 1
    for affine in (shifted, volume.affine):
        with pytest.raises(ValueError, match="not on the scan's grid"):
            from_axial(labels, affine, origin(volume))


@pytest.mark.parametrize("signs", [(-1, -1, 1), (1, -1, -1), (-1, 1, -1)])
@pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2]])
def test_slices_are_restored_one_by_one(order, signs):
    volume = make_volume(affine=oblique(order, signs))
    axial = to_axial(volume)
    back = np.zeros_like(volume.voxels)
    for start, stop in ((0, 1), (1, len(axial.voxels))):
        first, slices = slices_from_axial(
            axial.voxels[start:stop], start, origin(volume)
        )
        back[first : first + len(slices)] = slices
    np.testing.assert_array_equal(back, volume.voxels)


def test_other_planes_are_not_restored():
    volume = make_volume(affine=oblique([1, 2, 0], (1, -1, -1)))
    one_slice = to_axial(volume).voxels[:1]
    assert slices_from_axial(one_slice, 0, origin(volume)) is None


def test_spacing_is_in_the_order_slices_rows_columns():
    volume = make_volume(affine=oblique([0, 1, 2], (-1, -1, 1)))
    assert volume.spacing_mm == pytest.approx((6.0, 1.5, 2.25))


def test_volume_refuses_voxels_that_do_not_fit_its_channels():
    with pytest.raises(ValueError, match="expected .slices, rows, columns, 1."):
        Volume(
            voxels=np.zeros((2, 3, 4), np.float32),
            affine=np.eye(4),
            modality="CT",
            channels=("hu",),
        )

"""Overlap and surface distances of masks, by hand and by all pairs of voxels."""

import numpy as np
import pytest
import scipy.ndimage
from scipy.spatial.distance import cdist

from synthct_jax.metrics import surface

SPACING_MM = (6.0, 1.5, 2.0)


def box(*ranges: tuple[int, int], shape=(9, 30, 40)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*limits) for limits in ranges)] = True
    return mask


def test_dice_of_boxes_is_twice_their_overlap_over_their_sizes():
    a = box((2, 6), (5, 15), (10, 20))
    assert surface.dice(a, a) == 1
    assert surface.dice(a, np.roll(a, 5, axis=1)) == 0.5
    assert surface.dice(a, np.roll(a, 10, axis=1)) == 0
    assert surface.dice(a, np.zeros_like(a)) == 0
    assert np.isnan(surface.dice(np.zeros_like(a), np.zeros_like(a)))


@pytest.mark.parametrize(("axis", "step_mm"), [(0, 6.0), (1, 1.5), (2, 2.0)])
def test_distance_of_shifted_plates_is_in_mm_of_their_axis(axis, step_mm):
    # Plates one voxel thick, across the whole volume: all distances are the same.
    a = np.zeros((9, 30, 40), bool)
    np.moveaxis(a, axis, 0)[2] = True
    b = np.roll(a, 3, axis)
    assert surface.hausdorff_95(a, b, SPACING_MM) == pytest.approx(3 * step_mm)
    assert surface.hausdorff_95(a, a, SPACING_MM) == 0


def test_distances_are_those_of_all_pairs_of_surface_voxels():
    rng = np.random.default_rng(0)
    a, b = (
        scipy.ndimage.gaussian_filter(rng.normal(size=(8, 16, 14)), 2) > 0.04
        for _ in range(2)
    )
    inner = [
        scipy.ndimage.binary_erosion(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1, 1:-1]
        for mask in (a, b)
    ]
    points = [
        np.argwhere(mask & ~eroded) * SPACING_MM
        for mask, eroded in zip((a, b), inner, strict=True)
    ]
    distances = cdist(*points)
    expected = max(np.percentile(distances.min(axis=axis), 95) for axis in (0, 1))
    assert expected > 2
    assert surface.hausdorff_95(a, b, SPACING_MM) == pytest.approx(expected)
    assert surface.hausdorff_95(b, a, SPACING_MM) == pytest.approx(expected)


def test_a_few_stray_voxels_do_not_change_the_distance():
    a = box((2, 7), (5, 25), (5, 35))
    stray = a.copy()
    stray[8, 29, 39] = True
    assert surface.hausdorff_95(a, stray, SPACING_MM) == 0


def test_faces_of_the_volume_are_no_surface():
    whole = box((0, 9), (5, 25), (5, 35))
    thinner = box((0, 9), (7, 23), (8, 32))  # by 3 mm and 6 mm
    assert 6 <= surface.hausdorff_95(whole, thinner, SPACING_MM) < 7


def test_distance_of_empty_masks_is_infinite_or_nan():
    a = box((2, 6), (5, 15), (10, 20))
    empty = np.zeros_like(a)
    assert surface.hausdorff_95(a, empty, SPACING_MM) == np.inf
    assert surface.hausdorff_95(empty, a, SPACING_MM) == np.inf
    assert np.isnan(surface.hausdorff_95(empty, empty, SPACING_MM))


def test_masks_of_different_shapes_are_refused():
    a = box((2, 6), (5, 15), (10, 20))
    for measure in (surface.dice, lambda a, b: surface.hausdorff_95(a, b, SPACING_MM)):
        with pytest.raises(
            ValueError, match=r"shapes.*\(9, 30, 40\) and \(8, 30, 40\)"
        ):
            measure(a, a[1:])


def test_distance_of_centres_is_that_of_a_moved_box_in_mm():
    a, moved = box((2, 6), (5, 15), (10, 20)), box((3, 7), (7, 17), (10, 20))
    distance = surface.centre_distance(a, moved, SPACING_MM)
    assert distance == pytest.approx(np.hypot(6, 3))
    assert np.isnan(surface.centre_distance(a, np.zeros_like(a), SPACING_MM))

"""T2 on the grid of the phases: where each voxel comes from, and when it is refused."""

import nibabel
import numpy as np
import pytest
from fake_dicom import rotation

from input_pipeline.scans.alignment import check_one_body, onto_grid
from input_pipeline.scans.nifti import write_nifti
from input_pipeline.scans.read_scan import read_scan
from input_pipeline.volume import Origin, UnusableScan, Volume

GRID = np.array([[-2.0, 0, 0, 30], [0, -2.0, 0, 25], [0, 0, 5.0, -40], [0, 0, 0, 1.0]])
SHAPE = (9, 26, 31)  # slices, rows, columns


def ramp(shape, affine, weights=(3.0, 1.5, 2.0)):
    """Values that are linear in the position in mm."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")[::-1])
    places = (
        np.tensordot(affine[:3, :3], index, axes=1) + affine[:3, 3, None, None, None]
    )
    return np.tensordot(np.array(weights), places, axes=1).astype(np.float32)


def brought(values, affine):
    grid = Origin(affine=GRID, shape=SHAPE)
    return onto_grid(values, affine, grid, source="t2", grid_source="in_phase")


@pytest.mark.parametrize("degrees", [(0, 0, 0), (9, -6, 14)])
@pytest.mark.parametrize("spacing", [(1.25, 1.0, 7.7), (3.0, 2.5, 4.0), (0.5, 0.5, 1)])
def test_ramp_is_exact_on_any_other_grid(degrees, spacing):
    affine = np.eye(4)
    affine[:3, :3] = rotation(degrees) @ np.diag([-1, 1, 1]) @ np.diag(spacing)
    shape = tuple(int(120 / mm) for mm in spacing[::-1])
    centre = GRID @ [*(np.array(SHAPE[::-1]) - 1) / 2, 1]
    middle = (np.array(shape[::-1]) - 1) / 2
    affine[:3, 3] = centre[:3] - affine[:3, :3] @ middle
    found = brought(ramp(shape, affine), affine)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, ramp(SHAPE, GRID), atol=0.02)


def test_same_grid_keeps_the_values():
    values = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    np.testing.assert_allclose(brought(values, GRID), values, atol=1e-6)


def test_outermost_pixels_keep_their_extent_and_0_follows():
    affine = GRID @ np.diag([4, 4, 1, 1])  # pixels of 8 mm, not of 2
    affine[:, 3] = GRID @ [3.5, 3.5, 0, 1]  # theirs begin 2 pixels inside
    found = brought(np.ones((9, 4, 5), np.float32), affine)
    expected = np.zeros(SHAPE, np.float32)
    expected[:, 2:18, 2:22] = 1
    np.testing.assert_array_equal(found, expected)


def test_coarser_grid_is_not_aliased():
    # Stripes of one pixel, on pixels that are 2.5 times as large: grey, not stripes.
    affine = GRID @ np.diag([0.4, 1, 1, 1])
    values = np.zeros((9, 26, 78), np.float32)
    values[..., ::2] = 1
    inner = brought(values, affine)[..., 2:-2]
    assert inner.std() < 0.12  # 0.36 without smoothing


def test_image_that_reaches_less_than_half_of_the_slices_is_refused():
    values = np.ones(SHAPE, np.float32)
    for slices, reached in ((4, 5), (5, 4)):
        moved = GRID.copy()
        moved[2, 3] += 5.0 * slices
        if reached > 4:
            found = brought(values, moved)
            assert (found[slices:] == 1).all() and not found[:slices].any()
        else:
            with pytest.raises(
                UnusableScan,
                match="t2: it reaches the middle of 4 of 9 slices of in_phase",
            ):
                brought(values, moved)
    moved = GRID.copy()
    moved[0, 3] += 40  # beside it
    with pytest.raises(UnusableScan, match="middle of 0 of 9"):
        brought(values, moved)


# --- one body -------------------------------------------------------------------------


def body(at=(50, 50), *, channels=("in_phase", "t2"), cut=None):
    """Ellipses, brighter in T2's middle, in a field of 400 mm."""
    rows, columns = np.mgrid[:100, :100]
    rng = np.random.default_rng(0)
    voxels = np.zeros((6, 100, 100, len(channels)), np.float32)
    for channel, (row, column) in enumerate([(50, 50), at][: len(channels)]):
        inside = ((rows - row) / 22) ** 2 + ((columns - column) / 34) ** 2 < 1
        voxels[..., channel] = 400 * inside + 5 * rng.random((6, 100, 100)) + 1
    if cut is not None:
        voxels[:, :, :cut, 1] = 0
    return Volume(
        voxels=voxels,
        affine=np.diag([-4.0, -4.0, 8.0, 1]),
        modality="MR",
        channels=channels,
        source="scan",
    )


def test_t2_of_a_part_of_the_body_passes():
    check_one_body(body())
    check_one_body(body(at=(52, 49)))  # another breath
    check_one_body(body(cut=30))
    check_one_body(body(channels=("in_phase",)))
    check_one_body(body(channels=("t2",)))


def test_body_in_another_place_is_refused_with_the_overlap():
    with pytest.raises(UnusableScan, match="scan: .* in in_phase overlap by 0.6"):
        check_one_body(body(at=(60, 60)))
    with pytest.raises(UnusableScan, match="the t2 image is 0 everywhere"):
        check_one_body(body(cut=100))


def test_real_t2_with_a_wrong_origin_is_refused_and_passes_where_it_belongs(
    real_data, tmp_path
):
    """CHAOS subject 1. The NIfTI files of its T2 were cropped, and keep the origin of
    the whole image: they are about 37 mm off to the right and to the back."""
    chaos = real_data / "chaos/Train_Sets/MR/1"
    both = ("in_phase", "out_of_phase")
    phases = read_scan(chaos, modality="MR", channels=both)
    for channel, name in enumerate(both):
        path = tmp_path / f"{name}.nii.gz"
        write_nifti(path, phases.voxels[..., channel], phases)
    file = nibabel.load(real_data / "chaos_t2spir_nifti/image_1.nii.gz")
    file = nibabel.Nifti1Image(np.asarray(file.dataobj, np.float32), file.affine)
    nibabel.save(file, tmp_path / "t2.nii.gz")
    with pytest.raises(UnusableScan, match="overlap by 0.7"):
        read_scan(tmp_path, modality="MR", channels=(*both, "t2"))
    file.affine[:2, 3] += (-37, 37)
    moved = nibabel.Nifti1Image(file.get_fdata(), file.affine)
    nibabel.save(moved, tmp_path / "t2.nii.gz")
    volume = read_scan(tmp_path, modality="MR", channels=(*both, "t2"))
    np.testing.assert_array_equal(volume.voxels[..., :2], phases.voxels)
    np.testing.assert_allclose(volume.affine, phases.affine, atol=1e-4)

"""Reading and writing NIfTI: same voxels, same grid, and no doubtful file passes."""

import nibabel
import numpy as np
import pytest
from fake_dicom import rotation

from input_pipeline.scans.nifti import read_nifti, write_nifti
from input_pipeline.volume import UnusableScan, Volume, to_axial

AFFINE = np.eye(4)
AFFINE[:3, :3] = rotation((8, -5, 12)) @ np.diag([-2.25, 1.5, 6.0])
AFFINE[:3, 3] = (31.5, -17.25, -80.125)


def save(path, *, shape=(9, 12, 5), affine=AFFINE, dtype=np.float32, seed=0, edit=None):
    values = np.random.default_rng(seed).integers(-50, 800, shape).astype(dtype)
    image = nibabel.Nifti1Image(values, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm")
    image = edit(image) or image if edit else image
    nibabel.save(image, path)
    return values


def read(*paths, modality="MR", channels=("in_phase",)):
    return read_nifti(paths, modality=modality, channels=channels)


def test_axes_are_column_row_slice_and_negative_values_are_kept(tmp_path):
    values = save(tmp_path / "a.nii.gz")
    volume = read(tmp_path / "a.nii.gz")
    assert volume.voxels.shape == (5, 12, 9, 1) and volume.voxels.dtype == np.float32
    np.testing.assert_array_equal(volume.voxels[..., 0], values.transpose(2, 1, 0))
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
    assert volume.spacing_mm == pytest.approx((6.0, 1.5, 2.25), abs=1e-5)
    assert volume.voxels.min() < 0


def test_one_file_is_one_channel(tmp_path):
    first = save(tmp_path / "in.nii")
    second = save(tmp_path / "out.nii.gz", seed=1, dtype=np.int16)
    volume = read(
        tmp_path / "in.nii",
        tmp_path / "out.nii.gz",
        channels=("in_phase", "out_of_phase"),
    )
    np.testing.assert_array_equal(volume.voxels[..., 0], first.transpose(2, 1, 0))
    np.testing.assert_array_equal(volume.voxels[..., 1], second.transpose(2, 1, 0))


def test_wrong_number_of_files_names_the_channels(tmp_path):
    with pytest.raises(
        ValueError, match="1 file given, 2 channels expected: in_phase, t2"
    ):
        read(tmp_path / "a.nii", channels=("in_phase", "t2"))


def test_ct_below_air_is_air(tmp_path):
    values = save(tmp_path / "a.nii", edit=lambda i: offset(i, -1100))
    volume = read(tmp_path / "a.nii", modality="CT", channels=("hu",))
    expected = np.maximum(values - 1100, -1024).transpose(2, 1, 0)
    np.testing.assert_array_equal(volume.voxels[..., 0], expected)


def offset(image, by):
    return nibabel.Nifti1Image(image.get_fdata() + by, image.affine, image.header)


def only_qform(image):
    image.set_sform(None, code=0)


def in_metres(image):
    image.header.set_xyzt_units("meter")


@pytest.mark.parametrize("edit", [only_qform, lambda image: image.set_qform(None, 0)])
def test_sform_or_qform_alone_places_the_volume(tmp_path, edit):
    save(tmp_path / "a.nii", edit=edit)
    np.testing.assert_allclose(read(tmp_path / "a.nii").affine, AFFINE, atol=1e-4)


def test_spatial_units_are_converted_to_millimetres(tmp_path):
    affine = AFFINE * np.array([1e-3, 1e-3, 1e-3, 1])[:, None]
    save(tmp_path / "a.nii", affine=affine, edit=in_metres)
    np.testing.assert_allclose(read(tmp_path / "a.nii").affine, AFFINE, atol=1e-4)


def test_fourth_axis_of_length_one_is_dropped(tmp_path):
    values = save(tmp_path / "a.nii", shape=(9, 12, 5, 1))
    volume = read(tmp_path / "a.nii")
    np.testing.assert_array_equal(volume.voxels[..., 0], values[..., 0].T)


def nan(image):
    values = image.get_fdata()
    values[1, 2, 3] = np.nan
    return nibabel.Nifti1Image(values, image.affine, image.header)


def placeless(image):
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)


def sheared(image):
    affine = AFFINE @ np.array(
        [[1, 0, 0.3, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    return nibabel.Nifti1Image(image.get_fdata(), affine)


def wrong_pixdim(image):
    image.header["pixdim"][1] = 1.0
    image.header["qform_code"] = 0


def moved_qform(image):
    other = AFFINE.copy()
    other[0, 3] += 40
    image.set_qform(other, code=1)


DEFECTS = {
    "nan": (nan, "1 of 540 voxels are NaN or infinite"),
    "placeless": (placeless, "neither sform nor qform"),
    "sheared": (sheared, "sform is sheared"),
    "pixdim": (wrong_pixdim, "sform has a spacing of .*2.25.* and pixdim .*1.0"),
    "qform": (moved_qform, "sform and qform are 40.00 apart"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_defect_is_refused_with_its_reason(tmp_path, defect):
    edit, reason = DEFECTS[defect]
    save(tmp_path / "a.nii.gz", edit=edit)
    with pytest.raises(UnusableScan, match=reason) as error:
        read(tmp_path / "a.nii.gz")
    assert str(tmp_path / "a.nii.gz") in str(error.value)


@pytest.mark.parametrize("shape", [(9, 12, 5, 3), (9, 12), (9, 12, 1)])
def test_image_that_is_not_one_volume_is_refused(tmp_path, shape):
    save(tmp_path / "a.nii", shape=shape)
    with pytest.raises(UnusableScan, match="expected one 3-D volume"):
        read(tmp_path / "a.nii")


def test_complex_and_colour_values_are_refused(tmp_path):
    save(tmp_path / "a.nii", dtype=np.complex64)
    with pytest.raises(UnusableScan, match="complex64, expected real numbers"):
        read(tmp_path / "a.nii")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.7])
def test_truncated_file_is_refused(tmp_path, suffix, keep):
    path = tmp_path / f"a{suffix}"
    save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(UnusableScan, match=f"a{suffix}: (not a NIfTI|truncated)"):
        read(path)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.nii").write_text("voxels")
    (tmp_path / "b.txt").write_text("voxels")
    nibabel.save(
        nibabel.MGHImage(np.zeros((3, 3, 3), np.float32), np.eye(4)), tmp_path / "c.mgz"
    )
    for name in ("a.nii", "b.txt", "c.mgz"):
        with pytest.raises(UnusableScan, match=f"{name}: .*NIfTI"):
            read(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="d.nii"):
        read(tmp_path / "d.nii")


def test_phases_on_two_grids_are_refused_naming_both_files(tmp_path):
    save(tmp_path / "a.nii")
    moved = AFFINE.copy()
    moved[1, 3] += 0.01
    save(tmp_path / "b.nii", affine=moved)
    save(tmp_path / "c.nii", shape=(9, 12, 6))
    for name in ("b.nii", "c.nii"):
        with pytest.raises(UnusableScan, match="expected one grid") as error:
            read(
                tmp_path / "a.nii",
                tmp_path / name,
                channels=("in_phase", "out_of_phase"),
            )
        assert "a.nii" in str(error.value) and name in str(error.value)


def test_t2_on_another_grid_is_resampled_onto_the_phases(tmp_path):
    save(tmp_path / "a.nii")
    phase = read(tmp_path / "a.nii", channels=("in_phase",))
    # Twice as coarse along the slices, half a slice lower, and a slice more.
    coarse = AFFINE @ np.diag([1, 1, 2, 1])
    coarse[:, 3] = AFFINE @ [0, 0, -1, 1]
    slices = phase.voxels.shape[0] // 2 + 2
    save(
        tmp_path / "t2.nii", affine=coarse, shape=(*phase.voxels.shape[2:0:-1], slices)
    )
    t2 = read(tmp_path / "t2.nii", channels=("t2",))
    volume = read(tmp_path / "t2.nii", tmp_path / "a.nii", channels=("t2", "in_phase"))
    np.testing.assert_array_equal(volume.affine, phase.affine)
    np.testing.assert_array_equal(volume.voxels[..., 1:], phase.voxels)
    assert volume.origin.shape == phase.origin.shape
    for index in range(phase.voxels.shape[0]):
        low = t2.voxels[(index + 1) // 2, ..., 0]
        high = t2.voxels[(index + 2) // 2, ..., 0]
        np.testing.assert_allclose(
            volume.voxels[index, ..., 0], (low + high) / 2, rtol=1e-5, atol=1e-3
        )


def test_t2_of_another_part_of_the_body_is_refused_naming_both_files(tmp_path):
    save(tmp_path / "a.nii")
    moved = AFFINE.copy()
    moved[:3, 3] += 500
    save(tmp_path / "t2.nii", affine=moved)
    with pytest.raises(UnusableScan, match="reaches the middle of 0 of") as error:
        read(tmp_path / "a.nii", tmp_path / "t2.nii", channels=("in_phase", "t2"))
    assert "a.nii" in str(error.value) and "t2.nii: it" in str(error.value)


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
@pytest.mark.parametrize("signs", [(-1, 1, 1), (1, -1, -1), (1, 1, 1)])
def test_written_voxels_lie_on_the_grid_of_the_input(tmp_path, dtype, signs):
    affine = AFFINE @ np.diag([*signs, 1])
    save(tmp_path / "a.nii.gz", affine=affine, dtype=np.int16)
    axial = to_axial(read(tmp_path / "a.nii.gz"))
    # Axial order in, the file's own order out.
    write_nifti(tmp_path / "b.nii.gz", axial.voxels[..., 0].astype(dtype), axial)
    one, other = (nibabel.load(tmp_path / name) for name in ("a.nii.gz", "b.nii.gz"))
    np.testing.assert_array_equal(one.get_fdata(), other.get_fdata())
    np.testing.assert_allclose(one.affine, other.affine, atol=1e-5)
    np.testing.assert_allclose(other.get_qform(), other.get_sform(), atol=1e-4)
    assert other.get_data_dtype() == dtype
    assert other.header.get_xyzt_units()[0] == "mm"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz"]


def test_bad_values_and_names_and_failed_writes_leave_nothing(tmp_path, monkeypatch):
    volume = Volume(
        voxels=np.zeros((2, 3, 4, 1), np.float32),
        affine=AFFINE,
        modality="MR",
        channels=("t2",),
    )
    with pytest.raises(ValueError, match="ends with .nii"):
        write_nifti(tmp_path / "a.img", volume.voxels[..., 0], volume)
    with pytest.raises(ValueError, match="expected .2, 3, 4."):
        write_nifti(tmp_path / "a.nii", np.zeros((2, 3, 5)), volume)
    with pytest.raises(ValueError, match="expected 16 bits"):
        write_nifti(tmp_path / "a.nii", np.full((2, 3, 4), 40_000), volume)

    def fail(image, path):
        (tmp_path / path).write_bytes(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="disk full"):
        patched.setattr(nibabel, "save", fail)
        write_nifti(tmp_path / "a.nii", volume.voxels[..., 0], volume)
    assert list(tmp_path.iterdir()) == []
    write_nifti(tmp_path / "a.nii", volume.voxels[..., 0], volume)
    with pytest.raises(FileExistsError, match="a.nii exists"):
        write_nifti(tmp_path / "a.nii", volume.voxels[..., 0], volume)


# --- real scans -----------------------------------------------------------------------

REAL = {  # (slices, rows, columns), spacing
    "totalsegmentator_examples/example_ct.nii.gz": ("CT", (112, 101, 122), 3.0),
    "totalsegmentator_examples/example_ct_sm.nii.gz": ("CT", (30, 101, 122), 3.0),
    "totalsegmentator_examples/example_mr_sm.nii.gz": ("MR", (20, 91, 117), 3.0),
    "chaos_t2spir_nifti/image_1.nii.gz": ("MR", (37, 256, 256), 7.7),
    "chaos_t2spir_nifti/image_2.nii.gz": ("MR", (31, 256, 256), 7.7),
}


@pytest.mark.parametrize("name", REAL)
def test_real_file_loads(real_data, name):
    modality, shape, slice_mm = REAL[name]
    channel = "hu" if modality == "CT" else "t2"
    volume = read(real_data / name, modality=modality, channels=(channel,))
    assert volume.voxels.shape == (*shape, 1)
    assert volume.spacing_mm[0] == pytest.approx(slice_mm, abs=1e-3)
    axial = to_axial(volume)
    assert (np.diag(axial.affine)[:3] * (-1, -1, 1) > 0).all()
    if modality == "CT":
        assert volume.voxels.min() >= -1024


def test_every_real_file_loads(real_data):
    for path in sorted(real_data.glob("*/*.nii.gz")):
        assert read(path).voxels.ndim == 4

"""What a user may name as a scan, and what they are told when it is not there."""

import shutil

import numpy as np
import pytest
import SimpleITK
from fake_dicom import files, write_ct, write_enhanced_mr, write_mr

from input_pipeline.scans.nifti import write_nifti
from input_pipeline.scans.read_scan import find_channels, read_scan
from input_pipeline.volume import UnusableScan

BOTH = ("in_phase", "out_of_phase")


@pytest.fixture
def scan(tmp_path):
    """A DICOM folder, and the same voxels as NIfTI files."""
    write_mr(tmp_path / "dicom")
    volume = read_scan(tmp_path / "dicom", modality="MR", channels=BOTH)
    (tmp_path / "nifti").mkdir()
    for channel, name in enumerate(BOTH):
        path = tmp_path / "nifti" / f"{name}.nii.gz"
        write_nifti(path, volume.voxels[..., channel], volume)
    return volume


def assert_same(one, other):
    np.testing.assert_array_equal(one.voxels, other.voxels)
    np.testing.assert_allclose(one.affine, other.affine, atol=1e-4)
    assert one.channels == other.channels and one.modality == other.modality


def test_nifti_files_give_the_voxels_and_the_grid_of_the_dicom_folder(scan, tmp_path):
    paths = [str(tmp_path / "nifti" / f"{name}.nii.gz") for name in BOTH]
    assert_same(read_scan(",".join(paths), modality="MR", channels=BOTH), scan)
    assert_same(read_scan(", ".join(paths), modality="MR", channels=BOTH), scan)
    with pytest.raises(UnusableScan, match="out_of_phase.nii.gz: the name says out_o"):
        read_scan(",".join(paths[::-1]), modality="MR", channels=BOTH)
    others = [
        shutil.copy(path, tmp_path / f"{i}.nii.gz") for i, path in enumerate(paths)
    ]
    swapped = read_scan(",".join(map(str, others[::-1])), modality="MR", channels=BOTH)
    np.testing.assert_array_equal(swapped.voxels, scan.voxels[..., ::-1])


def test_channels_are_found_by_headers_and_names(scan, tmp_path):
    dicom, nifti = str(tmp_path / "dicom"), str(tmp_path / "nifti")
    assert find_channels(dicom) == dict.fromkeys(BOTH, dicom)
    assert find_channels(nifti) == dict.fromkeys(BOTH, nifti)
    names = "patient2_OUT_OF_PHASE.nii", "in_phase_2.nii.gz", "t2w.nii", "in_phase.nii"
    files = [str(tmp_path / name) for name in names]
    for file in files:
        (tmp_path / file).touch()
    both = find_channels(",".join(files[:2]))
    assert both == {"out_of_phase": files[0], "in_phase": files[1]}
    with pytest.raises(UnusableScan, match="t2w.nii: .* holds no channel; expected"):
        find_channels(files[2])
    with pytest.raises(UnusableScan, match="in_phase.nii: .* in_phase, as another"):
        find_channels(f"{files[1]},{files[3]}")


def test_folder_of_files_named_after_channels_is_a_scan(scan, tmp_path):
    assert_same(read_scan(tmp_path / "nifti", modality="MR", channels=BOTH), scan)
    assert_same(read_scan(tmp_path / "nifti", modality="MR"), scan)
    one = read_scan(tmp_path / "nifti", modality="MR", channels=("out_of_phase",))
    np.testing.assert_array_equal(one.voxels, scan.voxels[..., 1:])
    with pytest.raises(UnusableScan, match="out_of_phase.nii.gz; expected .*t2.nii.gz"):
        read_scan(tmp_path / "nifti", modality="MR", channels=(*BOTH, "t2"))


def test_single_file_in_a_folder_needs_no_name(scan, tmp_path):
    (tmp_path / "one").mkdir()
    shutil.copy(tmp_path / "nifti/in_phase.nii.gz", tmp_path / "one/volume.nii.gz")
    for path in (tmp_path / "one", tmp_path / "one/volume.nii.gz"):
        volume = read_scan(path, modality="CT")
        assert volume.channels == ("hu",)
    volume = read_scan(tmp_path / "one", modality="MR", channels=("t2",))
    np.testing.assert_array_equal(volume.voxels, scan.voxels[..., :1])


def test_ct_folders_and_multi_frame_files_are_scans(tmp_path):
    hu = write_ct(tmp_path / "ct,1")  # a comma in a path is no list
    volume = read_scan(tmp_path / "ct,1", modality="CT")
    np.testing.assert_array_equal(volume.voxels[..., 0], hu)
    write_enhanced_mr(tmp_path / "one.dcm")
    volume = read_scan(tmp_path / "one.dcm", modality="MR", channels=("in_phase",))
    assert volume.voxels.shape == (5, 12, 9, 1)


def test_missing_folder_or_file_is_named(scan, tmp_path):
    good = tmp_path / "nifti" / "in_phase.nii.gz"
    for bad in (tmp_path / "nowhere", f"{good},{tmp_path}/nowhere.nii"):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            read_scan(bad, modality="MR", channels=BOTH)
    with pytest.raises(FileNotFoundError, match="empty path"):
        read_scan(f"{good},", modality="MR", channels=BOTH)


def test_wrong_channel_count_names_the_channels(scan, tmp_path):
    paths = ",".join(str(tmp_path / "nifti" / f"{name}.nii.gz") for name in BOTH)
    message = "2 files given, 3 channels expected: in_phase, out_of_phase, t2"
    with pytest.raises(ValueError, match=message):
        read_scan(paths, modality="MR", channels=(*BOTH, "t2"))
    with pytest.raises(ValueError, match="one a file, out of in_phase"):
        read_scan(paths, modality="MR")


def test_unknown_channels_and_mixed_lists_are_refused(scan, tmp_path):
    with pytest.raises(ValueError, match="'flair' of MR, expected one of in_phase"):
        read_scan(tmp_path / "nifti", modality="MR", channels=("flair",))
    with pytest.raises(ValueError, match="modality is 'US'"):
        read_scan(tmp_path / "nifti", modality="US")
    one, two = files(tmp_path / "dicom")[:2]
    with pytest.raises(UnusableScan, match="or zip archive is given alone"):
        read_scan(f"{one},{two}", modality="MR", channels=BOTH)


def test_nifti_channels_among_dicom_images_are_refused_as_ambiguous(scan, tmp_path):
    folder = tmp_path / "dicom"
    # Files that are no channel of the scan do not matter.
    shutil.copy(tmp_path / "nifti/in_phase.nii.gz", folder / "liver.nii.gz")
    assert_same(read_scan(folder, modality="MR", channels=BOTH), scan)
    for name in BOTH:
        shutil.copy(tmp_path / "nifti" / f"{name}.nii.gz", folder)
    with pytest.raises(UnusableScan, match="both DICOM images and in_phase.nii.gz"):
        read_scan(folder, modality="MR", channels=BOTH)


def test_zip_archive_is_read_as_the_folder_in_it(scan, tmp_path):
    for kind in ("dicom", "nifti"):
        archive = shutil.make_archive(str(tmp_path / kind), "zip", tmp_path / kind)
        assert_same(read_scan(archive, modality="MR", channels=BOTH), scan)
        assert find_channels(archive) == dict.fromkeys(BOTH, archive)
    content = (tmp_path / "dicom.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(UnusableScan, match="cut.zip: not a usable zip archive"):
        read_scan(tmp_path / "cut.zip", modality="MR")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "note.txt").write_text("no scan")
    shutil.make_archive(str(tmp_path / "other"), "zip", tmp_path / "text")
    with pytest.raises(UnusableScan, match="other.zip: no DICOM"):
        read_scan(tmp_path / "other.zip", modality="MR")


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_itk_images_are_read_as_nifti_is(suffix, scan, tmp_path):
    for name in BOTH:
        nifti = SimpleITK.ReadImage(tmp_path / "nifti" / f"{name}.nii.gz")
        SimpleITK.WriteImage(nifti, tmp_path / f"{name}{suffix}")
    paths = [str(tmp_path / f"{name}{suffix}") for name in BOTH]
    assert_same(read_scan(",".join(paths), modality="MR", channels=BOTH), scan)
    (tmp_path / f"damaged{suffix}").write_bytes(b"NRRD0004\nObjectType = Image\n")
    with pytest.raises(UnusableScan, match=f"damaged{suffix}: not a readable image"):
        read_scan(tmp_path / f"damaged{suffix}", modality="MR", channels=("t2",))


def test_meta_image_of_more_dimensions_is_refused_before_itk_ends_the_process(tmp_path):
    image = SimpleITK.GetImageFromArray(np.zeros((3, 4, 5), np.float32))
    path = tmp_path / "damaged.mha"
    SimpleITK.WriteImage(image, path)
    path.write_bytes(path.read_bytes().replace(b"NDims = 3", b"NDims = 9999999"))
    with pytest.raises(UnusableScan, match="damaged.mha: NDims is '9999999', exp"):
        read_scan(path, modality="MR", channels=("t2",))

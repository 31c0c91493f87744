"""Every real DICOM folder loads, or is refused for the right reason."""

import numpy as np
import pytest

from input_pipeline.scans.dicom_reader import read_dicom
from input_pipeline.volume import UnusableScan

BOTH = ("in_phase", "out_of_phase")
D2N = "dicom2nifti_tests/tests/data"
LOADS = {  # (slices, rows, columns), spacing, channels
    "chaos/Train_Sets/MR/1": ("MR", (35, 256, 256), (5.5, 1.8945, 1.8945), BOTH),
    "chaos/Train_Sets/CT/3/DICOM_anon": (
        "CT",
        (78, 512, 512),
        (2.0, 0.7266, 0.7266),
        ("hu",),
    ),
    f"{D2N}/failing/slicecount/001": ("MR", (2, 256, 256), (1, 1, 1), ("t2",)),
    f"{D2N}/generic/anatomical/001": ("MR", (4, 256, 256), (1, 1, 1), ("t2",)),
    f"{D2N}/generic/anatomical/002_non_isotropic": (
        "MR",
        (4, 28, 64),
        (0.5, 4.0, 6.4),
        ("mr",),
    ),
    f"{D2N}/generic/compressed/001": ("MR", (4, 256, 256), (1, 1, 1), ("t2",)),
    f"{D2N}/generic/compressed_j2k/001": ("MR", (4, 256, 256), (1, 1, 1), ("t2",)),
    f"{D2N}/generic/compressed_jpeg/001": ("MR", (4, 256, 256), (1, 1, 1), ("t2",)),
    f"{D2N}/generic/compressed_jpegls/001": ("MR", (4, 256, 256), (1, 1, 1), ("t2",)),
    f"{D2N}/generic/compressed_rle/001": ("MR", (4, 256, 256), (1, 1, 1), ("t2",)),
    f"{D2N}/hitachi/anatomical/001": ("MR", (4, 64, 64), (4, 2.3438, 2.3438), ("mr",)),
    f"{D2N}/hyperfine/anatomical/001": ("MR", (8, 138, 112), (5, 1.61, 1.59), ("t2",)),
    f"{D2N}/philips_enhanced/anatomical/001": (
        "MR",
        (8, 256, 256),
        (1.2, 1.0, 1.0),
        ("mr",),
    ),
    f"{D2N}/siemens_multiframe/anatomical/001": (
        "MR",
        (8, 256, 256),
        (0.9, 0.9375, 0.9375),
        ("mr",),
    ),
}
REFUSED = {
    "chaos/Train_Sets/CT/3/Ground": ("CT", "no DICOM images"),
    "chaos/Train_Sets/MR/1/T1DUAL/DICOM_anon/InPhase": ("MR", "no out_of_phase image"),
    "chaos/Train_Sets/MR/1/T1DUAL/DICOM_anon/OutPhase": ("MR", "no in_phase image"),
    "chaos_t2spir_nifti": ("MR", "no DICOM images"),
    "totalsegmentator_examples": ("CT", "no DICOM images"),
    "dcm_qa_ct_ge": ("CT", "01.dcm: gantry tilt of 18.5 degrees"),
    f"{D2N}/failing/gantrytilting/001": ("CT", "positions run 14.0 degrees off"),
    f"{D2N}/failing/notavolume/001": ("CT", "duplicate slice position 61.50"),
    f"{D2N}/failing/sliceincrement/001": (
        "CT",
        "1 missing slice between IM-0001-0009-0001.dcm and IM-0001-0010-0001.dcm",
    ),
    f"{D2N}/failing/sliceincrement/002": (
        "CT",
        "1 missing slice between IM-0001-0003.dcm and IM-0001-0005.dcm",
    ),
    f"{D2N}/failing/sliceorientation/001": ("MR", "mixed orientations in one series"),
    f"{D2N}/generic/rgb/001": ("MR", "3 samples a pixel, RGB"),
    "pydicom_data_sel": ("MR", "too_short.dcm: has no pixel data, or ends before it"),
    "pydicom_data_sel/emri_small_RLE.dcm": ("MR", "10 frames without functional"),
    "pydicom_data_sel/emri_small.dcm": ("MR", "10 frames without functional groups"),
    "pydicom_data_sel/eCT_Supplemental.dcm": ("CT", "RescaleType US; expected"),
    "pydicom_data_sel/bad_sequence.dcm": ("CT", "one slice is not a volume"),
    "pydicom_data_sel/explicit_VR-UN.dcm": ("CT", "one slice is not a volume"),
    "pydicom_data_sel/MR2_J2KI.dcm": ("MR", "one slice is not a volume"),
}


@pytest.mark.parametrize("folder", LOADS)
def test_real_folder_loads(real_data, folder):
    modality, shape, spacing, channels = LOADS[folder]
    volume = read_dicom(real_data / folder, modality=modality)
    assert volume.voxels.shape == (*shape, len(channels))
    assert volume.channels == channels
    assert volume.spacing_mm == pytest.approx(spacing, abs=1e-3)
    assert np.isfinite(volume.voxels).all() and volume.voxels.std() > 0
    other = "CT" if modality == "MR" else "MR"
    with pytest.raises(
        UnusableScan, match=f"modality is {modality} .*expected {other}"
    ):
        read_dicom(real_data / folder, modality=other)


@pytest.mark.parametrize("folder", REFUSED)
def test_real_folder_is_refused_for_its_reason(real_data, folder):
    modality, reason = REFUSED[folder]
    with pytest.raises(UnusableScan, match=reason):
        read_dicom(real_data / folder, modality=modality)


def test_every_real_folder_of_dicom_is_in_one_of_the_two_lists(real_data):
    listed = [real_data / folder for folder in (*LOADS, *REFUSED)]
    for path in real_data.rglob("*.dcm"):
        assert any(path.is_relative_to(folder) for folder in listed), path


def test_five_lossless_codecs_read_one_real_scan_alike(real_data):
    names = ("compressed", *(f"compressed_{c}" for c in ("j2k", "jpeg", "jpegls")))
    generic = real_data / D2N / "generic"
    rle = read_dicom(generic / "compressed_rle/001", modality="MR").voxels
    for name in names:
        read = read_dicom(generic / name / "001", modality="MR").voxels
        np.testing.assert_array_equal(read, rle)


def test_chaos_liver_is_at_its_hounsfield_value(real_data):
    """The masks that came with the scan are numbered as its files, from the top."""
    image = pytest.importorskip("PIL.Image")
    folder = real_data / "chaos/Train_Sets/CT/3"
    masks = sorted((folder / "Ground").glob("*.png"))
    liver = np.stack([np.asarray(image.open(mask)) > 0 for mask in masks])[::-1]
    volume = read_dicom(folder / "DICOM_anon", modality="CT")
    assert volume.voxels.min() >= -1024
    np.testing.assert_allclose(volume.affine[:3, 3], (185.0, 98.0, 1536.5), atol=1e-3)
    assert 139 < volume.voxels[liver, 0].mean() < 143

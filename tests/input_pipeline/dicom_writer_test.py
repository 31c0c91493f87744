"""The CT series written lies on its MR, says what it is, and is a valid DICOM CT."""

import contextlib
import dataclasses
import pathlib
import shutil
import subprocess
import warnings

import fake_dicom
import numpy as np
import pydicom
import pytest
from fake_dicom import Geometry, write_enhanced_mr, write_mr
from programs import need
from pydicom.uid import CTImageStorage

from input_pipeline.phantom import draw_subject
from input_pipeline.phantom.dicom import write_dicom
from input_pipeline.scans.dicom_reader import read_dicom
from input_pipeline.scans.dicom_writer import CtSeries
from input_pipeline.scans.nifti import read_nifti, write_nifti
from input_pipeline.scans.structure_writer import write_structures
from input_pipeline.volume import Volume, to_axial

BOTH = ("in_phase", "out_of_phase")


@pytest.fixture
def mr(tmp_path):
    write_mr(tmp_path / "mr")
    return read_dicom(tmp_path / "mr", modality="MR", channels=BOTH)


def some_hu(volume: Volume) -> np.ndarray:
    """Whole HU, no two rows, columns or slices alike."""
    shape = volume.voxels.shape[:3]
    return np.random.default_rng(0).integers(-1024, 3071, shape).astype(np.float32)


def write_ct_series(folder, hu, volume, **description):
    """All slices at once."""
    with CtSeries(folder, volume, **description) as series:
        series.write(hu)
    return series.paths


def images(paths):
    return [pydicom.dcmread(path) for path in paths]


def test_each_slice_lies_on_its_mr_slice(mr, tmp_path):
    hu = some_hu(mr)
    written = images(write_ct_series(tmp_path / "ct", hu, mr))
    assert len(written) == len(mr.origin.headers) == 5
    for index, (ct, source) in enumerate(zip(written, mr.origin.headers, strict=True)):
        for keyword in (
            "ImagePositionPatient",
            "ImageOrientationPatient",
            "PixelSpacing",
        ):
            ours = np.array(ct[keyword].value, float)
            np.testing.assert_allclose(
                ours, np.array(source[keyword].value, float), atol=1e-4
            )
        assert (ct.Rows, ct.Columns) == (source.Rows, source.Columns)
        assert ct.InstanceNumber == index + 1
        values = ct.pixel_array * float(ct.RescaleSlope) + float(ct.RescaleIntercept)
        np.testing.assert_array_equal(values, hu[index])


@pytest.mark.parametrize(
    ("degrees", "at_once"),
    # Axial; with slices from head to foot; sagittal and others, whose planes differ.
    [
        ((8, -5, 12), False),
        ((0, 180, 0), False),
        ((0, 90, 0), True),
        ((90, 0, 0), True),
        ((100, 85, 3), True),
    ],
)
def test_slices_are_written_as_they_come(tmp_path, degrees, at_once):
    write_mr(tmp_path / "mr", geometry=Geometry(degrees=degrees))
    mr = read_dicom(tmp_path / "mr", modality="MR", channels=BOTH)
    axial = to_axial(mr)
    hu = some_hu(axial)
    (tmp_path / "out").mkdir()
    with CtSeries(tmp_path / "out" / "ct", axial) as series:
        for start in (2, 0):
            series.write(hu[start : start + 2], start)
            written = len(list((tmp_path / "out").glob(".ct.*.partial/new/*.dcm")))
            assert written == (0 if at_once else 4 - start)
        series.write(hu[4:], 4)
        assert not (tmp_path / "out" / "ct").exists()
    ct = read_dicom(tmp_path / "out" / "ct", modality="CT")
    np.testing.assert_allclose(ct.affine, mr.affine, atol=1e-4)
    assert ct.voxels.shape[:3] == mr.voxels.shape[:3]
    np.testing.assert_array_equal(to_axial(ct).voxels[..., 0], hu)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["ct"]


def test_series_that_lacks_slices_does_not_appear(mr, tmp_path):
    hu = some_hu(mr)
    with pytest.raises(ValueError, match="2 of 5 slices were not written"):
        with CtSeries(tmp_path / "out" / "ct", mr) as series:
            series.write(hu[:3])
    with pytest.raises(ValueError, match="from slice 4 on, expected some of"):
        with CtSeries(tmp_path / "out" / "ct", mr) as series:
            series.write(hu[:3], 4)
    with pytest.raises(OSError, match="no space"):
        with CtSeries(tmp_path / "out" / "ct", mr) as series:
            series.write(hu)
            raise OSError("no space")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("handler", "error"),
    # Whatever is made of the error.
    [
        (contextlib.nullcontext(), "no space"),
        (contextlib.suppress(OSError), "5 of 5 slices were not written"),
    ],
)
def test_series_with_unwritable_slices_does_not_appear(
    mr, tmp_path, monkeypatch, handler, error
):
    written = pathlib.Path.write_bytes

    def full_after_two(path, content):
        if path.name == "slice_0003.dcm":
            raise OSError("no space")
        written(path, content)

    monkeypatch.setattr(pathlib.Path, "write_bytes", full_after_two)
    with pytest.raises((OSError, ValueError), match=error):
        with CtSeries(tmp_path / "ct", mr) as series:
            with handler:
                series.write(some_hu(mr))
    assert [path.name for path in tmp_path.iterdir()] == ["mr"]


def test_existing_folder_is_kept(mr, tmp_path):
    (tmp_path / "ct").mkdir()
    with pytest.raises(FileExistsError, match="ct exists already"):
        write_ct_series(tmp_path / "ct", some_hu(mr), mr)


def test_volume_off_the_grid_of_its_series_is_refused(mr, tmp_path):
    cut = dataclasses.replace(mr, voxels=mr.voxels[1:4])
    moved = dataclasses.replace(mr, affine=mr.affine + np.eye(4)[:, [3]] * 0.1)
    for volume in (cut, moved):
        with pytest.raises(ValueError, match="not on the scan's grid"):
            CtSeries(tmp_path / "ct", volume)
    assert [path.name for path in tmp_path.iterdir()] == ["mr"]


def test_series_of_a_made_up_volume_is_written_as_it_comes(tmp_path):
    volume = Volume(
        voxels=np.zeros((4, 6, 5, 1), np.float32),
        affine=np.diag([2.0, 3.0, 4.0, 1.0]),  # RAS: columns to the right, rows up
        modality="MR",
        channels=("t2",),
    )
    axial = to_axial(volume)
    hu = some_hu(axial)
    with CtSeries(tmp_path / "ct", axial) as series:
        for start in (0, 1, 2, 3):
            series.write(hu[start : start + 1], start)
            written = len(list(tmp_path.glob(".ct.*.partial/new/*.dcm")))
            assert written == start + 1
    ct = read_dicom(tmp_path / "ct", modality="CT")
    np.testing.assert_array_equal(ct.voxels[..., 0], hu)
    np.testing.assert_allclose(ct.affine, axial.affine, atol=1e-4)


def test_mark_on_the_left_stays_on_the_left(mr, tmp_path):
    hu = np.full(mr.voxels.shape[:3], -1024.0)
    hu[3, 2, -1] = 1000  # the last column is the patient's left, row 2 is anterior
    paths = write_ct_series(tmp_path / "ct", hu, mr)
    marks = [np.argwhere(ct.pixel_array > 1024) for ct in images(paths)]
    assert [len(places) for places in marks] == [0, 0, 0, 1, 0]
    (row, column), ct = marks[3][0], images(paths)[3]
    directions = np.array(ct.ImageOrientationPatient, float).reshape(2, 3)
    lps = (
        np.array(ct.ImagePositionPatient, float)
        + directions[0] * float(ct.PixelSpacing[1]) * column
        + directions[1] * float(ct.PixelSpacing[0]) * row
    )
    expected = (mr.affine @ (hu.shape[2] - 1, 2, 3, 1))[:3] * (-1, -1, 1)
    np.testing.assert_allclose(lps, expected, atol=1e-4)


def test_series_inherits_the_patient_and_has_its_own_identifiers(mr, tmp_path):
    both = [
        ct
        for name in ("a", "b")
        for ct in images(write_ct_series(tmp_path / name, some_hu(mr), mr))
    ]
    header = mr.origin.headers[0]
    for ct in both:
        for keyword in (
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "PatientSex",
            "StudyInstanceUID",
            "StudyDate",
            "StudyID",
            "AccessionNumber",
            "FrameOfReferenceUID",
        ):
            assert ct[keyword].value == header[keyword].value, keyword
        assert str(ct.PatientName) == "Döe^Jane"
    instances = {ct.SOPInstanceUID for ct in both}
    assert len(instances) == 10
    assert len({ct.SeriesInstanceUID for ct in both}) == 2
    taken = {source[1] for sources in mr.origin.sources for source in sources}
    taken |= {header.SeriesInstanceUID, header.StudyInstanceUID}
    assert not taken & (instances | {ct.SeriesInstanceUID for ct in both})


def test_series_says_that_it_is_synthetic_and_names_its_sources(mr, tmp_path):
    written = images(
        write_ct_series(
            tmp_path / "ct",
            some_hu(mr),
            mr,
            software="synthct_jax 1.2",
        )
    )
    for ct, sources in zip(written, mr.origin.sources, strict=True):
        assert ct.SOPClassUID == CTImageStorage and ct.Modality == "CT"
        assert ct.SyntheticData == "YES"
        assert list(ct.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
        assert ct.SeriesDescription == "synthetic CT"
        assert "Synthetic CT" in ct.DerivationDescription
        assert "not for diagnosis or treatment" in ct.DerivationDescription
        assert ct.RescaleType == "HU" and ct.KVP is None
        referenced = [i.ReferencedSOPInstanceUID for i in ct.SourceImageSequence]
        assert referenced == [instance for _, instance, _ in sources]
        code = ct.SourceImageSequence[0].PurposeOfReferenceCodeSequence[0]
        assert code.CodeValue == "121322"
        equipment = ct.ContributingEquipmentSequence[0]
        assert equipment.SoftwareVersions == "synthct_jax 1.2"
        assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"


@pytest.mark.parametrize("refused", [False, True])
def test_description_tells_models_apart_within_its_length(mr, tmp_path, refused):
    kind = "synthetic CT, INPUT WAS REFUSED" if refused else "synthetic CT"
    long = "in_out_noncontrast_adapted_to_the_scanner_of_room_"
    described = {}
    for place, model in enumerate(
        ("in_noncontrast", "Modèle\\2", f"{long}1", f"{long}2")
    ):
        folder = tmp_path / str(place)
        series = CtSeries(folder, mr, model=model, refused=refused)
        with series:
            series.write(some_hu(mr))
        write_structures(tmp_path / f"{place}.dcm", series, [])
        first = pydicom.dcmread(series.paths[0])
        regions = pydicom.dcmread(tmp_path / f"{place}.dcm").SeriesDescription
        assert regions == f"{first.SeriesDescription}, regions" and len(regions) <= 64
        described[model] = first.SeriesDescription
    assert described["in_noncontrast"] == f"{kind}, in_noncontrast"
    assert described["Modèle\\2"] == f"{kind}, Mod_le_2"
    assert described[f"{long}1"] != described[f"{long}2"]
    assert described[f"{long}1"].startswith(f"{kind}, in_out_non")


def test_hu_are_rounded_and_clipped(mr, tmp_path):
    hu = some_hu(mr)
    hu[0, 0, :6] = (-5000, -1024.4, -0.6, 0.4, 3071.4, 9999)
    first = images(write_ct_series(tmp_path / "ct", hu, mr))[0]
    values = first.pixel_array[0, :6].astype(int) - 1024
    assert list(values) == [-1024, -1024, -1, 0, 3071, 3071]
    with pytest.raises(ValueError, match="NaN"):
        write_ct_series(tmp_path / "b", np.full(hu.shape, np.nan), mr)
    with pytest.raises(ValueError, match="expected some of .5, 12, 9."):
        write_ct_series(tmp_path / "b", hu[:, 1:], mr)
    with pytest.raises(ValueError, match="1 of 5 slices were not written"):
        write_ct_series(tmp_path / "b", hu[1:], mr)
    assert not (tmp_path / "b").exists()


def test_nifti_input_gives_the_same_voxels_with_a_patient_of_its_own(mr, tmp_path):
    names = []
    for channel, name in enumerate(BOTH):
        names.append(tmp_path / f"{name}.nii.gz")
        write_nifti(names[-1], mr.voxels[..., channel], mr)
    nifti = read_nifti(names, modality="MR", channels=BOTH)
    np.testing.assert_array_equal(nifti.voxels, mr.voxels)
    hu = some_hu(mr)
    write_ct_series(tmp_path / "a", hu, mr)
    written = images(write_ct_series(tmp_path / "b", hu, nifti))
    one, two = (
        to_axial(read_dicom(tmp_path / name, modality="CT")) for name in ("a", "b")
    )
    np.testing.assert_array_equal(one.voxels, two.voxels)
    np.testing.assert_allclose(one.affine, two.affine, atol=1e-4)
    assert str(written[0].PatientName) == "SYNTHETIC^CT"
    assert len({ct.StudyInstanceUID for ct in written}) == 1
    assert written[0].FrameOfReferenceUID != mr.origin.headers[0].FrameOfReferenceUID


# --- conformance ----------------------------------------------------------------------


def assert_conforms(paths):
    """dicom3tools finds no error but the tag that is newer than it is."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian package dicom3tools)")
    for path in (paths[0], paths[-1]):
        done = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
        lines = (done.stdout + done.stderr).splitlines()
        assert "CTImage" in lines
        errors = [s for s in lines if s.startswith("Error") and "0008,0x001c" not in s]
        assert not errors, "\n".join(errors)
    done = subprocess.run(["dcentvfy", *paths], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stdout + done.stderr


def test_series_conforms_to_the_standard(mr, tmp_path):
    assert_conforms(write_ct_series(tmp_path / "ct", some_hu(mr), mr))


def test_mr_and_ct_series_are_of_one_patient_study_and_space(tmp_path):
    need("dcentvfy")
    subject = draw_subject(3, size=32, spacing_mm=12.0, slices=4, slice_mm=9.0)
    for name in ("mr", "other"):
        (tmp_path / name).mkdir()
        write_dicom(tmp_path / name, subject)
    mr = to_axial(read_dicom(tmp_path / "mr", modality="MR", channels=BOTH))
    paths = write_ct_series(tmp_path / "ct", some_hu(mr), mr)
    assert_conforms(paths)

    def verify(folder):
        command = ["dcentvfy", *fake_dicom.files(folder), *paths]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout + done.stderr

    assert verify(tmp_path / "mr") == ""
    for path in fake_dicom.files(tmp_path / "other"):  # the same patient otherwise
        image = pydicom.dcmread(path)
        image.PatientName = "Another"
        image.save_as(path)
    assert "PatientName" in verify(tmp_path / "other")


def test_series_of_a_made_up_volume_conforms(mr, tmp_path):
    volume = Volume(
        voxels=mr.voxels, affine=mr.affine, modality="MR", channels=mr.channels
    )
    assert_conforms(write_ct_series(tmp_path / "ct", some_hu(volume), volume))


def test_series_of_an_enhanced_file_conforms(tmp_path):
    write_enhanced_mr(tmp_path / "one.dcm")
    mr = read_dicom(tmp_path / "one.dcm", modality="MR", channels=("in_phase",))
    paths = write_ct_series(tmp_path / "ct", some_hu(mr), mr)
    frames = [ct.SourceImageSequence[0].ReferencedFrameNumber for ct in images(paths)]
    assert frames == [5, 4, 3, 2, 1]
    assert_conforms(paths)


def test_series_of_a_real_scan_conforms_and_lies_on_it(real_data, tmp_path):
    folder = real_data / "chaos" / "Train_Sets" / "MR" / "1"
    mr = read_dicom(folder, modality="MR", channels=BOTH)
    axial = to_axial(mr)
    hu = some_hu(axial)
    paths = write_ct_series(tmp_path / "ct", hu, axial)
    assert_conforms(paths)
    ct = read_dicom(tmp_path / "ct", modality="CT")
    np.testing.assert_allclose(ct.affine, mr.affine, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(to_axial(ct).voxels[..., 0], hu)
    with warnings.catch_warnings():  # nibabel calls its DICOM readers experimental
        warnings.simplefilter("ignore")
        from nibabel.nicom.dicomwrappers import wrapper_from_file
    for k, path in enumerate(paths[::17]):
        # nibabel's own reading of a header: (row, column) to LPS mm.
        theirs = wrapper_from_file(path).affine @ (200, 30, 0, 1)
        ours = mr.affine @ (30, 200, 17 * k, 1) * (-1, -1, 1, 1)
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    sources = {
        pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID
        for path in fake_dicom.files(folder / "T1DUAL")
        if path.suffix == ".dcm"
    }
    referenced = {
        item.ReferencedSOPInstanceUID
        for image in images(paths)
        for item in image.SourceImageSequence
    }
    assert referenced == sources

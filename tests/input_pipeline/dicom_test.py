"""Reading DICOM: right voxels in the right place, or a refusal that says why."""

import shutil

import fake_dicom
import fuzzed_scans
import numpy as np
import pydicom
import pytest
from fake_dicom import Geometry, landmark, write_ct, write_mr, write_series
from pydicom.uid import RLELossless

from input_pipeline.scans.dicom_reader import read_dicom
from input_pipeline.volume import UnusableScan

BOTH = ("in_phase", "out_of_phase")


def assert_landmarks(volume, channel=0, scale=1.0, offset=0.0):
    """Each voxel holds the value of its place in the patient."""
    for index in np.ndindex(*volume.voxels.shape[:3]):
        ras = (volume.affine @ (index[2], index[1], index[0], 1))[:3]
        value = volume.voxels[(*index, channel)] * scale + offset
        assert abs(value - landmark(ras)) <= 1.0, (index, value, landmark(ras))


def test_oblique_slices_come_sorted_with_the_affine_of_their_voxels(tmp_path):
    values = write_mr(tmp_path)
    volume = read_dicom(tmp_path, modality="MR", channels=BOTH)
    np.testing.assert_array_equal(volume.voxels, values)
    assert_landmarks(volume)
    assert volume.spacing_mm == pytest.approx((6.0, 1.5, 2.25), abs=1e-5)
    assert volume.channels == BOTH
    assert volume.voxels.dtype == np.float32
    assert volume.source == str(tmp_path)
    # Channels have the requested order.
    volume = read_dicom(tmp_path, modality="MR", channels=BOTH[::-1])
    np.testing.assert_array_equal(volume.voxels, values[..., ::-1])
    volume = read_dicom(tmp_path, modality="MR", channels=("out_of_phase",))
    np.testing.assert_array_equal(volume.voxels, values[..., 1:])
    with pytest.raises(UnusableScan, match=r"modality is MR .10 images., expected CT"):
        read_dicom(tmp_path, modality="CT")


@pytest.mark.parametrize(
    ("tesla", "echoes_ms"),
    [(1.5, (4.6, 2.3)), (3.0, (2.3, 1.15)), (1.0, (6.9, 3.45)), (30_000, (2.46, 1.23))],
)
def test_phases_follow_from_echo_time_and_field_not_folder_names(
    tmp_path, tesla, echoes_ms
):
    names = ("OutPhase", "InPhase")  # the wrong way round
    values = write_mr(tmp_path, echoes_ms=echoes_ms, subfolders=names, tesla=tesla)
    volume = read_dicom(tmp_path, modality="MR", channels=BOTH)
    np.testing.assert_array_equal(volume.voxels, values)


def test_both_phases_in_one_folder_and_in_series_of_their_own(tmp_path):
    for number, echo_ms in enumerate((4.6, 2.3)):
        write_mr(tmp_path / str(number), echoes_ms=(echo_ms,), subfolders=("",))
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(fake_dicom.files(tmp_path)):
        shutil.copy(path, flat / f"{number}.ima")
    volume = read_dicom(flat, modality="MR")
    assert volume.channels == BOTH
    np.testing.assert_array_equal(volume.voxels[..., 0], volume.voxels[..., 1])


def without_field(kind):
    def edit(image, index):
        del image.MagneticFieldStrength
        phase = kind[0] if image.EchoTime > 3 else kind[1]
        image.ImageType = ["ORIGINAL", "PRIMARY", "M", phase]
        return image

    return edit


@pytest.mark.parametrize("kind", [("IN_PHASE", "OPP_PHASE"), ("IP", "OP")])
def test_image_type_decides_the_phase_if_the_field_is_unknown(tmp_path, kind):
    values = write_mr(tmp_path, edit=without_field(kind))
    volume = read_dicom(tmp_path, modality="MR", channels=BOTH)
    np.testing.assert_array_equal(volume.voxels, values)


def test_other_files_are_skipped(tmp_path):
    write_mr(tmp_path)
    (tmp_path / "notes.txt").write_text("liver, 1 of 2")
    (tmp_path / "._IM1.dcm").write_bytes(b"resource fork")
    (tmp_path / "mask.png").write_bytes(b"\x89PNG" + bytes(300))
    write_series(
        tmp_path / "scout",
        np.zeros((1, 4, 4)),
        geometry=Geometry(shape=(1, 4, 4)),
        modality="MR",
        edit=lambda image, _: setattr_(image, ImageType=["ORIGINAL", "X", "LOCALIZER"]),
    )
    assert read_dicom(tmp_path, modality="MR").voxels.shape == (5, 12, 9, 2)


def test_images_of_another_modality_are_passed_over_with_a_word(tmp_path, caplog):
    values = write_mr(tmp_path / "mr")
    write_ct(tmp_path / "ct")
    with caplog.at_level("INFO", logger="absl"):
        volume = read_dicom(tmp_path, modality="MR", channels=BOTH)
    np.testing.assert_array_equal(volume.voxels, values)
    assert f"{tmp_path}: MR is read, passed over: CT (5 images)" in caplog.text


def test_slices_are_rescaled_one_by_one(tmp_path):
    def edit(image, index):
        return setattr_(image, RescaleSlope=index + 1, RescaleIntercept=-index)

    values = write_mr(tmp_path, edit=edit)
    volume = read_dicom(tmp_path, modality="MR", channels=BOTH)
    index = np.arange(5)[:, None, None, None]
    np.testing.assert_array_equal(volume.voxels, values * (index + 1) - index)


def test_ct_is_in_hounsfield_units_with_padding_as_air(tmp_path):
    def edit(image, index):
        pixels = np.frombuffer(image.PixelData, "<i2").copy()
        pixels[:3] = (-2000, -1500, 63)
        image.PixelRepresentation = 1
        image.PixelPaddingValue = 63
        return setattr_(image, PixelData=pixels.tobytes())

    hu = write_ct(tmp_path, edit=edit)
    volume = read_dicom(tmp_path, modality="CT")
    assert volume.channels == ("hu",) and volume.modality == "CT"
    hu[:, 0, :3] = -1024
    np.testing.assert_array_equal(volume.voxels[..., 0], hu)


def test_unsigned_padding_of_a_signed_header_is_air(tmp_path):
    def edit(image, index):
        pixels = np.frombuffer(image.PixelData, "<u2").copy()
        pixels[0] = 65536 - 2000
        return setattr_(image, PixelData=pixels.tobytes(), PixelPaddingValue=63536)

    write_ct(tmp_path, edit=edit)
    assert (read_dicom(tmp_path, modality="CT").voxels[:, 0, 0] == -1024).all()


def test_compressed_pixels_are_read_or_the_missing_decoder_named(tmp_path, monkeypatch):
    values = write_mr(tmp_path)
    for path in fake_dicom.files(tmp_path):
        image = pydicom.dcmread(path)
        image.compress(RLELossless, generate_instance_uid=False)
        image.save_as(path)
    volume = read_dicom(tmp_path, modality="MR", channels=BOTH)
    np.testing.assert_array_equal(volume.voxels, values)
    decoder = pydicom.pixels.get_decoder(RLELossless)
    monkeypatch.setattr(type(decoder), "is_available", False)
    with pytest.raises(UnusableScan, match=r"RLE .*pip install pyjpegls"):
        read_dicom(tmp_path, modality="MR")


def test_jpeg_2000_is_read_and_damage_refused_that_ends_gdcm(tmp_path):
    fuzzed_scans.write_jpeg_2000(tmp_path)  # asserts that it is read exactly
    path = fake_dicom.files(tmp_path)[0]
    content = bytearray(path.read_bytes())
    size_marker = content.rindex(b"\xff\x4f\xff\x51")
    content[size_marker + 42 : size_marker + 97] = np.random.default_rng(0).bytes(55)
    path.write_bytes(content)
    with pytest.raises(UnusableScan, match=f"{path}: pixels are truncated or damaged"):
        read_dicom(tmp_path, modality="CT")


def test_enhanced_file_is_read_frame_by_frame(tmp_path):
    values = fake_dicom.write_enhanced_mr(tmp_path / "one.dcm")
    volume = read_dicom(tmp_path, modality="MR", channels=("in_phase",))
    np.testing.assert_array_equal(volume.voxels[..., 0], values)
    assert volume.spacing_mm == pytest.approx((6.0, 1.5, 2.25), abs=1e-5)
    assert_landmarks(volume)
    # Frames are stored from top to bottom: slice 0 is the last of them.
    assert [source[0][2] for source in volume.origin.sources] == [5, 4, 3, 2, 1]


def test_origin_holds_the_headers_in_slice_order(tmp_path):
    write_mr(tmp_path)
    origin = read_dicom(tmp_path, modality="MR").origin
    geometry = Geometry()
    for index, (header, sources) in enumerate(
        zip(origin.headers, origin.sources, strict=True)
    ):
        np.testing.assert_allclose(
            header.ImagePositionPatient, geometry.lps(index, 0, 0), atol=1e-5
        )
        assert header.EchoTime == 4.6 and "PixelData" not in header
        assert len({instance for _, instance, _ in sources}) == 2


# --- T2 beside the phases -------------------------------------------------------------


def write_t2(folder, frame="1.2.826.0.1.3680043.8.498.2", header=None, **geometry):
    def edit(image, index):
        return setattr_(
            image, FrameOfReferenceUID=frame, ScanningSequence="SE", **(header or {})
        )

    write_mr(
        folder,
        geometry=Geometry(**geometry),
        echoes_ms=(fake_dicom.T2_MS,),
        subfolders=("",),
        edit=edit,
    )


def test_t2_of_the_same_patient_is_resampled_onto_the_phases(tmp_path):
    write_mr(tmp_path / "T1DUAL")
    # Half a slice and two pixels further out on each side, other spacings.
    start = Geometry().lps(-0.5, -2, -2)
    write_t2(
        tmp_path / "T2SPIR",
        first_lps=tuple(start),
        shape=(5, 18, 16),
        row_mm=1.25,
        column_mm=1.75,
        step_mm=8.0,
    )
    phases = read_dicom(tmp_path, modality="MR")
    assert phases.channels == BOTH
    volume = read_dicom(tmp_path, modality="MR", channels=("t2", *BOTH))
    assert volume.channels == ("t2", *BOTH)
    np.testing.assert_array_equal(volume.affine, phases.affine)
    np.testing.assert_array_equal(volume.voxels[..., 1:], phases.voxels)
    # Landmarks are linear in the position but for rounding to whole numbers.
    assert_landmarks(volume)
    assert read_dicom(tmp_path, modality="MR", channels=("t2",)).voxels.shape[0] == 5


def test_t2_of_another_place_or_frame_of_reference_is_refused(tmp_path):
    write_mr(tmp_path / "T1DUAL")
    for arguments, message in (
        ({"frame": "1.2.3", "step_mm": 7.0}, "frame of reference is 1.2.3"),
        (
            {"first_lps": tuple(Geometry().lps(3, 0, 0))},
            "T2SPIR.*: it reaches the middle of 2 of 5",
        ),
    ):
        write_t2(tmp_path / "T2SPIR", **arguments)
        with pytest.raises(UnusableScan, match=message):
            read_dicom(tmp_path, modality="MR", channels=(*BOTH, "t2"))


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientID", "P-18"),
        ("PatientName", "CHAOS^MR_SET_2"),
        ("PatientBirthDate", "19600102"),
        ("PatientSex", "M"),
    ],
)
@pytest.mark.parametrize("step_mm", [6.0, 7.0])
def test_t2_of_another_patient_is_refused_on_whatever_grid(
    tmp_path, keyword, value, step_mm
):
    write_mr(tmp_path / "T1DUAL")
    write_t2(tmp_path / "T2SPIR", header={keyword: value}, step_mm=step_mm)
    with pytest.raises(UnusableScan, match=f"{keyword} of t2 is '.*{value[-3:]}'"):
        read_dicom(tmp_path, modality="MR", channels=(*BOTH, "t2"))
    # What is not said is not held against it: anonymised scans say little.
    write_t2(tmp_path / "T2SPIR", header={keyword: ""}, step_mm=step_mm)
    read_dicom(tmp_path, modality="MR", channels=(*BOTH, "t2"))


def test_two_studies_without_a_common_frame_of_reference_are_refused(
    tmp_path,
):
    write_mr(tmp_path / "T1DUAL")
    other = {"StudyInstanceUID": "1.2.9"}
    write_t2(tmp_path / "T2SPIR", frame="1.2.3")
    read_dicom(tmp_path, modality="MR", channels=(*BOTH, "t2"))  # on the same grid
    write_t2(tmp_path / "T2SPIR", frame="1.2.3", header=other)
    with pytest.raises(UnusableScan, match="StudyInstanceUID of t2 is '1.2.9'"):
        read_dicom(tmp_path, modality="MR", channels=(*BOTH, "t2"))
    write_t2(tmp_path / "T2SPIR", header=other)
    read_dicom(tmp_path, modality="MR", channels=(*BOTH, "t2"))


def test_phases_of_two_patients_are_refused(tmp_path):
    write_mr(tmp_path / "a", echoes_ms=(4.6,), subfolders=("",))
    write_mr(
        tmp_path / "b",
        echoes_ms=(2.3,),
        subfolders=("",),
        edit=lambda image, index: setattr_(image, PatientID="P-18"),
    )
    with pytest.raises(UnusableScan, match="b/echo0: PatientID of out_of_phase"):
        read_dicom(tmp_path, modality="MR", channels=BOTH)


# --- refusals -------------------------------------------------------------------------


def setattr_(image, **values):
    for keyword, value in values.items():
        setattr(image, keyword, value)
    return image


def at_slice(wanted, **values):
    return lambda image, index: setattr_(image, **values) if index == wanted else image


def drop(wanted):
    return lambda image, index: None if index == wanted else image


def move(wanted, by, geometry=None):
    """Moves a slice by millimetres along the normal."""
    geometry = geometry or Geometry()
    lps = geometry.lps(wanted + by / geometry.step_mm, 0, 0)
    return at_slice(wanted, ImagePositionPatient=[round(v, 6) for v in lps])


def shear(image, index):
    position = np.array(image.ImagePositionPatient, float)
    return setattr_(
        image, ImagePositionPatient=[float(v) for v in position + (0, index, 0)]
    )


def without(*keywords):
    def edit(image, index):
        for keyword in keywords:
            del image[keyword]
        return image

    return edit


def small(image, index):
    if index == 2:
        setattr_(image, Rows=6, PixelData=image.PixelData[: 6 * 9 * 2])
    return image


MR_DEFECTS = {
    "missing slice": (drop(2), "1 missing slice between .* 12.000 mm apart, .* 6.000"),
    "two missing slices": (
        lambda image, index: None if index in (1, 2) else image,
        "2 missing slices between .* 18.000 mm apart, expected 6.000",
    ),
    "uneven": (move(2, 2.0), r"uneven slice positions between .* 4.000 mm .* 6.000"),
    "duplicate": (move(2, 6.0), "duplicate slice position .* and .*; expected one"),
    "tilt tag": (at_slice(1, GantryDetectorTilt=-12.5), "gantry tilt of -12.5 degrees"),
    "sheared": (shear, "gantry tilt or shifted slices: positions run .* degrees off"),
    "orientation": (
        at_slice(3, ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        "mixed orientations",
    ),
    "bent orientation": (
        at_slice(0, ImageOrientationPatient=[1, 0, 0, 0.5, 1, 0]),
        "expected two perpendicular unit vectors",
    ),
    "spacing": (at_slice(3, PixelSpacing=[1.5, 2.2]), "mixed pixel spacings"),
    "size": (small, "mixed image sizes"),
    "no position": (without("ImagePositionPatient"), "has no ImagePositionPatient"),
    "no pixels": (without("PixelData"), "has no pixel data"),
    "no rows": (without("PixelData", "Rows"), "has no pixel data"),
    "colour": (
        at_slice(1, SamplesPerPixel=3, PhotometricInterpretation="RGB"),
        "colour .*3 samples",
    ),
    "localizer": (
        lambda image, _: setattr_(
            image, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
        ),
        "only localizers",
    ),
    "multi-frame": (at_slice(1, NumberOfFrames=3), "without functional groups"),
    "one slice": (
        lambda image, index: image if index == 0 else None,
        "one slice is not a volume",
    ),
    "contradiction": (
        lambda image, _: setattr_(
            image, ImageType=["ORIGINAL", "PRIMARY", "M", "IN_PHASE"]
        ),
        "says in_phase, but EchoTime 2.3 ms is out_of_phase at 1.5",
    ),
    "slope 0": (at_slice(2, RescaleSlope=0, RescaleIntercept=0), "RescaleSlope is 0"),
}


@pytest.mark.parametrize("defect", MR_DEFECTS)
def test_defect_is_refused_with_its_reason(tmp_path, defect):
    edit, reason = MR_DEFECTS[defect]
    write_mr(tmp_path, edit=edit)
    with pytest.raises(UnusableScan, match=reason) as error:
        read_dicom(tmp_path, modality="MR", channels=BOTH)
    assert str(tmp_path) in str(error.value)


def test_truncated_pixels_are_refused_naming_the_file(tmp_path):
    write_mr(tmp_path)
    broken = fake_dicom.files(tmp_path)[3]
    fake_dicom.truncate(broken, keep=0.97)
    with pytest.raises(UnusableScan, match="truncated or damaged") as error:
        read_dicom(tmp_path, modality="MR")
    assert str(broken) in str(error.value)


@pytest.mark.parametrize("percent", [1, 5, 10, 20, 40, 60, 80, 99])
@pytest.mark.parametrize("suffix", ["", ".dcm"])
def test_every_truncation_is_noticed(tmp_path, percent, suffix):
    """Not even of an end slice, which no gap would give away."""
    write_ct(tmp_path)
    for path in fake_dicom.files(tmp_path):
        path.rename(f"{path}{suffix}")
    last = max(
        fake_dicom.files(tmp_path),
        key=lambda path: pydicom.dcmread(path).ImagePositionPatient[2],
    )
    fake_dicom.truncate(last, keep=percent / 100)
    with pytest.raises(UnusableScan) as error:
        read_dicom(tmp_path, modality="CT")
    assert last.name in str(error.value)


def test_empty_and_misnamed_files_are_refused(tmp_path):
    for name, content in (("IM9", b""), ("IM9.dcm", b""), ("IM9.dcm", b"text")):
        write_ct(tmp_path / "ct")
        (tmp_path / "ct" / name).write_bytes(content)
        with pytest.raises(UnusableScan, match=f"{name}: .*expected a DICOM image"):
            read_dicom(tmp_path / "ct", modality="CT")
        shutil.rmtree(tmp_path / "ct")


def test_value_that_is_no_number_is_refused_with_its_file(tmp_path):
    write_mr(tmp_path, echoes_ms=(4.6,), subfolders=("",))
    path = fake_dicom.files(tmp_path)[0]
    data = path.read_bytes()
    assert data.count(b"4.6 ") == 1
    path.write_bytes(data.replace(b"4.6 ", b"4,6 "))
    with pytest.raises(UnusableScan, match="EchoTime") as error:
        read_dicom(tmp_path, modality="MR", channels=("in_phase",))
    assert str(path) in str(error.value)


def test_single_phase_is_refused_unless_requested_alone(tmp_path):
    write_mr(tmp_path, echoes_ms=(4.6,), subfolders=("InPhase",))
    for channels in (BOTH, None):
        with pytest.raises(UnusableScan, match="no out_of_phase image beside in_phase"):
            read_dicom(tmp_path, modality="MR", channels=channels)
    volume = read_dicom(tmp_path, modality="MR", channels=("in_phase",))
    assert volume.voxels.shape == (5, 12, 9, 1)


def test_phases_of_different_length_or_position_are_refused(tmp_path):
    def last_out_of_phase(image, index):
        return None if index == 4 and image.EchoTime < 3 else image

    write_mr(tmp_path / "a", edit=last_out_of_phase)
    with pytest.raises(UnusableScan, match="4 out_of_phase slices and 5 in_phase"):
        read_dicom(tmp_path / "a", modality="MR", channels=BOTH)

    def moved(image, index):
        if image.EchoTime < 3:
            lps = Geometry().lps(index, 0.4, 0)
            image.ImagePositionPatient = [round(v, 6) for v in lps]
        return image

    write_mr(tmp_path / "b", edit=moved)
    with pytest.raises(UnusableScan, match="at different positions"):
        read_dicom(tmp_path / "b", modality="MR", channels=BOTH)


def test_two_candidates_are_refused_with_a_list_of_both(tmp_path):
    write_mr(tmp_path / "before")
    write_mr(tmp_path / "after")
    with pytest.raises(
        UnusableScan, match="several series, expected one in_phase"
    ) as e:
        read_dicom(tmp_path, modality="MR")
    assert "before" in str(e.value) and "after" in str(e.value)
    assert "TE 4.6 ms" in str(e.value)

    write_ct(tmp_path / "ct" / "thin")
    write_ct(tmp_path / "ct" / "thick")
    with pytest.raises(UnusableScan, match="several series, expected one CT series"):
        read_dicom(tmp_path / "ct", modality="CT")


@pytest.mark.parametrize("defect", [{"RescaleType": "US"}, {"RescaleSlope": None}])
def test_ct_without_hounsfield_units_is_refused(tmp_path, defect):
    write_ct(tmp_path, edit=lambda image, _: setattr_(image, **defect))
    with pytest.raises(UnusableScan, match="not Hounsfield units"):
        read_dicom(tmp_path, modality="CT")


def test_folder_without_images_and_bad_arguments_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    message = (
        "no DICOM images .1 other files, such as notes.txt.*zip.*NIfTI, .* or NRRD"
    )
    with pytest.raises(UnusableScan, match=message):
        read_dicom(tmp_path, modality="MR")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_dicom(tmp_path / "nowhere", modality="MR")
    with pytest.raises(ValueError, match="'t1' of MR, expected one of in_phase"):
        read_dicom(tmp_path, modality="MR", channels=("t1",))
    with pytest.raises(ValueError, match="modality is 'PET'"):
        read_dicom(tmp_path, modality="PET")

"""A whole examination gives the right series, or a list of those in question."""

import logging
import shutil

import numpy as np
import pydicom
import pytest
from fake_dicom import (
    AGENT,
    CORONAL,
    IN_PHASE_MS,
    OUT_OF_PHASE_MS,
    T2_MS,
    Geometry,
    write_examination,
    write_sequence,
)
from pydicom.dataelem import RawDataElement

from input_pipeline.scans.dicom_reader import find_contrasts, read_dicom
from input_pipeline.scans.read_scan import find_channels, read_scan
from input_pipeline.volume import UnusableScan

BOTH = ("in_phase", "out_of_phase")


def chosen(volume) -> list[int]:
    """Return the SeriesNumber of each channel."""
    return [entry["series_number"] for entry in volume.origin.choice["chosen"]]


def passed_over(volume) -> dict[int, set[str]]:
    """Return the reasons against each series by its number."""
    reasons = {}
    for entry in volume.origin.choice["passed_over"]:
        reasons.setdefault(entry["series_number"], set()).add(entry["reason"])
    return reasons


@pytest.fixture(scope="module")
def examination(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examination")
    return folder, write_examination(folder)


def test_examination_gives_the_dual_echo_and_says_why_not_the_others(
    examination, caplog
):
    folder, values = examination
    with caplog.at_level(logging.INFO, logger="absl"):
        volume = read_dicom(folder, modality="MR", channels=BOTH)
    np.testing.assert_array_equal(volume.voxels, values)
    assert chosen(volume) == [4, 4]
    agent = "with contrast medium (ContrastBolusAgent)"
    computed = "computed from other images (DERIVED/PRIMARY)"
    needed = "t2, where in_phase, out_of_phase is needed"
    nothing = "neither in phase, out of phase nor T2 by ImageType and TE 4.6 ms"
    assert passed_over(volume) == {
        2: {"mixed orientations"},
        3: {needed},
        5: {"diffusion, b = 50, 800 s/mm2"},
        6: {"diffusion by its ImageType"},
        7: {"a slab of 50 mm"},
        8: {"TE 700 ms, as in MRCP"},
        9: {"fat is suppressed (ScanOptions FS), so it is no phase image"},
        10: {f"{agent}; {computed}", nothing},
        11: {"a subtraction"},
        12: {needed},
        13: {"a map of a computed quantity"},
    }
    for text in ("in_phase is 5 images in", "number 4, TE", "a subtraction"):
        assert text in caplog.text
    for text in ("dual echo", "series 1.2."):  # may name a patient
        assert text not in caplog.text
    assert "MR is read, passed over: CT (5 images)" in caplog.text


def test_t2_of_an_examination_is_the_axial_one_that_is_no_mrcp(examination, tmp_path):
    folder, _ = examination
    volume = read_dicom(folder, modality="MR", channels=("t2", *BOTH))
    assert chosen(volume) == [3, 4, 4]
    assert passed_over(volume)[12] == {"coronal slices, not axial"}
    assert volume.origin.choice["warnings"] == []
    archive = shutil.make_archive(tmp_path / "all", "zip", folder)
    assert find_channels(archive) == dict.fromkeys((*BOTH, "t2"), archive)
    zipped = read_scan(archive, modality="MR", channels=("t2", *BOTH))
    np.testing.assert_array_equal(zipped.voxels, volume.voxels)
    assert zipped.origin.choice == volume.origin.choice


def test_reasons_hold_no_free_text_of_the_headers(examination):
    volume = read_dicom(examination[0], modality="MR", channels=("t2",))
    for text in ("dual", "t2 fs", "gadobutrol", "1.2.826"):
        assert text not in str(volume.origin.choice)


def test_two_breath_holds_are_refused_with_what_tells_them_apart(tmp_path):
    times = ("101500", "102000")
    for number, time in zip((4, 9), times, strict=True):
        write_sequence(tmp_path, number, AcquisitionTime=time, RepetitionTime=100)
    with pytest.raises(UnusableScan) as error:
        read_dicom(tmp_path, modality="MR", channels=BOTH)
    message = str(error.value)
    assert "several series, expected one in_phase and one out_of_phase" in message
    assert message.count("TE 2.3 ms") == message.count("TE 4.6 ms") == 2
    told = "They differ in:\n  SeriesNumber: 4, 9\n  AcquisitionTime: 101500, 102000\n"
    assert told in message
    assert "--series=4" in message and "RepetitionTime" not in message
    for number in (4, 9):
        volume = read_dicom(
            tmp_path, modality="MR", channels=BOTH, series=[str(number)]
        )
        assert chosen(volume) == [number] * 2
        assert passed_over(volume) == {13 - number: {"not named by --series"}}


def test_series_are_named_by_number_uid_or_description(tmp_path):
    write_sequence(tmp_path, 4, series="1.2.4", SeriesDescription="T1 Dual, first")
    write_sequence(tmp_path, 9, series="1.2.9", SeriesDescription="T1 dual, second")

    def read(*series):
        return chosen(read_dicom(tmp_path, modality="MR", channels=BOTH, series=series))

    assert read("1.2.9") == read("9") == read("SECOND") == [9, 9]
    for series, problem in (("1.2", "no MR series"), ("t1 dual", "several series")):
        with pytest.raises(
            UnusableScan, match=f"--series={series} fits {problem}"
        ) as e:
            read(series)
        assert "series 1.2.4" in str(e.value) and "series 1.2.9" in str(e.value)
    with pytest.raises(UnusableScan, match="several series, expected one in_phase"):
        read("4", "9")


def test_series_that_is_named_is_read_with_a_warning_of_what_speaks_against_it(
    examination,
):
    volume = read_dicom(examination[0], modality="MR", channels=BOTH, series=["10"])
    assert chosen(volume) == [10, 10]
    agent = "with contrast medium (ContrastBolusAgent)"
    warnings = [f"{name}: {agent}" for name in BOTH]
    assert volume.origin.choice["warnings"] == warnings
    volume = read_dicom(examination[0], modality="MR", channels=("t2",), series=["8"])
    assert volume.origin.choice["warnings"] == ["t2: TE 700 ms, as in MRCP"]
    assert find_contrasts(examination[0], series=["3"]) == ("t2",)


def test_image_that_is_no_phase_is_refused_unless_it_is_named(tmp_path):
    write_sequence(tmp_path, 9, (OUT_OF_PHASE_MS,), ScanOptions=["PFP", "FS"])
    phase = dict(modality="MR", channels=("out_of_phase",))
    with pytest.raises(
        UnusableScan, match="fat is suppressed .ScanOptions FS"
    ) as error:
        read_dicom(tmp_path, **phase)
    assert "--series=" in str(error.value)
    with pytest.raises(UnusableScan, match="no image is in_phase, .*\n.*fat is suppr"):
        find_contrasts(tmp_path)
    assert chosen(read_dicom(tmp_path, **phase, series=["9"])) == [9]
    assert find_contrasts(tmp_path, series=["9"]) == ("out_of_phase",)


def test_echoes_in_two_series_are_paired_by_their_grid(tmp_path):
    for number, echo_ms in ((4, IN_PHASE_MS), (5, OUT_OF_PHASE_MS)):
        write_sequence(tmp_path, number, (echo_ms,))
        # The same after contrast medium.
        write_sequence(tmp_path, number + 10, (echo_ms,), **AGENT)
    elsewhere = Geometry(first_lps=(-31.5, 17.25, -60.0))
    write_sequence(tmp_path, 6, (OUT_OF_PHASE_MS,), geometry=elsewhere)
    volume = read_dicom(tmp_path, modality="MR", channels=BOTH)
    assert chosen(volume) == [4, 5]
    assert passed_over(volume)[6] == {"no partner in its series or on its grid"}
    assert set(passed_over(volume)) == {6, 14, 15}


def test_cross_pairs_of_two_series_are_not_taken(tmp_path):
    """In phase before the contrast medium, out of phase after it."""
    write_sequence(tmp_path, 4)
    write_sequence(tmp_path, 9, (OUT_OF_PHASE_MS,))
    volume = read_dicom(tmp_path, modality="MR", channels=BOTH)
    assert chosen(volume) == [4, 4]
    assert passed_over(volume) == {9: {"its partner is in another series"}}
    with pytest.raises(UnusableScan, match="several series, expected one out_of_phase"):
        read_dicom(tmp_path, modality="MR", channels=("out_of_phase",))


def test_only_contrast_enhanced_series_is_taken_with_a_warning(tmp_path):
    write_sequence(tmp_path, 4, **AGENT)
    volume = read_dicom(tmp_path, modality="MR", channels=BOTH)
    assert chosen(volume) == [4, 4] and len(volume.origin.choice["warnings"]) == 2
    write_sequence(tmp_path, 5, ContrastBolusAgent="NONE")
    volume = read_dicom(tmp_path, modality="MR", channels=BOTH)
    assert chosen(volume) == [5, 5] and not volume.origin.choice["warnings"]


@pytest.mark.parametrize(
    ("worse", "reason"),
    [
        (
            {"geometry": Geometry(shape=(3, 12, 9))},
            "3 slices over 12 mm, where another",
        ),
        ({"geometry": CORONAL}, "coronal slices, not axial"),
        ({"kind": ("DERIVED", "SECONDARY", "M")}, "computed from other images"),
        ({"kind": ("ORIGINAL", "PRIMARY", "M", "ND")}, "not corrected for distortion"),
    ],
)
def test_worse_of_two_series_is_passed_over_unless_the_other_is_worse_elsewise(
    tmp_path, worse, reason
):
    write_sequence(tmp_path, 9, **worse)
    write_sequence(tmp_path, 4)
    volume = read_dicom(tmp_path, modality="MR", channels=BOTH)
    assert chosen(volume) == [4, 4]
    assert all(text.startswith(reason) for text in passed_over(volume)[9])
    shutil.rmtree(next(tmp_path.glob("S4*")))
    write_sequence(tmp_path, 5, **AGENT)
    with pytest.raises(UnusableScan, match="several series, expected one in_phase"):
        read_dicom(tmp_path, modality="MR", channels=BOTH)


def test_first_echoes_of_many_are_taken(tmp_path):
    write_sequence(tmp_path, 4, (OUT_OF_PHASE_MS, IN_PHASE_MS, 6.9, 9.2))
    volume = read_dicom(tmp_path, modality="MR", channels=BOTH)
    echoes = [entry["echo_time_ms"] for entry in volume.origin.choice["chosen"]]
    assert echoes == [IN_PHASE_MS, OUT_OF_PHASE_MS]
    assert passed_over(volume)[4] == {
        "a later echo than that of 4.6 ms",
        "a later echo than that of 2.3 ms",
    }


@pytest.mark.parametrize(
    "phase",
    [
        {"kind": ("ORIGINAL", "PRIMARY", "P")},
        {"ComplexImageComponent": "PHASE"},
    ],
)
def test_phase_images_beside_the_magnitude_are_passed_over(tmp_path, phase):
    values = write_sequence(tmp_path, 4, series="1.2.4")
    write_sequence(tmp_path, 4, series="1.2.4", **phase)
    volume = read_dicom(tmp_path, modality="MR", channels=BOTH)
    np.testing.assert_array_equal(volume.voxels, values)
    assert len(volume.origin.choice["passed_over"]) == 2


def test_series_with_and_without_a_rescale_slope_are_read_in_the_scanners_units(
    tmp_path,
):
    slope = {"RescaleSlope": 2.5, "RescaleIntercept": 10}
    values = write_sequence(tmp_path, 4, (IN_PHASE_MS,), **slope)
    write_sequence(tmp_path, 5, (OUT_OF_PHASE_MS,))
    volume = read_dicom(tmp_path, modality="MR", channels=BOTH)
    np.testing.assert_array_equal(volume.voxels[..., 0], values[..., 0] * 2.5 + 10)
    np.testing.assert_array_equal(volume.voxels[..., 1], values[..., 0])


def test_two_images_that_a_series_name_cannot_tell_apart_are_refused(tmp_path):
    for norm in ((), ("NORM",)):
        kind = ("ORIGINAL", "PRIMARY", "M", *norm)
        write_sequence(tmp_path, 4, (T2_MS,), kind=kind, series="1.2.4")
    with pytest.raises(UnusableScan, match="several images in one series") as error:
        read_dicom(tmp_path, modality="MR", channels=("t2",))
    assert "--series" not in str(error.value)


@pytest.mark.parametrize(
    "keyword", ["SliceThickness", "SeriesNumber", "DiffusionBValue", "ScanOptions"]
)
def test_damaged_elements_that_nothing_depends_on_are_no_reason_to_refuse(
    tmp_path, keyword
):
    def damage(image, index):
        image[keyword] = RawDataElement(
            pydicom.tag.Tag(keyword), "DS", 4, b"4,6 ", 0, False, True
        )
        return image

    values = write_sequence(tmp_path, 4, edit=damage)
    volume = read_dicom(tmp_path, modality="MR", channels=BOTH)
    np.testing.assert_array_equal(volume.voxels, values)


def test_contradicting_headers_of_another_series_do_not_matter(tmp_path):
    write_sequence(tmp_path, 4)
    write_sequence(tmp_path, 5, (2.3,), kind=("ORIGINAL", "PRIMARY", "M", "IN_PHASE"))
    volume = read_dicom(tmp_path, modality="MR", channels=BOTH)
    assert chosen(volume) == [4, 4]
    # Without the path that the error of such an image names.
    assert passed_over(volume)[5] == {"ImageType and EchoTime contradict each other"}


def test_series_of_volume_files_are_not_named(tmp_path):
    (tmp_path / "in_phase.nii.gz").touch()
    for scan in (tmp_path, tmp_path / "in_phase.nii.gz"):
        with pytest.raises(UnusableScan, match="--series=4 names DICOM series"):
            find_channels(scan, series=["4"])
        with pytest.raises(UnusableScan, match="--series=4 names DICOM series"):
            read_scan(scan, modality="MR", channels=("in_phase",), series=["4"])


def test_real_dual_echo_is_chosen_beside_the_same_after_contrast_medium(
    real_data, tmp_path
):
    folder = real_data / "chaos/Train_Sets/MR/1/T1DUAL"
    for name in ("before", "after"):
        shutil.copytree(folder, tmp_path / name)
    for path in (tmp_path / "after").rglob("*.dcm"):
        image = pydicom.dcmread(path)
        image.SeriesInstanceUID, image.ContrastBolusAgent = "1.2.3", "gadobutrol"
        image.save_as(path)
    both = read_dicom(tmp_path, modality="MR", channels=BOTH)
    expected = read_dicom(folder, modality="MR", channels=BOTH)
    np.testing.assert_array_equal(both.voxels, expected.voxels)
    assert {e["reason"] for e in both.origin.choice["passed_over"]} == {
        "with contrast medium (ContrastBolusAgent)"
    }

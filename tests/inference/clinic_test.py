"""From a whole examination to a CT series, and what is said of the choice."""

import json

import pydicom
import pytest
from tiny_run import tiny_run

from input_pipeline.phantom import draw_subject
from input_pipeline.phantom.dicom import write_dicom
from input_pipeline.volume import UnusableScan
from synthct_jax.translate import choose_shipped, translate


@pytest.fixture
def examination(tmp_path):
    """A phantom's phases, series 1 and 2, and again after contrast medium, 101, 102."""
    subject = draw_subject(77, size=30, spacing_mm=13.0, slices=4, slice_mm=20.0)
    folder = tmp_path / "examination"
    for name in ("before", "after"):
        (folder / name).mkdir(parents=True)
        write_dicom(folder / name, subject)
    for path in (folder / "after").iterdir():
        image = pydicom.dcmread(path)
        image.SeriesNumber += 100
        image.ContrastBolusAgent = "gadobutrol"
        image.save_as(path)
    return folder


def translated(scan, output, **options):
    return translate(str(scan), output, workdir=tiny_run().workdir, **options)


def test_report_says_which_series_were_read_and_which_were_not(examination, tmp_path):
    output = tmp_path / "out"
    report = translated(examination, output)
    assert json.loads((output / "report.json").read_text()) == report
    series = report["series"]
    assert [(s["channel"], s["series_number"]) for s in series["chosen"]] == [
        ("in_phase", 1),
        ("out_of_phase", 2),
    ]
    assert [s["series_number"] for s in series["passed_over"]] == [101, 102]
    reasons = {entry["reason"] for entry in series["passed_over"]}
    assert reasons == {"with contrast medium (ContrastBolusAgent)"}
    assert not any("contrast" in warning for warning in report["warnings"])
    sources = {
        item.ReferencedSOPInstanceUID
        for path in (output / "dicom").iterdir()
        for item in pydicom.dcmread(path).SourceImageSequence
    }
    before = (examination / "before").iterdir()
    assert sources == {pydicom.dcmread(path).SOPInstanceUID for path in before}


def test_named_series_are_translated_with_a_warning(examination, tmp_path):
    report = translated(examination, tmp_path / "out", series=["101", "102"])
    assert [s["series_number"] for s in report["series"]["chosen"]] == [101, 102]
    reasons = {s["reason"] for s in report["series"]["passed_over"]}
    assert reasons == {"not named by --series"}
    assert "in_phase: with contrast medium (ContrastBolusAgent)" in report["warnings"]


def test_named_series_decide_the_shipped_model(examination, tmp_path):
    assert choose_shipped(str(examination))[0] == "in_out_noncontrast"
    assert choose_shipped(str(examination), ["2"])[0] == "out_noncontrast"
    with pytest.raises(UnusableScan, match="--series=7 fits no MR series"):
        translated(examination, tmp_path / "out", series=["7"])
    assert not (tmp_path / "out").exists()

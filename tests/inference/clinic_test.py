"""From a whole examination to a CT series, and what is said of the choice."""

import json
import shutil

import pydicom
import pytest
from absl import flags
from absl.testing import flagsaver
from archive import free_port, orthanc
from programs import need
from tiny_run import tiny_run

from input_pipeline.command_line import USAGE_ERROR, parse_flags
from input_pipeline.phantom import draw_subject
from input_pipeline.phantom.dicom import write_dicom
from input_pipeline.scans import dicom_send
from input_pipeline.volume import UnusableScan
from synthct_jax import main
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


def run(*arguments: str) -> int:
    with flagsaver.flagsaver():
        flags.FLAGS.unparse_flags()
        return main.main(parse_flags(["synthct", *arguments]))


def test_translation_is_sent_and_can_be_sent_again(examination, tmp_path, capsys):
    need("pynetdicom")
    output = tmp_path / "out"
    translate_it = (f"--input={examination}", f"--output={output}")
    translate_it += ("--mode=translate", f"--workdir={tiny_run().workdir}")
    nowhere = f"dicom://ARCHIVE@127.0.0.1:{free_port()}"
    assert run(*translate_it, f"--send={nowhere}") == dicom_send.UNSENT == 69
    printed = capsys.readouterr()
    assert "0 of 4 instances sent" in printed.out
    assert printed.err.count("no connection to 127.0.0.1") == 1
    assert "error: 4 instances were not accepted: no connection" in printed.err
    assert f"synthct send --input={output} --send={nowhere}" in printed.err
    assert len(list((output / "dicom").iterdir())) == 4
    with orthanc(tmp_path / "orthanc") as archive:
        again = ("--mode=send", f"--input={output}", f"--send={archive.dicom}")
        assert run(*again) == 0
        assert "4 of 4 instances sent" in capsys.readouterr().out
        assert len(archive.files()) == 4
        # A translation that fails sends nothing, and a bad address translates nothing.
        failing = (*translate_it[1:], "--input=/nowhere", f"--send={archive.dicomweb}")
        shutil.rmtree(output)
        assert run(*failing) == USAGE_ERROR
        assert len(archive.files()) == 4
        assert run(*translate_it, "--send=archive") == USAGE_ERROR
        assert "expected dicom://AE_TITLE@HOST:PORT" in capsys.readouterr().err
        assert not output.exists()
        assert run(*translate_it, f"--send={archive.dicomweb}") == 0
        assert len(archive.query("series", Modality="CT")) == 2
        assert len(archive.query("studies")) == 1

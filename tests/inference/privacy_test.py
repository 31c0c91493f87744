"""What a scan's headers say of the patient: where it may go, and where it may not."""

import gzip
import json
import shutil

import pydicom
import pytest
from pydicom.datadict import DicomDictionary
from tiny_run import tiny_config, tiny_run

from input_pipeline.phantom import draw_subject
from input_pipeline.phantom.dicom import write_dicom
from input_pipeline.preparation.prepare import prepare
from synthct_jax.inference.export import export
from synthct_jax.train import train
from synthct_jax.translate import translate, translate_all

CANARY, DATE, UID = "CANARY", "19010203", "1.2.3.19010203"
FREE_TEXT = {"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT"}
# The elements of the patient and the study that a CT series keeps (PS3.3 C.7.1, C.7.2).
KEPT = {
    "AccessionNumber", "FrameOfReferenceUID", "IssuerOfPatientID", "PatientBirthDate",
    "PatientID", "PatientName", "PositionReferenceIndicator", "ReferringPhysicianName",
    "StudyDate", "StudyDescription", "StudyID", "StudyInstanceUID",
}  # fmt: skip


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A DICOM folder with canaries in all texts of the standard and a private one."""
    folder = tmp_path_factory.mktemp("scan")
    write_dicom(
        folder, draw_subject(77, size=30, spacing_mm=13.0, slices=4, slice_mm=20.0)
    )
    single = [
        (vr, keyword)
        for tag, (vr, many, _, retired, keyword) in DicomDictionary.items()
        if many == "1" and not retired and tag >> 16 > 2
    ]
    texts = [keyword for vr, keyword in single if vr in FREE_TEXT]
    dates = [keyword for vr, keyword in single if vr == "DA"]
    for number, path in enumerate(sorted(folder.iterdir())):
        image = pydicom.dcmread(path)
        for keyword in texts:
            setattr(image, keyword, CANARY)
        for keyword in dates:
            setattr(image, keyword, DATE)
        image.PatientPosition = "HFP"
        image.StudyInstanceUID = image.FrameOfReferenceUID = UID
        image.SeriesInstanceUID = f"{UID}.{path.name[7]}"  # of series_1_slice_01.dcm
        image.SOPInstanceUID = f"{UID}.9.{number}"
        private = image.private_block(0x0011, CANARY, create=True)
        private.add_new(1, "LO", CANARY)
        image.save_as(path)
    return folder


def files_with(folder, *words):
    """Return the files below a folder that hold one of the words in some encoding."""
    holders = set()
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".gz":
                content = gzip.decompress(content)
            codes = [w.encode(e) for w in words for e in ("utf-8", "utf-16-le")]
            if any(code in content for code in codes):
                holders.add(path)
    return holders


def test_only_patient_and_study_of_the_ct_series_keep_what_headers_say(scan, tmp_path):
    output = tmp_path / "out"
    translate(str(scan), output, workdir=tiny_run().workdir, structures=True)
    holders = files_with(output, CANARY, DATE)
    assert holders == {*(output / "dicom").iterdir(), output / "structures.dcm"}
    for path in holders:
        kept = {
            element.keyword
            for element in pydicom.dcmread(path)
            if CANARY in str(element.value) or DATE in str(element.value)
        }
        # It refers to the images that it was made of; regions to study and space.
        references = {"SourceImageSequence"}
        if path.name == "structures.dcm":
            references = {"ReferencedFrameOfReferenceSequence"}
            references |= {"StructureSetROISequence"}
        assert kept - references == KEPT


def test_pseudonymised_output_says_nothing_of_the_patient(scan, tmp_path, caplog):
    named = tmp_path / CANARY
    shutil.copytree(scan, named)
    image = pydicom.dcmread(min(named.iterdir()))
    image.update({"ImageType": ["DERIVED", "SECONDARY", "MIP"]})
    image.SeriesInstanceUID, image.SOPInstanceUID = f"{UID}.8", f"{UID}.8.1"
    image.SeriesDescription = "WORDS"
    image.save_as(named / "projection.dcm")
    output = tmp_path / "out"
    options = dict(workdir=tiny_run().workdir, pseudonymise=True, structures=True)
    with caplog.at_level("INFO", logger="absl"):
        translate(str(named), output, **options)
    assert "passed over" in caplog.text
    for text in ("WORDS", DATE, UID):
        assert text not in caplog.text
    assert (output / "structures.dcm").exists()
    assert not files_with(output, CANARY, DATE)
    assert json.loads((output / "report.json").read_text())["input"] is None
    before, after = (
        {
            (*image.ImagePositionPatient, image.PatientPosition)
            for image in map(pydicom.dcmread, folder.glob("*.dcm"))
        }
        for folder in (scan, output / "dicom")
    )
    assert after == before
    image = pydicom.dcmread(output / "dicom" / "slice_0001.dcm")
    assert image.PatientIdentityRemoved == "YES" and "SourceImageSequence" not in image


def test_finished_translation_that_names_the_patient_is_not_passed_over(scan, tmp_path):
    shutil.copytree(scan, tmp_path / "patients" / "a")
    options = dict(workdir=tiny_run().workdir)
    arguments = (tmp_path / "patients", tmp_path / "out")
    assert translate_all(*arguments, **options) == (["a"], {})
    done, failures = translate_all(*arguments, **options, pseudonymise=True)
    assert (
        not done
        and "out/a holds a translation that is not pseudonymised" in (failures["a"])
    )
    done, failures = translate_all(*arguments, **options, structures=True)
    assert not done and "a translation without structures.dcm" in failures["a"]
    assert translate_all(*arguments, **options) == (["a"], {})


def test_data_runs_and_models_say_nothing_of_the_patient(scan, tmp_path):
    for number in (1, 2):
        shutil.copytree(scan, tmp_path / "raw" / "mr" / f"{CANARY}_{number}")
    translate(str(scan), tmp_path / "out", workdir=tiny_run().workdir)
    for number in (3, 4):
        ct = tmp_path / "raw" / "ct" / f"{CANARY}_{number}"
        shutil.copytree(tmp_path / "out" / "dicom", ct)
    config = tiny_config(steps=2, evaluate_every=0)
    with config.unlocked():
        del config.phantom
        config.data.source, config.data.spacing_mm = "folder", 13.0
    made = tmp_path / "made"
    prepare(config, tmp_path / "raw", made / "data")
    assert train(config, workdir=made / "run", data_dir=made / "data")
    export(made / "run", made / "model.safetensors")
    # Who the numbered subjects are is in one file, which nobody needs.
    assert files_with(made, CANARY, DATE) == {made / "data" / "subjects.csv"}

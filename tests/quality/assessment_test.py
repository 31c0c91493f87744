"""Quality files of a translation: outcome, refusal, --force, schema, sheet, names."""

import dataclasses
import json

import jsonschema
import pydicom
import pytest
from html_page import HtmlPage
from tiny_model import write_tiny_model
from tiny_run import tiny_config

from input_pipeline.phantom import draw_subject
from input_pipeline.phantom.dicom import write_dicom
from input_pipeline.preparation.prepare import prepare
from input_pipeline.volume import UnusableScan
from synthct_jax.checkpoint.model_file import read_model
from synthct_jax.inference.loaded_model import load_model_file
from synthct_jax.quality.assessment import SCHEMA
from synthct_jax.quality.calibrate import calibrate
from synthct_jax.translate import translate

ABOUT = {
    "data": "made up",
    "volumes": 40,
    "views": 1,
    "deviations": {"warn": 1.2, "refuse": 3.0},
    "alarms": 0.05,
    "body_mae": None,
}
WIDE = {"warn": [-1e4, 1e4], "refuse": [-1e5, 1e5]}
NAME = "CANARY"


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans") / NAME
    folder.mkdir()
    write_dicom(
        folder, draw_subject(77, size=30, spacing_mm=13.0, slices=4, slice_mm=20.0)
    )
    return folder


@pytest.fixture(scope="module")
def model_with(tmp_path_factory):
    """Return a function from limits to a model that has them; it is compiled once."""
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    write_tiny_model(path)
    loaded = load_model_file(str(path))

    def model_with(**limits):
        quality = {**ABOUT, "limits": limits} if limits else None
        model = dataclasses.replace(loaded, quality=quality)
        vars(model)["translator"] = loaded.translator
        return model

    return model_with


def document_of(folder):
    document = json.loads((folder / "quality.json").read_text())
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    return document


def test_healthy_patient_passes_and_the_sheet_shows_what_it_must(
    scan, model_with, tmp_path
):
    model = model_with(**{"in_phase.noise": WIDE, "fat_peak_hu": {"warn": [-1e4, 1e4]}})
    report = translate(str(scan), tmp_path / "out", loaded=model)
    document = document_of(tmp_path / "out")
    assert report["quality"] == document["outcome"] == "pass"
    assert report["warnings"] == document["warnings"] == []
    page = HtmlPage(tmp_path / "out" / "quality.html")
    text = page.visible
    order = ["Pass", document["sentence"], "Middle planes", "Feature", "cannot see"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert "Research only" in text and all(t in text for t in document["not_seen"])
    planes = [name.split(", ")[1] for name in page.pictures[:6]]
    assert planes == ["axial", "coronal", "sagittal"] * 2
    assert len(page.pictures) == 6
    assert page.links == ["viewer.html"]
    assert all(s.startswith("data:image/") for s in page.sources)
    (row,) = (row for row in page.rows if row[0] == "Noise of in_phase")
    assert row[2:] == ["0 to 10000", "0 to 100000"]  # there is no noise below 0
    (row,) = (row for row in page.rows if row[0] == "Mean of the uncertainty")
    assert row[1].startswith("cannot be measured: each slice was translated once")


def test_unusual_patient_gets_a_warning_by_name(scan, model_with, tmp_path):
    never = {"warn": [900.0, 901.0]}
    report = translate(
        str(scan), tmp_path / "out", loaded=model_with(denser_than_alike_hu=never)
    )
    assert report["quality"] == "warn"
    (warning,) = report["warnings"]
    place = "densest place against equally bright ones"
    assert warning.startswith(place) and "expected 900 to 901 HU" in warning
    page = HtmlPage(tmp_path / "out" / "quality.html")
    assert f"1 of 1 features are unusual ({place})" in page.visible
    (row,) = (row for row in page.rows if row[0].startswith(place.capitalize()))
    assert row[0] == f"{place.capitalize()} unusual" and row[2] == "900 to 901"
    assert page.rows[page.rows.index(row) - 1][0] == "Feature"  # it is the first


def test_refused_scan_is_not_written_unless_forced(scan, model_with, tmp_path):
    far = {"warn": [900.0, 901.0], "refuse": [800.0, 950.0]}
    model = model_with(**{"in_phase.noise": far})
    with pytest.raises(
        UnusableScan, match="^--input: unlike .* noise of in_phase is .* 800 to 95"
    ):
        translate(str(scan), tmp_path / "out", loaded=model)
    assert not list(tmp_path.iterdir())
    report = translate(str(scan), tmp_path / "out", loaded=model, force=True)
    document = document_of(tmp_path / "out")
    assert report["quality"] == "refuse" and document["forced"]
    assert "Refused" in HtmlPage(tmp_path / "out" / "quality.html").visible
    image = pydicom.dcmread(tmp_path / "out" / "dicom" / "slice_0001.dcm")
    assert image.SeriesDescription == "synthetic CT, INPUT WAS REFUSED, tiny"
    assert "translated by force" in image.DerivationDescription


def test_error_is_expected_with_the_views_of_the_calibration_alone(
    scan, model_with, tmp_path
):
    fit = {"feature": None, "intercept": 3.0, "slope": 0.0, "residuals": [-0.1, 0.1]}
    model = model_with(**{"in_phase.noise": WIDE})
    for views, is_known in ((1, True), (4, False)):
        quality = {**model.quality, "views": views, "body_mae": fit | {"volumes": 40}}
        other = dataclasses.replace(model, quality=quality)
        vars(other)["translator"] = model.translator
        translate(str(scan), tmp_path / str(views), loaded=other)
        document = document_of(tmp_path / str(views))
        assert (document["body_mae_hu"] is not None) == is_known


def test_model_without_limits_judges_nothing(scan, model_with, tmp_path):
    report = translate(str(scan), tmp_path / "out", loaded=model_with())
    document = document_of(tmp_path / "out")
    assert report["quality"] == "not calibrated" and document["calibration"] is None
    assert {row["verdict"] for row in document["features"]} == {"not judged"}
    assert "Not calibrated" in HtmlPage(tmp_path / "out" / "quality.html").visible


def test_quality_files_say_nothing_of_a_pseudonymised_patient(
    scan, model_with, tmp_path
):
    for pseudonymise in (False, True):
        output = tmp_path / f"out_{pseudonymise}"
        translate(str(scan), output, loaded=model_with(), pseudonymise=pseudonymise)
        for name in ("quality.json", "quality.html"):
            assert (NAME in (output / name).read_text()) != pseudonymise
        assert NAME not in (output / "viewer.html").read_text()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Prepared data of eleven people, one of them without CT."""
    folder = tmp_path_factory.mktemp("data") / "prepared"
    config = tiny_config()
    config.phantom.update(train_mr=1, train_ct=1, validation=1, test=9, slices=3)
    prepare(config, None, folder)
    return folder


def test_calibration_writes_limits_that_travel_with_the_model(scan, data, tmp_path):
    path, output = (tmp_path / f"{name}.safetensors" for name in ("tiny", "new"))
    write_tiny_model(path)
    quality = calibrate(str(path), data, output)
    assert quality["volumes"] == 11
    # With pixels of 12 mm the sides of some bodies look straight.
    assert quality["limits"]["flat_edge_mm"]["warn"][1] == 120
    assert 0.05 < quality["alarms"] < 0.5
    assert {"in_phase.noise", "fat_peak_hu"} <= quality["limits"].keys()
    assert "slices" not in quality["limits"]  # all have three
    assert quality["body_mae"]["volumes"] == 10
    before, after = (read_model(str(p)) for p in (path, output))
    assert after.card["quality"] == quality
    assert after.card["weights_sha256"] == before.card["weights_sha256"]
    report = translate(str(scan), tmp_path / "out", model=str(output), force=True)
    document = document_of(tmp_path / "out")
    assert report["quality"] in ("pass", "warn", "refuse")
    assert document["calibration"]["data"] == "simulated people, 11 volumes"
    assert document["body_mae_hu"]["low"] <= document["body_mae_hu"]["high"]


def test_calibration_refuses_data_of_other_pixels(data, tmp_path):
    config = tiny_config()
    config.data.size = 48
    path, output = (tmp_path / f"{name}.safetensors" for name in ("tiny", "new"))
    write_tiny_model(path, config)
    with pytest.raises(ValueError, match="data.size is 48, but the data were prepared"):
        calibrate(str(path), data, output)
    assert not output.exists()

import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import fake_dicom
import jax
import matplotlib.image
import nibabel
import numpy as np
import pydicom
import pytest
import scipy.ndimage
from paths import REPOSITORY
from tiny_run import STEPS, tiny_run

from input_pipeline.phantom import draw_subject
from input_pipeline.scans.nifti import write_nifti
from input_pipeline.scans.read_scan import read_scan
from input_pipeline.volume import UnusableScan, Volume, to_axial
from synthct_jax import configs, translate
from synthct_jax.checkpoint import metadata, model_file
from synthct_jax.checkpoint.metadata import DamagedCheckpoint
from synthct_jax.evaluation import evaluate
from synthct_jax.inference import loaded_model, translator
from synthct_jax.inference.export import export
from synthct_jax.inference.loaded_model import load_model
from synthct_jax.inference.synthesis import synthesise
from synthct_jax.inference.translator import Translator
from synthct_jax.layers.cpu import onednn

CHANNELS = ("in_phase", "out_of_phase")


def phantom_volume():
    """A subject that nobody trained on, 30 x 30 pixels: not the `size_multiple`."""
    subject = draw_subject(77, size=30, spacing_mm=13.0, slices=4, slice_mm=20.0)
    return Volume(
        voxels=subject.mr[..., :2],
        affine=subject.affine,
        modality="MR",
        channels=CHANNELS,
    )


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """The subject as NIfTI files in another order: slices first, and flipped."""
    folder = tmp_path_factory.mktemp("scan")
    for c, name in enumerate(CHANNELS):
        volume = phantom_volume()
        write_nifti(folder / "axial.nii.gz", volume.voxels[..., c], volume)
        image = nibabel.load(folder / "axial.nii.gz")
        image = image.as_reoriented(
            nibabel.orientations.ornt_transform(
                nibabel.io_orientation(image.affine),
                nibabel.orientations.axcodes2ornt("SAR"),
            )
        )
        nibabel.save(image, folder / f"{name}.nii.gz")
        (folder / "axial.nii.gz").unlink()
    return ",".join(str(folder / f"{name}.nii.gz") for name in CHANNELS)


@pytest.fixture(scope="module")
def translated(scan, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "new" / "patient"
    report = translate.translate(scan, output, workdir=tiny_run().workdir)
    return output, report


def test_output_is_complete(translated):
    output, report = translated
    assert sorted(path.name for path in output.iterdir()) == [
        "dicom",
        "preview.png",
        "quality.html",
        "quality.json",
        "report.json",
        "synthetic_ct.nii.gz",
        "viewer.html",
    ]
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    assert json.loads((output / "report.json").read_text()) == report
    assert report["generator"]["step"] == 4  # the best validated
    assert report["mr_channels"] == list(CHANNELS)
    assert report["versions"]["jax"]
    assert "not a medical device" in report["notice"]
    assert report["grid"]["slices_rows_columns"] == [4, 30, 30]
    assert report["grid"]["spacing_mm"] == [20, 13, 13]
    fractions = report["hu"]["fraction_of_body"]
    assert sum(fractions.values()) == pytest.approx(1, abs=1e-3)
    picture = matplotlib.image.imread(output / "preview.png")
    assert min(picture.shape[:2]) > 400
    assert picture[..., :3].std() > 0.05


def test_several_views_give_an_uncertainty_on_the_mr_grid(translated, scan, tmp_path):
    one = translated[1]
    assert one["views"] == 1 and one["uncertainty_hu"] is None
    output, workdir = tmp_path / "out", tiny_run().workdir
    report = translate.translate(scan, output, workdir=workdir, views=2)
    image = nibabel.load(output / "uncertainty.nii.gz")
    ct = nibabel.load(output / "synthetic_ct.nii.gz")
    np.testing.assert_array_equal(image.affine, ct.affine)
    spread = np.asarray(image.dataobj)
    assert spread.shape == ct.shape and spread.min() == 0
    assert report["views"] == 2
    uncertainty = report["uncertainty_hu"]
    assert 0 < uncertainty["mean"] < uncertainty["percentile_95"] <= spread.max() + 0.1
    assert not (output / "structures.dcm").exists()
    with pytest.raises(ValueError, match="views is 3, expected one of"):
        translate.translate(scan, tmp_path / "none", workdir=workdir, views=3)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("inside", [40, -1000])
def test_hu_are_counted_without_the_rim_of_air(scan, tmp_path, monkeypatch, inside):
    def with_air_at_the_skin(loaded, network_input):
        core = scipy.ndimage.binary_erosion(network_input.body, np.ones((1, 3, 3)))
        yield np.where(core, inside, -1000.0), np.zeros(core.shape)

    monkeypatch.setattr(translate, "translate_input", with_air_at_the_skin)
    report = translate.translate(scan, tmp_path / "out", workdir=tiny_run().workdir)
    if inside == -1000:
        assert report["hu"] is None
        return
    assert {report["hu"][name] for name in ("mean", "percentile_1", "median")} == {40}
    assert report["hu"]["fraction_of_body"]["soft_tissue"] == 1


@pytest.mark.parametrize("views", [1, 2])
def test_structures_are_the_body_and_where_views_disagree(scan, tmp_path, views):
    options = dict(workdir=tiny_run().workdir, views=views, structures=True)
    translate.translate(scan, tmp_path / "out", **options)
    structures = pydicom.dcmread(tmp_path / "out" / "structures.dcm")
    names = [region.ROIName for region in structures.StructureSetROISequence]
    assert names == ["BODY", "SPREAD_20HU"][:views]
    body = structures.ROIContourSequence[0].ContourSequence
    slices = map(pydicom.dcmread, (tmp_path / "out" / "dicom").iterdir())
    uids = {image.SOPInstanceUID for image in slices}
    assert uids == {
        item.ReferencedSOPInstanceUID
        for contour in body
        for item in contour.ContourImageSequence
    }
    kinds = [o.RTROIInterpretedType for o in structures.RTROIObservationsSequence]
    assert kinds == ["EXTERNAL", ""][:views]


def test_nifti_has_the_mr_grid(translated, scan):
    output, _ = translated
    ct = nibabel.load(output / "synthetic_ct.nii.gz")
    mr = nibabel.load(scan.split(",")[0])
    assert ct.shape == mr.shape
    np.testing.assert_allclose(ct.affine, mr.affine, atol=1e-4)
    hu = np.asarray(ct.dataobj)
    assert hu.dtype == np.int16
    assert -1024 <= hu.min() and hu.max() <= 3071


def test_dicom_series_and_nifti_have_the_same_voxels(translated):
    output, _ = translated
    series = to_axial(read_scan(output / "dicom", modality="CT"))
    nifti = to_axial(
        read_scan(output / "synthetic_ct.nii.gz", modality="CT", channels=("hu",))
    )
    np.testing.assert_array_equal(series.voxels, nifti.voxels)
    np.testing.assert_allclose(series.affine, nifti.affine, atol=1e-4)


def test_outside_of_the_body_is_air(translated, scan):
    output, _ = translated
    hu = to_axial(
        read_scan(output / "synthetic_ct.nii.gz", modality="CT", channels=("hu",))
    ).voxels[..., 0]
    mr = phantom_volume().voxels[..., 0]
    body = mr > 0.2 * mr.max()
    assert (hu[:, :2] == -1024).all() and (hu[:, :, :1] == -1024).all()
    assert (hu[body] > -1024).mean() > 0.9


def test_hu_are_independent_of_the_field_of_view():
    run = tiny_run()
    model = load_model(run.workdir, STEPS)
    volume = phantom_volume()
    body = volume.voxels.max(axis=-1, keepdims=True) > 0.2 * volume.voxels.max()
    voxels = np.where(body, volume.voxels, 0)
    narrow = dataclasses.replace(volume, voxels=voxels)
    border = ((0, 0), (12, 8), (5, 9), (0, 0))
    wide = dataclasses.replace(volume, voxels=np.pad(voxels, border))
    hu, in_wide = (
        np.concatenate([hu for hu, _ in synthesise(model, volume)[0]])
        for volume in (narrow, wide)
    )
    np.testing.assert_allclose(in_wide[:, 12:-8, 5:-9], hu, atol=0.5)


def test_hu_are_independent_of_the_batch(monkeypatch):
    model = load_model(tiny_run().workdir, STEPS)
    translate = Translator(model.method, model.data, stored_channels=CHANNELS)
    rng = np.random.default_rng(0)
    slices = translator.BATCH * jax.local_device_count() + 3
    stored = rng.integers(0, 16384, (slices, 32, 32, 2), np.int16)
    hu = translate(model.params, stored)
    assert hu.shape == stored.shape[:3] and hu.dtype == np.float32
    np.testing.assert_allclose(hu[:5], translate(model.params, stored[:5]), atol=0.1)
    last = translate(model.params, stored[-2:])
    np.testing.assert_allclose(hu[-2:], last, atol=0.1)
    # Larger slices go in smaller batches, and accelerators are kept busy meanwhile.
    monkeypatch.setattr(translator, "_PIXELS_OF_SLICE", 32 * 32 * 3 // translator.BATCH)
    translate._ahead = 1 - translate._ahead
    np.testing.assert_allclose(translate(model.params, stored), hu, atol=0.1)


def test_onednn_translation_gathers_no_slices_between_devices(monkeypatch):
    """Whatever computes the products: XLA cannot split those that are not its own."""
    if not onednn.available():
        pytest.skip("XLA's own are split by it")
    monkeypatch.setattr(onednn, "LEAST_FLOPS", 0)
    model = load_model(tiny_run().workdir, STEPS)
    translate = Translator(model.method, model.data, stored_channels=CHANNELS)
    stored = np.random.default_rng(0).integers(0, 16384, (5, 32, 32, 2), np.int16)
    hu = translate(model.params, stored)
    slices = jax.device_put(np.zeros((4, 32, 32, 2), np.float32), translate._split)
    params = jax.device_put(model.params, translate._replicated)
    program = translate._to_ct.lower(params, slices).compile().as_text()
    assert onednn.TARGET in program
    assert "all-gather" not in program
    monkeypatch.setattr(onednn, "LEAST_FLOPS", math.inf)
    xlas = Translator(model.method, model.data, stored_channels=CHANNELS)
    np.testing.assert_allclose(hu, xlas(model.params, stored), atol=0.5)


def test_mr_channels_are_selected_by_name():
    model = load_model(tiny_run().workdir, STEPS)
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 16384, (2, 32, 32, 3), np.int16)
    in_out = Translator(model.method, model.data, stored_channels=CHANNELS)
    other = Translator(
        model.method, model.data, stored_channels=("t2", "out_of_phase", "in_phase")
    )
    np.testing.assert_array_equal(
        in_out(model.params, stored[..., :2]),
        other(model.params, stored[..., [2, 1, 0]]),
    )
    with pytest.raises(ValueError, match="no MR channel out_of_phase among in_phase"):
        Translator(model.method, model.data, stored_channels=("in_phase",))


def test_dicom_series_keeps_the_geometry_of_the_mr(tmp_path):
    geometry = fake_dicom.Geometry(shape=(4, 33, 35), row_mm=9.0, column_mm=11.0)
    fake_dicom.write_mr(tmp_path / "mr", geometry=geometry)
    workdir = tiny_run().workdir
    translate.translate(str(tmp_path / "mr"), tmp_path / "from_dicom", workdir=workdir)
    mr = read_scan(tmp_path / "mr", modality="MR", channels=CHANNELS)
    for c, name in enumerate(CHANNELS):
        write_nifti(tmp_path / f"{name}.nii.gz", mr.voxels[..., c], mr)
    files = ",".join(str(tmp_path / f"{name}.nii.gz") for name in CHANNELS)
    translate.translate(files, tmp_path / "from_nifti", workdir=workdir)
    from_dicom, from_nifti = (
        nibabel.load(tmp_path / source / "synthetic_ct.nii.gz")
        for source in ("from_dicom", "from_nifti")
    )
    np.testing.assert_array_equal(from_dicom.dataobj, from_nifti.dataobj)
    np.testing.assert_allclose(from_dicom.affine, from_nifti.affine, atol=1e-4)

    def by_position(folder):
        images = [pydicom.dcmread(path) for path in fake_dicom.files(folder)]
        return {
            tuple(map(float, image.ImagePositionPatient)): image for image in images
        }

    ct = by_position(tmp_path / "from_dicom" / "dicom")
    source = by_position(tmp_path / "mr" / "InPhase")
    assert ct.keys() == source.keys()
    for position, image in ct.items():
        for keyword in ("FrameOfReferenceUID", "ImageOrientationPatient", "PatientID"):
            assert image[keyword].value == source[position][keyword].value
        assert image.SeriesInstanceUID != source[position].SeriesInstanceUID
        assert image.SeriesDescription == "synthetic CT, step 4"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The path of the run's model, and its card."""
    folder = tmp_path_factory.mktemp("models")
    path, facts = folder / "tiny.safetensors", folder / "facts.json"
    facts.write_text('{"contrast_medium": "non_contrast", "numbers": {}}')
    return path, export(tiny_run().workdir, path, card=facts)


def test_exported_model_translates_as_its_checkpoint(
    translated, scan, exported, tmp_path, monkeypatch
):
    """By its name, chosen for the channels in the names of the files."""
    path, card = exported
    monkeypatch.setattr(model_file, "SHIPPED", path.parent)
    swapped = ",".join(reversed(scan.split(",")))
    report = translate.translate(swapped, tmp_path / "ct")
    assert report["generator"] == {
        "model": "tiny",
        "digest": card["digest"],
        "intended_use": "research, not for clinical use",
    }
    image = pydicom.dcmread(next((tmp_path / "ct" / "dicom").iterdir()))
    assert f"; model tiny, digest {card['digest']}" in image.DerivationDescription
    assert report["mr_channels"] == list(CHANNELS)
    assert report["warnings"] == translated[1]["warnings"]
    by_model, by_checkpoint = (
        np.asarray(nibabel.load(folder / "synthetic_ct.nii.gz").dataobj)
        for folder in (tmp_path / "ct", translated[0])
    )
    np.testing.assert_allclose(by_model, by_checkpoint, atol=5)
    assert card["trained_on"] == "phantom: MR of 2, CT of 3 subjects"
    assert set(card["training_mr"]) >= {"body_fraction", "percentiles"}


def test_exported_model_is_evaluated_without_its_run(exported, monkeypatch):
    path, card = exported
    monkeypatch.setattr(evaluate, "evaluate", lambda *args, **options: (args, options))
    (model, dataset), options = evaluate.evaluate_model(
        str(path), data_dir=tiny_run().data_dir, output_dir=path.parent / "out"
    )
    mr = next(iter(dataset.subjects("mr", options["split"]))).stored[:1]
    assert model.translate(mr).shape == mr.shape[:3]
    assert model.cycle is None  # a model file has no way back
    assert options["provenance"]["digest"] == card["digest"]


def test_fields_that_cannot_be_stated_are_named(tmp_path):
    card = tmp_path / "facts.json"
    output = tmp_path / "a.safetensors"
    for text, message in (
        ('{"weights_sha256": "0"}', "the field 'weights_sha256', expected trained_on"),
        ('{"licence": 2}', "licence of .* is 2, expected a text"),
        ('{"numbers": {"mae": NaN}}', "facts.json is no JSON"),
    ):
        card.write_text(text)
        with pytest.raises(ValueError, match=message):
            export(tiny_run().workdir, output, card=card)
    assert list(tmp_path.iterdir()) == [card]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (OSError("no space left on device"), "no space"),
        (None, "slices 2 to 3 hold NaN"),
    ],
)
def test_failed_translation_leaves_no_output(
    answer, message, scan, tmp_path, monkeypatch
):
    """In the second batch: slices of the first are written by then."""
    written = []

    def answers(self, params, stored):
        zeros = np.zeros((2, *stored.shape[1:3]), np.float32)
        yield zeros, zeros
        written.extend(tmp_path.rglob("slice_*.dcm"))
        if answer:
            raise answer
        yield np.nan + zeros, zeros

    monkeypatch.setattr(translator.Translator, "stream", answers)
    with pytest.raises((OSError, FloatingPointError), match=message):
        translate.translate(scan, tmp_path / "out", workdir=tiny_run().workdir)
    assert len(written) == 2
    assert not list(tmp_path.iterdir())


WAITING = """
import time
from input_pipeline.files import new_folder
from synthct_jax import main, translate

def wait(scan, output, **_):
    with new_folder(output) as folder:
        (folder / "half").write_text("done")
        print("ready", flush=True)
        time.sleep(60)

translate.translate = wait
main.run()
"""


def test_terminated_translation_leaves_no_output(tmp_path):
    flags = ["--mode=translate", "--workdir=run", "--input=mr", "--output=ct"]
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, *flags],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "ready\n"
        assert list(tmp_path.rglob("half"))
        process.terminate()
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())


def test_existing_output_is_not_touched(scan, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="expected an empty folder"):
        translate.translate(scan, tmp_path, workdir=tiny_run().workdir)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_missing_channel_is_named(scan, tmp_path):
    with pytest.raises(UnusableScan) as error:
        translate.translate(
            scan.split(",")[0], tmp_path / "out", workdir=tiny_run().workdir
        )
    assert "1 file given, 2 channels expected" in str(error.value)
    assert "trained on 2 MR channels: in_phase, out_of_phase" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_empty_volume_is_refused(tmp_path):
    volume = phantom_volume()
    for name in CHANNELS:
        write_nifti(
            tmp_path / f"{name}.nii.gz", np.zeros(volume.voxels.shape[:3]), volume
        )
    files = ",".join(str(tmp_path / f"{name}.nii.gz") for name in CHANNELS)
    with pytest.raises(UnusableScan, match="no body was found"):
        translate.translate(files, tmp_path / "out", workdir=tiny_run().workdir)


def test_missing_step_is_named(scan, tmp_path):
    with pytest.raises(FileNotFoundError, match="step 5, it has: 4, 6"):
        translate.translate(scan, tmp_path / "out", workdir=tiny_run().workdir, step=5)


def test_checkpoint_gets_fields_that_were_added_later_and_no_others(monkeypatch):
    def read_with(name, added):
        config = configs.default.get_config()
        with config.unlocked():
            config.loss[name] = 8.0
        monkeypatch.setattr(metadata, "get_config", lambda: config)
        monkeypatch.setattr(metadata, "_ADDED", added)
        return load_model(tiny_run().workdir).config["loss"][name]

    assert read_with("later", {"loss.later": 1.0}) == 1.0
    with pytest.raises(DamagedCheckpoint, match="configuration lacks loss.other"):
        read_with("other", {})


def test_patients_of_a_folder_are_translated_and_one_failure_stops_nobody(
    scan, tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO", logger="absl")
    made = []

    def make(*arguments, **options):
        made.append(Translator(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(loaded_model, "Translator", make)
    patients, output = tmp_path / "patients", tmp_path / "out"
    for name in ("anna", "berta", "clara"):
        (patients / name).mkdir(parents=True)
        for file in scan.split(","):
            shutil.copy(file, patients / name / Path(file).name)
    (patients / "cut.zip").write_bytes(b"PK")
    (output / "anna").mkdir(parents=True)
    (output / "anna" / "report.json").write_text("{}")  # done by an earlier call
    workdir = tiny_run().workdir
    done, failures = translate.translate_all(patients, output, workdir=workdir)
    assert done == ["anna", "berta", "clara"] and "not a usable zip" in failures["cut"]
    assert len(made) == 1  # compiled for berta, and used for clara
    assert sum(message.startswith("Compiling the") for message in caplog.messages) == 1
    assert sorted(path.name for path in output.iterdir()) == done
    assert (output / "anna" / "report.json").read_text() == "{}"
    report = json.loads((output / "berta" / "report.json").read_text())
    assert report["input"] == str(patients / "berta")
    shutil.copy(scan.split(",")[0], patients)
    with pytest.raises(ValueError, match="the name is that of one channel"):
        translate.translate_all(patients, output, workdir=workdir)

"""A model that was trained with and without each phase, as a user has it."""

import dataclasses
import json
import shutil
from pathlib import Path

import fake_dicom
import numpy as np
import pytest
from saved_states import assert_same_run
from tiny_model import write_tiny_model
from tiny_run import tiny_config, tiny_run

from input_pipeline.phantom import draw_subject
from input_pipeline.preparation import prepare
from input_pipeline.scans.nifti import write_nifti
from input_pipeline.volume import UnusableScan, Volume
from synthct_jax import train
from synthct_jax.evaluation import evaluate
from synthct_jax.inference.export import export
from synthct_jax.inference.loaded_model import load_model, load_model_file
from synthct_jax.inference.synthesis import synthesise
from synthct_jax.translate import translate, translate_all

PHASES = ("in_phase", "out_of_phase")
STEPS = 4


def dropout_config(**fields):
    config = tiny_config(steps=STEPS, evaluate_every=0, **fields)
    config.data.channel_dropout = 0.5
    return config


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """The folder of a run with channel dropout."""
    workdir = tmp_path_factory.mktemp("dropout") / "run"
    assert train.train(dropout_config(), workdir=workdir, data_dir=tiny_run().data_dir)
    return workdir


@pytest.fixture(scope="module")
def mr():
    subject = draw_subject(77, size=32, spacing_mm=12.0, slices=3, slice_mm=20.0)
    return Volume(
        voxels=subject.mr[..., :2],
        affine=subject.affine,
        modality="MR",
        channels=PHASES,
    )


@pytest.fixture(scope="module")
def patients(mr, tmp_path_factory):
    """A folder of three patients: both phases, and one without each."""
    folder = tmp_path_factory.mktemp("scans") / "patients"
    scans = {"both": PHASES, "in": PHASES[:1], "out": PHASES[1:]}
    for patient, names in scans.items():
        (folder / patient).mkdir(parents=True)
        for name in names:
            image = mr.voxels[..., PHASES.index(name)]
            write_nifti(folder / patient / f"{name}.nii.gz", image, mr)
    return folder


def hu_of(model, mr: Volume, *names: str) -> np.ndarray:
    channels = [PHASES.index(name) for name in names]
    mr = dataclasses.replace(mr, voxels=mr.voxels[..., channels], channels=names)
    return np.concatenate([hu for hu, _ in synthesise(model, mr)[0]])


def test_one_model_translates_patients_with_both_phases_or_either(
    workdir, patients, tmp_path
):
    done, failures = translate_all(patients, tmp_path, workdir=workdir)
    assert done == ["both", "in", "out"] and not failures
    both, in_alone, out_alone = (
        json.loads((tmp_path / name / "report.json").read_text()) for name in done
    )
    assert both["mr_channels"] == list(PHASES)
    assert in_alone["mr_channels"] == ["in_phase"]
    assert out_alone["mr_channels"] == ["out_of_phase"]
    missing = "there is no in_phase: the CT is of out_of_phase alone"
    assert any(text.startswith(missing) for text in out_alone["warnings"])
    assert not any("there is no" in text for text in both["warnings"])
    file = patients / "in" / "in_phase.nii.gz"
    report = translate(str(file), tmp_path / "file", workdir=workdir)
    assert report["hu"] == in_alone["hu"] != both["hu"]


@pytest.mark.slow
def test_run_resumes_bit_for_bit(workdir, tmp_path):
    resumed = shutil.copytree(workdir, tmp_path / "run")
    shutil.rmtree(resumed / "checkpoints" / str(STEPS))
    assert train.train(dropout_config(), workdir=resumed, data_dir=tiny_run().data_dir)
    assert_same_run(resumed, workdir, step=STEPS)


def test_series_of_one_phase_is_translated(workdir, tmp_path):
    geometry = fake_dicom.Geometry(shape=(4, 33, 35), row_mm=9.0, column_mm=11.0)
    fake_dicom.write_mr(tmp_path / "mr", geometry=geometry)
    only = str(tmp_path / "mr" / "OutPhase")
    report = translate(only, tmp_path / "out", workdir=workdir)
    assert report["mr_channels"] == ["out_of_phase"]


def test_card_and_python_know_what_may_be_missing(workdir, mr, tmp_path):
    card = export(workdir, tmp_path / "tiny.safetensors")
    assert card["optional_inputs"] == list(PHASES)
    model = load_model_file(str(tmp_path / "tiny.safetensors"))
    hus = [hu_of(model, mr, *names) for names in (PHASES, PHASES[:1], PHASES[1:])]
    body = mr.voxels[..., 0] > 0.2 * mr.voxels[..., 0].max()
    assert all(np.isfinite(hu).all() and hu[body].std() > 1 for hu in hus)
    for hu, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(hus[hu] - hus[other]).max() > 1
    with pytest.raises(ValueError, match="no MR channel in_phase, out_of_phase among"):
        model.with_channels(["t2"])


def test_model_that_always_saw_both_refuses_one(mr, patients, tmp_path):
    reason = "trained on 2 MR channels: in_phase, out_of_phase, always with all of them"
    run = tiny_run()
    for scan in (patients / "in", patients / "in" / "in_phase.nii.gz"):
        with pytest.raises(UnusableScan, match=reason):
            translate(str(scan), tmp_path / "out", workdir=run.workdir)
    assert not list(tmp_path.iterdir())
    model = load_model(run.workdir)
    with pytest.raises(ValueError, match=f"channel in_phase among out_.*{reason}"):
        hu_of(model, mr, "out_of_phase")


def test_limits_of_complete_mr_judge_no_other(tmp_path):
    config = dropout_config()
    write_tiny_model(tmp_path / "a.safetensors", config, quality={"limits": {}})
    model = load_model_file(str(tmp_path / "a.safetensors"))
    assert model.with_channels(PHASES) is model and model.quality
    alone = model.with_channels(["t2", "in_phase"])
    assert alone.quality is None and alone.data["mr_channels"] == ("in_phase",)
    assert model.with_channels(["in_phase"]) is alone  # compiled once


@pytest.fixture(scope="module")
def out_alone_data(tmp_path_factory) -> Path:
    config = tiny_config()
    config.data.mr_channels = ("out_of_phase",)
    data_dir = tmp_path_factory.mktemp("data") / "out"
    prepare.prepare(config, None, data_dir)
    return data_dir


def test_network_takes_the_phase_that_data_have(workdir, out_alone_data, monkeypatch):
    monkeypatch.setattr(evaluate, "evaluate", lambda *args, **options: (args, options))
    (model, dataset), options = evaluate.evaluate_run(
        workdir, data_dir=out_alone_data, output_dir=workdir / "out_alone"
    )
    assert model.channels == ("out_of_phase",)
    assert options["provenance"]["config"]["data"]["mr_channels"] == model.channels
    assert options["output_dir"] == workdir / "out_alone"
    with pytest.raises(ValueError, match="has out_of_phase alone.* by --output"):
        evaluate.evaluate_run(workdir, data_dir=out_alone_data)
    stored = next(dataset.subjects("mr", "test")).stored
    cycled = model.cycle(model.translate(stored))
    assert cycled.shape == model.network_input(stored).shape == (*stored.shape[:3], 1)
    with pytest.raises(ValueError, match="no MR channel in_phase among out_of_phase"):
        evaluate.evaluate_run(tiny_run().workdir, data_dir=out_alone_data)


@pytest.mark.slow
def test_data_without_a_phase_are_evaluated(workdir, out_alone_data, tmp_path):
    done = evaluate.evaluate_run(
        workdir, data_dir=out_alone_data, output_dir=tmp_path / "out"
    )
    assert np.isfinite(done.results.interval("mae").value)
    metrics = {row.metric for row in done.results.rows}
    assert "cycle_out_of_phase" in metrics and "cycle_in_phase" not in metrics

"""The mode from the command line to its report; skipped without pyRadPlan."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest
from paths import PYTHONPATH
from tiny_model import write_tiny_model
from tiny_run import tiny_config

from input_pipeline.preparation.prepare import prepare
from input_pipeline.scans.nifti import write_nifti
from input_pipeline.volume import Volume

pytest.importorskip("pyRadPlan")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a model of random weights, and drawn people."""
    folder = tmp_path_factory.mktemp("dose")
    write_tiny_model(folder / "random.safetensors")
    config = tiny_config()
    config.phantom.update(train_mr=1, train_ct=1, validation=1, test=1, slices=14)
    config.data.update(size=96, spacing_mm=4.0)
    prepare(config, None, folder / "data")
    return folder


def synthct(folder, *arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "synthct_jax.main", "--mode=dose", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        capture_output=True,
        text=True,
    )


def test_a_model_is_checked_on_drawn_people(folder):
    arguments = (
        "--model=random.safetensors",
        "--data_dir=data",
        "--output=out",
        "--radiation=protons",
    )
    done = synthct(folder, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Report: out/report.html\n"
    assert "liver, protons" in (folder / "out" / "report.html").read_text()
    lines = csv.DictReader((folder / "out" / "dose.csv").read_text().splitlines())
    rows = {
        (r["method"], r["plan"], r["structure"], r["quantity"]): r["value"]
        for r in lines
        if not r["subject"]
    }
    for plan in ("liver_protons", "spine_protons"):
        prescribed = float(rows["reference_ct", plan, "target", "d50"])
        assert prescribed == pytest.approx(100, abs=0.1)
        # Weights are random: such a CT is worse than one of the true tissues.
        random, bulk = (
            abs(float(rows[method, plan, "target", "d50_difference"]))
            for method in ("network", "bulk")
        )
        assert random > bulk
        assert float(rows["bulk", plan, "all fields", "range_error"]) < 10
    again = synthct(folder, *arguments)
    assert again.returncode == 0 and "_protons" not in again.stderr


def test_more_subjects_than_there_are_are_refused(folder):
    done = synthct(
        folder,
        "--model=random.safetensors",
        "--data_dir=data",
        "--output=more",
        "--subjects=5",
    )
    assert done.returncode == 2
    assert "data has 1 test subjects with MR, CT and labels" in done.stderr
    assert "expected 5 or more" in done.stderr
    assert not (folder / "more").exists()


def write_box(path, hu: np.ndarray) -> None:
    volume = Volume(
        voxels=hu[..., None].astype(np.float32),
        affine=np.diag([-5.0, -5.0, 6.0, 1.0]),
        modality="CT",
        channels=("hu",),
    )
    write_nifti(path, hu.astype(np.int16), volume)


def test_ct_files_are_checked_and_their_paths_stay_in_the_numbers(tmp_path):
    body = np.zeros((14, 30, 30), bool)
    body[:, 4:-4, 4:-4] = True
    labels = np.zeros(body.shape)
    labels[6:8, 12:18, 12:18] = 1
    labels[6:8, 12:18, 19:22] = 2
    hu = np.where(body, 0, -1000)
    write_box(tmp_path / "ct.nii.gz", hu)
    hu[:, 4:-4, 22:24] = 800  # bone before the target, from the patient's left
    write_box(tmp_path / "SECRET.nii.gz", hu)
    write_box(tmp_path / "mask.nii.gz", labels)
    done = synthct(
        tmp_path,
        *("--input=SECRET.nii.gz", "--truth=ct.nii.gz", "--mask=mask.nii.gz"),
        *("--organs=2:cord", "--radiation=protons", "--gantry=90", "--output=out"),
    )
    assert done.returncode == 0, done.stderr
    lines = csv.DictReader((tmp_path / "out" / "dose.csv").read_text().splitlines())
    rows = {
        (r["subject"], r["structure"], r["quantity"]): float(r["value"])
        for r in lines
        if r["method"] == "network"
    }
    assert rows["synthetic CT", "gantry 90", "range_shift"] < -1
    assert ("synthetic CT", "cord", "mean_difference") in rows
    written = [*(tmp_path / "out").iterdir(), *(tmp_path / "out_plans").iterdir()]
    named = [path.name for path in written if "SECRET" in path.read_text()]
    assert named == ["dose.json"]

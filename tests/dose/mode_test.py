"""The mode from the command line to its report; skipped without pyRadPlan."""

import csv
import os
import subprocess
import sys

import pytest
from paths import PYTHONPATH
from tiny_model import write_tiny_model
from tiny_run import tiny_config

from input_pipeline.preparation.prepare import prepare

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
    assert not (folder / "more").exists()

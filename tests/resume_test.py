"""Runs that are killed as a machine kills them: in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from tiny_run import STEPS, tiny_run
from train_test import assert_same_run

from synthct_jax import main
from synthct_jax.metric_writer import read_rows

# The configuration's file of the command line is that of the tests.
CONFIG_FILE = """
from tiny_run import tiny_config as get_config
"""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A run in a process like the others, and with their compiler flags."""
    workdir = tmp_path_factory.mktemp("uninterrupted") / "run"
    process = start(workdir, tiny_run().data_dir)
    _, error = process.communicate()
    assert process.returncode == 0, error
    return workdir


def command(workdir, data_dir):
    config = workdir.parent / "tiny.py"
    config.write_text(CONFIG_FILE)
    return [
        *(sys.executable, "-m", "synthct_jax.main", f"--config={config}"),
        *(f"--workdir={workdir}", f"--data_dir={data_dir}"),
    ]


def start(workdir, data_dir):
    path = os.pathsep.join([".", "tests", os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        command(workdir, data_dir),
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, process, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, uninterrupted, number):
    data_dir = tiny_run().data_dir
    workdir = tmp_path / "run"
    process = start(workdir, data_dir)
    checkpoints = workdir / "checkpoints"
    # In the middle of it, perhaps of a save: numbers are there, the end is not.
    wait_for(lambda: read_rows(workdir / "metrics.jsonl"), process)
    process.send_signal(number)
    _, error = process.communicate()
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == main.STOPPED, error
        assert "Stopped by SIGTERM" in error
        assert [path.name for path in checkpoints.iterdir()]
    assert not (checkpoints / str(STEPS)).exists()
    process = start(workdir, data_dir)
    _, error = process.communicate()
    assert process.returncode == 0, error
    assert_same_run(workdir, uninterrupted)
    rows = read_rows(workdir / "metrics.jsonl")
    expected = read_rows(uninterrupted / "metrics.jsonl")
    assert [row["step"] for row in rows] == [row["step"] for row in expected]
    assert json.loads((workdir / "config.json").read_text())

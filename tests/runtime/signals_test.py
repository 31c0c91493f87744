"""Ctrl-C and SIGTERM, also while a library computes."""

import os
import signal
import subprocess
import sys
import time

import pytest
from paths import PYTHONPATH

# Inverting a large matrix is one call in C, which no handler interrupts.
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from input_pipeline.files import new_folder
from synthct_jax.runtime import signals

signals.SECONDS = 0.5
signals.catch()
try:
    with new_folder(Path(sys.argv[1]) / "output") as folder:
        (folder / "half.txt").write_text("half")
        print("ready", flush=True)
        if sys.argv[2] == "python":
            while True:
                pass
        np.linalg.inv(np.random.default_rng(0).normal(size=(9000, 9000)))
except signals.Stopped as stopped:
    signals.abort(stopped.code, f"Stopped by {stopped.name}")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("busy", ["python", "c"])
def test_signal_ends_a_mode_soon_with_a_line_and_nothing_half_written(
    busy, number, tmp_path
):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), busy]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": PYTHONPATH},
    ) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        process.send_signal(number)
        assert process.wait(timeout=10) == 128 + number
        assert process.stderr.read() == f"Stopped by {number.name}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("start", ["-m", "-c"])
def test_signal_while_the_program_is_imported_ends_it_with_a_line(
    start, number, tmp_path
):
    """A module that `main` imports takes its time here."""
    slow = tmp_path / "ml_collections.py"
    slow.write_text("import time\nprint('ready', flush=True)\ntime.sleep(60)")
    script = "import sys; sys.argv[0] = 'bin/synthct'; import synthct_jax.main"
    program = {"-m": "synthct_jax.main", "-c": script}
    with subprocess.Popen(
        [sys.executable, start, program[start], "evaluate"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{PYTHONPATH}"},
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(timeout=10) == 128 + number
        assert process.stderr.read() == f"Stopped by {number.name}\n"

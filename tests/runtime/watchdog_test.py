"""A process that hangs is ended with its stacks; one that compiles for long is not."""

import os
import subprocess
import sys

import pytest
from paths import PYTHONPATH, REPOSITORY
from tiny_run import tiny_run

CODE = """
import sys, time
from synthct_jax.runtime.watchdog import Watchdog

def stuck_in_a_collective(seconds):
    time.sleep(seconds)

with Watchdog(float(sys.argv[1])) as watchdog:
    for sign in sys.argv[2:]:
        if sign == "alive":
            watchdog.alive()
        elif sign == "sleep":
            watchdog.sleep()
        else:
            stuck_in_a_collective(float(sign))
time.sleep(1)
print("the end")
"""


def watched(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_silence_ends_the_process_with_all_stacks():
    done = watched("0.5", "alive", "30")
    assert done.returncode == 1
    assert "stuck_in_a_collective" in done.stderr
    assert "the end" not in done.stdout


def test_watchdog_sleeps_until_the_first_sign_of_life():
    done = watched("0.5", "1", "alive")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the end\n"


def test_watchdog_sleeps_on_request_until_the_next_sign_of_life():
    done = watched("0.5", "alive", "sleep", "1")
    assert done.returncode == 0, done.stderr
    done = watched("0.5", "alive", "sleep", "alive", "30")
    assert done.returncode == 1


def test_signs_of_life_keep_the_process_running():
    signs = ["alive", "1.2"] * 4
    done = watched("2", *signs)
    assert done.returncode == 0, done.stderr


def test_watchdog_of_zero_seconds_is_off():
    done = watched("0", "alive", "1")
    assert done.returncode == 0, done.stderr


HANGS = """
import itertools, time
from pathlib import Path
from input_pipeline.dataset.dataset import Dataset
from synthct_jax.evaluation import validation
from tiny_run import tiny_config

SECONDS = 5.0

def slow_at_first(*args, whole=validation.validate, count=itertools.count(), **kwargs):
    if next(count) == 0:
        time.sleep(2 * SECONDS)  # as if it were compiled for so long
    return whole(*args, **kwargs)

def stuck_in_a_file_system(*args, whole=Dataset.batches, **kwargs):
    batches = whole(*args, **kwargs)
    for _ in range(11):
        yield next(batches)
    time.sleep(600)

validation.validate = slow_at_first
Dataset.batches = stuck_in_a_file_system

def get_config():
    return tiny_config(
        steps=20, save_every=2, evaluate_every=4, watchdog_seconds=SECONDS, log_every=1
    )
"""


@pytest.mark.slow
def test_hanging_training_ends_but_a_slow_first_validation_does_not(
    tmp_path,
):
    config = tmp_path / "config.py"
    config.write_text(HANGS)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "synthct_jax.main", f"--config={config}"),
            *(f"--workdir={tmp_path / 'run'}", f"--data_dir={tiny_run().data_dir}"),
        ],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    assert "stuck_in_a_file_system" in done.stderr
    # It came past the slow validation at step 4, and lost nothing that was saved.
    assert (tmp_path / "run" / "checkpoints" / "8").is_dir(), done.stderr

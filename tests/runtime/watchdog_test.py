"""A process that hangs is ended with its stacks; one that compiles for long is not."""

import subprocess
import sys

import pytest
from paths import REPOSITORY
from tiny_run import training, variables

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
            watchdog.disarm()
        else:
            stuck_in_a_collective(float(sign))
time.sleep(1)
print("the end")
"""


@pytest.mark.parametrize(
    ("seconds", "signs", "is_ended"),
    [
        ("0.5", ["alive", "30"], True),
        ("0.5", ["1", "alive"], False),  # it sleeps until the first sign of life
        ("0.5", ["alive", "sleep", "1"], False),
        ("0.5", ["alive", "sleep", "alive", "30"], True),
        ("2", ["alive", "1.2"] * 4, False),
        ("0", ["alive", "1"], False),  # it is off
    ],
)
def test_silence_ends_the_process_with_all_stacks(seconds, signs, is_ended):
    done = subprocess.run(
        [sys.executable, "-c", CODE, seconds, *signs],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == is_ended, done.stderr
    assert ("stuck_in_a_collective" in done.stderr) == is_ended
    assert done.stdout == ("" if is_ended else "the end\n")


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
def test_hanging_training_ends_but_a_slow_first_validation_does_not(tmp_path):
    done = subprocess.run(
        training(HANGS, tmp_path / "run"),
        cwd=REPOSITORY,
        env=variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    assert "stuck_in_a_file_system" in done.stderr
    # It came past the slow validation at step 4, and lost nothing that was saved.
    assert (tmp_path / "run" / "checkpoints" / "8").is_dir(), done.stderr

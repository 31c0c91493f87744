"""Two processes over loopback, launched as a user would, stopped and resumed."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from alike import assert_alike
from compilation import FAST_COMPILATION
from paths import REPOSITORY
from saved_states import arrays, assert_same_run
from tiny_run import training, variables

from input_pipeline.command_line import USAGE_ERROR
from synthct_jax.runtime.jsonl import read_rows

STEPS = 80
QUICK = {"XLA_FLAGS": FAST_COMPILATION}
RATE = 1e-5  # low, or rounding would grow tenfold a step and hide real differences

CONFIG_FILE = f"""
from tiny_run import tiny_config

def get_config():
    return tiny_config(
        steps={STEPS}, global_batch=4, save_every=20, evaluate_every=40, log_every=1,
        learning_rate={RATE},
    )
"""


def start(workdir, *, processes, devices):
    command = training(CONFIG_FILE, workdir)
    if processes > 1:
        launcher = [REPOSITORY / "launch" / "local.sh", str(processes), "--"]
        command = [*launcher, *command[3:]]  # in place of python -m synthct_jax.main
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=variables(PYTHON=sys.executable, JAX_NUM_CPU_DEVICES=str(devices), **QUICK),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process, status=0):
    try:
        output, _ = process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
        process.terminate()  # the launcher passes it on
        raise
    assert process.returncode == status, output
    return output


def worker(launcher, number):
    """Return the process of that number among the launcher's children."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text()
    for pid in map(int, children.split()):
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if f"JAX_PROCESS_ID={number}".encode() in environment and b"-m" in command:
            return pid
    raise AssertionError(f"no process {number} among {children}")


@pytest.mark.slow
def test_two_processes_stop_together_and_resume_on_any_number(tmp_path):
    uninterrupted = tmp_path / "uninterrupted"
    finish(start(uninterrupted, processes=2, devices=2))

    workdir = tmp_path / "run"
    launcher = start(workdir, processes=2, devices=2)
    while not read_rows(workdir / "metrics.jsonl"):
        assert launcher.poll() is None, launcher.stdout.read()
        time.sleep(0.005)
    os.kill(worker(launcher, 1), signal.SIGTERM)
    output = finish(launcher, os.EX_TEMPFAIL)
    saved = max(int(path.name) for path in (workdir / "checkpoints").iterdir())
    assert saved < STEPS, "it ended before it could be stopped"
    for process in (0, 1):
        assert re.search(
            rf"\[{process}\] Step {saved} was (validated and )?saved", output
        )

    other = tmp_path / "other"
    shutil.copytree(workdir, other)

    # Stopped before its first new step: it ends, and has nothing new to save.
    launcher = start(workdir, processes=2, devices=2)
    while f"[1] Goes on after step {saved}" not in launcher.stdout.readline():
        assert launcher.poll() is None
    os.kill(worker(launcher, 1), signal.SIGTERM)
    os.kill(worker(launcher, 0), signal.SIGTERM)
    finish(launcher, 128 + signal.SIGTERM)

    # All processes are killed, in the middle of whatever they do.
    launcher = start(workdir, processes=2, devices=2)
    while read_rows(workdir / "metrics.jsonl")[-1]["step"] < saved + 2:
        assert launcher.poll() is None, launcher.stdout.read()
        time.sleep(0.005)
    for number in (1, 0):
        os.kill(worker(launcher, number), signal.SIGKILL)
    finish(launcher, 128 + signal.SIGKILL)

    finish(start(workdir, processes=2, devices=2))
    assert_same_run(workdir, uninterrupted, step=STEPS)

    finish(start(other, processes=1, devices=4))
    assert_alike(
        arrays(other, STEPS), arrays(uninterrupted, STEPS), arrays(uninterrupted, 0)
    )


BREAKS = """
import os
from input_pipeline.dataset.dataset import Dataset

if os.environ["JAX_PROCESS_ID"] == "1":
    whole = Dataset.batches

    def broken(*args, **kwargs):
        batches = whole(*args, **kwargs)
        for _ in range(3):
            yield next(batches)
        raise OSError("the disk of this host is gone")

    Dataset.batches = broken
"""


@pytest.mark.slow
def test_error_in_one_process_ends_it_at_once(tmp_path):
    command = training(CONFIG_FILE + BREAKS, tmp_path / "run")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = variables(
        JAX_COORDINATOR_ADDRESS=f"127.0.0.1:{port}", JAX_NUM_PROCESSES="2", **QUICK
    )
    # Without a launcher, which might end one process because the other has ended.
    survivor, failing = (
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**shared, "JAX_PROCESS_ID": str(number)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    )
    try:
        # At an ordinary end it would wait five minutes for the other, which hears of it
        # from JAX's coordinator, or from the launcher.
        output = failing.communicate(timeout=240)[1]
        assert failing.returncode == USAGE_ERROR, output
        assert "error: the disk of this host is gone" in output
    finally:
        for process in (survivor, failing):
            process.kill()
            process.communicate()

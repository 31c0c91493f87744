"""Signals are passed on to child processes, here stand-ins for the modes."""

import os
import signal
import subprocess
import sys
import time

import pytest
from paths import REPOSITORY

from synthct_jax.runtime.subprocesses import SubprocessRunner

# Like a training it saves for a while at a signal.
TRAINING = """
import signal, sys, time
def save(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(0.5)
    print("saved", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
signal.signal(signal.SIGINT, save)
"""
OTHER = """
import sys, time
from synthct_jax.runtime import signals
sys.excepthook = lambda kind, *_: print(kind.__name__, flush=True)
signals.catch()
"""
WAIT = """
print("ready", flush=True)
for _ in range(600):
    time.sleep(0.05)
"""
PARENT = """
import sys
from synthct_jax.runtime.subprocesses import SubprocessRunner
with SubprocessRunner((sys.executable, "-c", {program!r}), grace_seconds=0.3) as runner:
    status = runner.run("x y")
    print(status, runner.stopped)
"""


@pytest.fixture
def start():
    """Start a parent whose child runs a program, and wait until the child is ready."""
    processes = []

    def start(program, before=""):
        text = PARENT.format(program=program + WAIT)
        process = subprocess.Popen(
            [sys.executable, "-c", f"{before}\n{text}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=REPOSITORY,
            start_new_session=True,
        )
        processes.append(process)
        while (line := process.stdout.readline()) != "ready\n":
            assert line
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait()


def finish(process):
    rest = process.stdout.read()
    assert process.wait(timeout=60) == 0, rest
    return rest.split("\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("target", ["parent", "both"])
def test_training_saves_if_its_parent_or_both_are_signalled(start, number, target):
    parent = start(TRAINING)
    (os.killpg if target == "both" else os.kill)(parent.pid, number)
    assert finish(parent) == ["saved", "75 True", ""]


def test_other_modes_are_interrupted_and_may_clean_up(start):
    parent = start(OTHER)
    os.kill(parent.pid, signal.SIGTERM)
    assert finish(parent) == ["143 True", ""]


def test_second_signal_ends_the_child(start):
    parent = start(TRAINING.replace("0.5", "60"))
    os.kill(parent.pid, signal.SIGTERM)
    time.sleep(0.6)
    os.kill(parent.pid, signal.SIGTERM)
    assert finish(parent) == ["137 True", ""]


def test_parent_outlives_a_child_that_saves_for_longer_than_signals_wait(start):
    catch = "from synthct_jax.runtime import signals; signals.SECONDS = 0.2\n"
    parent = start(TRAINING.replace("0.5", "1.5"), before=catch + "signals.catch()")
    os.kill(parent.pid, signal.SIGTERM)
    assert finish(parent) == ["saved", "75 True", ""]


def test_command_is_printed_and_its_status_returned(capfd):
    with SubprocessRunner((sys.executable, "-c", "import sys; sys.exit(3)")) as runner:
        assert runner.run("a b") == 3
        assert not runner.stopped
    assert "$ python -c 'import sys; sys.exit(3)' 'a b'" in capfd.readouterr().out

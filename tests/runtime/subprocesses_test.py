"""Signals are passed on to child processes, here stand-ins for the modes."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import pytest
from paths import REPOSITORY

from synthct_jax.runtime.subprocesses import SubprocessRunner

# Like a training it saves for a while at SIGTERM, and dies at a second one.
TRAINING = """
import signal, sys, time
def save(*_):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(0.5)
    print("saved", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
signal.signal(signal.SIGINT, save)
"""
OTHER = """
import sys, time, traceback
sys.excepthook = lambda kind, *_: print(kind.__name__, flush=True)
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


@dataclasses.dataclass
class Started:
    process: subprocess.Popen

    def finish(self):
        rest = self.process.stdout.read()
        assert self.process.wait(timeout=60) == 0, rest
        return rest.split("\n")


@pytest.fixture
def start():
    started = []

    def starts(program):
        process = subprocess.Popen(
            [sys.executable, "-c", PARENT.format(program=program + WAIT)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=REPOSITORY,
            start_new_session=True,
        )
        started.append(process)
        line = ""
        while line != "ready\n":
            line = process.stdout.readline()
            assert line
        time.sleep(0.3)  # the child was looked at
        return Started(process)

    yield starts
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("target", ["parent", "both"])
def test_training_saves_if_its_parent_or_both_are_signalled(start, number, target):
    parent = start(TRAINING)
    (os.killpg if target == "both" else os.kill)(parent.process.pid, number)
    assert parent.finish() == ["saved", "75 True", ""]


def test_other_modes_are_interrupted_and_may_clean_up(start):
    parent = start(OTHER)
    os.kill(parent.process.pid, signal.SIGTERM)
    assert parent.finish() == ["KeyboardInterrupt", "130 True", ""]


def test_second_signal_ends_the_child(start):
    parent = start(TRAINING.replace("0.5", "60"))
    os.kill(parent.process.pid, signal.SIGTERM)
    time.sleep(0.6)
    os.kill(parent.process.pid, signal.SIGTERM)
    assert parent.finish() == ["143 True", ""]


def test_command_is_printed_and_its_status_returned(capfd):
    with SubprocessRunner((sys.executable, "-c", "import sys; sys.exit(3)")) as runner:
        assert runner.run("a b") == 3
        assert not runner.stopped
    assert "$ python -c 'import sys; sys.exit(3)' 'a b'" in capfd.readouterr().out

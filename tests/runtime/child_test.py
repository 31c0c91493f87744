"""Processes with a stand-in for the modes: who hears of which signal."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import pytest
from paths import REPOSITORY

from synthct_jax.runtime.subprocesses import Children

# Ready when it says so; SIGTERM has it save for a while, as a training does, and not
# hear of a second one.
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
SWEEP = """
import sys
from synthct_jax.runtime.subprocesses import Children
with Children((sys.executable, "-c", {program!r}), patience_seconds=0.3) as children:
    status = children.run("x y")
    print(status, children.stopped)
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
            [sys.executable, "-c", SWEEP.format(program=program + WAIT)],
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
@pytest.mark.parametrize("whom", ["sweep", "both"])
def test_a_training_saves_whoever_is_signalled(start, number, whom):
    sweep = start(TRAINING)
    (os.killpg if whom == "both" else os.kill)(sweep.process.pid, number)
    assert sweep.finish() == ["saved", "75 True", ""]


def test_another_mode_is_interrupted_and_may_clean_up(start):
    sweep = start(OTHER)
    os.kill(sweep.process.pid, signal.SIGTERM)
    assert sweep.finish() == ["KeyboardInterrupt", "130 True", ""]


def test_a_second_signal_ends_the_child(start):
    sweep = start(TRAINING.replace("0.5", "60"))
    os.kill(sweep.process.pid, signal.SIGTERM)
    time.sleep(0.6)
    os.kill(sweep.process.pid, signal.SIGTERM)
    assert sweep.finish() == ["143 True", ""]


def test_the_command_is_shown_and_its_status_returned(capfd):
    with Children((sys.executable, "-c", "import sys; sys.exit(3)")) as children:
        assert children.run("a b") == 3
        assert not children.stopped
    assert "$ python -c 'import sys; sys.exit(3)' 'a b'" in capfd.readouterr().out

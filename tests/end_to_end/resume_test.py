"""Runs in processes of their own, which are killed and resumed."""

import dataclasses
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from saved_states import assert_same_run
from tiny_run import training, variables

from synthct_jax.runtime import goodput
from synthct_jax.runtime.jsonl import read_rows
from synthct_jax.runtime.signals import RESUMABLE, STOPPED

STEPS = 24

# The configuration of the tests, for more steps.
CONFIG_FILE = f"""
from tiny_run import tiny_config

def get_config():
    return tiny_config(steps={STEPS}, save_every=3, evaluate_every=6, log_every=1)
"""


@dataclasses.dataclass
class Run:
    """A training in a process of its own."""

    workdir: Path
    process: subprocess.Popen | None = None

    def start(self) -> None:
        command = training(CONFIG_FILE, self.workdir)  # trains the tiny run first
        self.began = time.time()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, env=variables(), stderr=log)
        self.resumed = max(self.saved, default=0)

    @property
    def log(self) -> Path:
        return self.workdir.parent / "stderr.txt"

    @property
    def saved(self) -> list[int]:
        folder = self.workdir / "checkpoints"
        names = [path.name for path in folder.iterdir()] if folder.exists() else []
        return [int(name) for name in names if name.isdigit()]

    @property
    def rows(self) -> list[dict]:
        """All logged rows, without the rates, which differ from run to run."""
        rows = read_rows(self.workdir / "metrics.jsonl")
        return [
            {k: v for k, v in row.items() if k != "steps_per_second"} for row in rows
        ]

    @property
    def new_rows(self) -> list[dict]:
        """Rows that this process has logged."""
        if not self.is_near_the_loop:
            return []
        return [row for row in self.rows if row["step"] > self.resumed]

    @property
    def is_near_the_loop(self) -> bool:
        """True from when the configuration is written, just before compiling."""
        path = self.workdir / "config.json"
        return path.exists() and path.stat().st_mtime > self.began

    @property
    def is_saving(self) -> bool:
        return any((self.workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*"))

    def finish(self) -> None:
        if self.process.poll() is None:
            self.process.wait(timeout=300)
        assert self.process.returncode == 0, self.log.read_text()


# Moments of a kill: the condition to wait for, and the longest random delay after it.
MOMENTS = {
    "import": (lambda run: True, 3.0),
    "compilation": (lambda run: run.is_near_the_loop, 2.0),
    "first steps": (lambda run: run.new_rows, 0.2),
    "save": (lambda run: run.is_near_the_loop and run.is_saving, 0.01),
    # The losses of such a step are written just before its validation.
    "evaluation": (
        lambda run: (
            run.new_rows
            and run.new_rows[-1]["step"] % 6 == 0
            and "validation_mae" not in run.new_rows[-1]
        ),
        0.05,
    ),
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """An uninterrupted run in a process of its own, with the same compiler flags."""
    run = Run(tmp_path_factory.mktemp("uninterrupted") / "run")
    run.start()
    run.finish()
    return run


@pytest.mark.slow
def test_buckets_add_up_to_the_wall_time_of_a_run(uninterrupted):
    """Without the end of the interpreter, after the last row was written."""
    path = uninterrupted.workdir / goodput.FILE
    wall = path.stat().st_mtime - uninterrupted.began
    assert sum(goodput.summarise(read_rows(path)).values()) == pytest.approx(
        wall, rel=0.01
    )


@pytest.mark.slow
def test_runs_with_thirty_kills_end_like_an_uninterrupted_run(tmp_path, uninterrupted):
    """Every kill is followed by a resume."""
    chance = random.Random(0)
    signals = (signal.SIGTERM, signal.SIGKILL)
    due = [(moment, number) for moment in MOMENTS for number in signals] * 3
    chance.shuffle(due)
    kills = len(due)
    assert kills == 30
    runs = 0
    while due:
        runs += 1
        assert runs <= 30, f"these moments are never met: {due}"
        run = Run(tmp_path / str(runs) / "run")
        run.workdir.parent.mkdir()
        run.start()
        while due and killed(run, *due[0], chance):
            del due[0]
            run.start()
        run.finish()
        assert_same_run(run.workdir, uninterrupted.workdir, step=STEPS)
        assert run.rows == uninterrupted.rows
    print(f"{kills} kills in {runs} runs")


def killed(run: Run, moment: str, number: int, chance: random.Random) -> bool:
    """Kill the run at that moment; return False if it ends first."""
    has_come, longest_delay = MOMENTS[moment]
    while not has_come(run):
        if run.process.poll() is not None:
            return False
        time.sleep(0.002)
    time.sleep(chance.uniform(0, longest_delay))
    near = run.is_near_the_loop
    run.process.send_signal(number)
    status = run.process.wait(timeout=120)
    if STEPS in run.saved:  # it was at its end
        run.start()  # says that all is done
        return False
    output = run.log.read_text()
    if number == signal.SIGKILL:
        expected = {-number}
    elif moment not in ("import", "compilation"):
        expected = {RESUMABLE}
    else:  # without a step to save, unless one was just done; or before it is caught
        expected = {RESUMABLE, 128 + number} | (set() if near else {-number})
    assert status in expected, output
    if status in STOPPED:
        assert "Stopped by SIGTERM" in output
    return True

"""Kill trainings at every moment and resume them; each ends as if it never stopped.

    .venv/bin/python tests/support/kills.py --kills=1000 --processes=1 --seed=0

The table that it prints counts the kills by moment and signal. A run that ends with
other arrays or losses than an uninterrupted one, or with another exit status than
documented, ends the program with an error.
"""

import argparse
import collections
import dataclasses
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from paths import REPOSITORY
from saved_states import assert_same_run
from tiny_run import training, variables

from synthct_jax.runtime.jsonl import read_rows
from synthct_jax.runtime.signals import RESUMABLE, STOPPED

STEPS = 24
SIGNALS = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)

# The configuration of the tests, for more steps.
_CONFIG_FILE = f"""
from tiny_run import tiny_config

def get_config():
    return tiny_config(steps={STEPS}, save_every=3, evaluate_every=6, log_every=1)
"""


@dataclasses.dataclass
class Run:
    """A training in one or more processes of its own."""

    workdir: Path
    processes: int = 1
    process: subprocess.Popen | None = None  # the training, or the launcher of several

    def start(self) -> None:
        """Start the training, or go on with it."""
        self.workdir.parent.mkdir(exist_ok=True)
        command = training(_CONFIG_FILE, self.workdir)  # trains the tiny run first
        if self.processes > 1:
            launcher = (REPOSITORY / "launch" / "local.sh", str(self.processes), "--")
            command = [*launcher, *command[3:]]  # for python -m synthct_jax.main
        self.began = time.time()
        self.resumed = max(self.saved, default=0)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=variables(PYTHON=sys.executable),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def log(self) -> Path:
        return self.workdir.parent / "log.txt"

    @property
    def saved(self) -> list[int]:
        """Steps of the complete checkpoints."""
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
        """Rows that were logged since the last start."""
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
        return self.is_near_the_loop and any(
            (self.workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*")
        )

    @property
    def is_validating(self) -> bool:
        """The losses of such a step are written just before its validation."""
        rows = self.new_rows
        return bool(
            rows and rows[-1]["step"] % 6 == 0 and "validation_mae" not in rows[-1]
        )

    def finish(self) -> None:
        """Wait for the end, which must be that of all steps."""
        self.process.wait(timeout=300)
        assert self.process.returncode == 0, self.log.read_text()


# Moments of a kill: the condition to wait for, and the longest random delay after it.
MOMENTS = {
    "import": (lambda run: True, 3.0),
    "compilation": (lambda run: run.is_near_the_loop, 2.0),
    "first step": (lambda run: run.new_rows, 0.0),
    "later step": (lambda run: len(run.new_rows) > 1, 0.2),
    "save": (lambda run: run.is_saving, 0.01),
    "validation": (lambda run: run.is_validating, 0.05),
    "last step": (
        lambda run: run.new_rows and run.new_rows[-1]["step"] >= STEPS - 1,
        0.1,
    ),
}
Kind = tuple[str, signal.Signals]
_KINDS = tuple(itertools.product(MOMENTS, SIGNALS))


def uninterrupted_run(folder: Path, processes: int = 1) -> Run:
    """Return a finished run in processes of their own, with the same compiler flags."""
    run = Run(folder / "run", processes)
    run.start()
    run.finish()
    return run


def kill_and_resume(
    folder: Path, uninterrupted: Run, *, kills: int, seed: int
) -> list[Kind]:
    """Kill runs, as often at each moment by each signal, and resume after every kill.

    Returns:
        What was done. Each run is asserted to end like `uninterrupted`.
    """
    chance = random.Random(seed)
    done: list[Kind] = []
    while len(done) < kills:
        done += chance.sample(_KINDS, len(_KINDS))
    done = done[:kills]
    due, runs = list(done), 0
    while due:
        runs += 1
        assert runs <= kills, f"these moments are never met: {due}"
        run = Run(folder / str(runs) / "run", uninterrupted.processes)
        run.start()
        while due and _killed(run, *due[0], chance):
            del due[0]
            run.start()
            if len(due) % 50 == 0:
                print(f"{kills - len(due)} of {kills} kills, {runs} runs", flush=True)
        run.finish()
        assert_same_run(run.workdir, uninterrupted.workdir, step=STEPS)
        assert run.rows == uninterrupted.rows
    return done


def _killed(
    run: Run, moment: str, number: signal.Signals, chance: random.Random
) -> bool:
    """Kill the run at that moment; return False if it ends first."""
    has_come, longest_delay = MOMENTS[moment]
    while not has_come(run):
        if run.process.poll() is not None:
            return False
        time.sleep(0.005)
    time.sleep(chance.uniform(0, longest_delay))
    near = run.is_near_the_loop
    if number == signal.SIGKILL:  # the launcher and its processes, as by a power cut
        os.killpg(run.process.pid, number)
    else:
        run.process.send_signal(number)
    status = run.process.wait(timeout=120)
    counts = moment == "last step"
    if status == 0 or STEPS in run.saved:  # it was at its end
        if not counts:
            run.start()  # says that all is done
        return counts
    output = run.log.read_text()
    if run.processes > 1 and number == signal.SIGINT:
        number = signal.SIGTERM  # as the launcher passes it on
    documented = status in _statuses(moment, number, near)
    assert documented or is_interrupted_at_startup(status, number, output), output
    if status in STOPPED and run.processes == 1:
        assert f"Stopped by {number.name}" in output, output
    elif status in STOPPED and near:  # else the workers had not caught it
        assert "Stopped by " in output, output
    return True


def is_interrupted_at_startup(status: int, number: signal.Signals, output: str) -> bool:
    """Return whether SIGINT came before the first line of a program.

    Then Python itself ends, with status 1 and a traceback of its module `site`.
    """
    words = "<frozen site>", "KeyboardInterrupt"
    return status == 1 and number == signal.SIGINT and all(w in output for w in words)


def _statuses(moment: str, number: signal.Signals, near: bool) -> set[int]:
    """Return the documented exit statuses of a run that the signal has stopped."""
    if number == signal.SIGKILL:
        return {-number}
    statuses = {RESUMABLE}
    if moment in ("import", "compilation"):  # no step to save, unless one was just done
        statuses.add(128 + number)
    if not near:  # before it is caught
        statuses.add(-number)
    return statuses


def _table(kinds: list[Kind]) -> str:
    counts = collections.Counter(kinds)
    lines = ["| moment | " + " | ".join(s.name for s in SIGNALS) + " |"]
    lines.append("|---|" + "---:|" * len(SIGNALS))
    for moment in MOMENTS:
        cells = " | ".join(str(counts[moment, number]) for number in SIGNALS)
        lines.append(f"| {moment} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    kills = arguments.kills
    with tempfile.TemporaryDirectory(prefix="synthct_jax_kills_") as name:
        folder = Path(name)
        uninterrupted = uninterrupted_run(folder / "whole", arguments.processes)
        began = time.monotonic()
        done = kill_and_resume(folder, uninterrupted, kills=kills, seed=arguments.seed)
        seconds = time.monotonic() - began
    print(_table(done))
    print(
        f"{kills} kills of {arguments.processes} processes, "
        f"{seconds / 60:.0f} min: every run ended with the arrays and losses of an "
        "uninterrupted one, bit for bit"
    )


if __name__ == "__main__":
    main()

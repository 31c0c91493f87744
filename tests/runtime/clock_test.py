"""A system clock that jumps by days changes no rate, time left, account or wait."""

import itertools
import re
import subprocess
import sys
import time
import types

from paths import REPOSITORY
from tiny_run import training, variables

from synthct_jax.evaluation import watch
from synthct_jax.runtime import goodput
from synthct_jax.runtime.jsonl import read_rows

_DAY_SECONDS = 86400
_CONFIG = """
from tiny_run import tiny_config

def get_config():
    return tiny_config(
        log_every=1, save_every=6, evaluate_every=0, watchdog_seconds=300.0
    )
"""
# Patched before anything of ours is imported: a default argument may hold the clock.
_TRAIN = f"""
import time
clock, jumped = time.time, 0
time.time = lambda: clock() + jumped
from synthct_jax import main
from synthct_jax.runtime.loss_log import LossLog

def add(losses, step, *arguments, whole=LossLog.add):
    global jumped
    jumped = {{2: -{_DAY_SECONDS}, 4: {_DAY_SECONDS}}}.get(step, jumped)
    return whole(losses, step, *arguments)

LossLog.add = add
main.run()
"""


def test_training_under_a_jumping_clock_has_true_rates_and_accounts(tmp_path):
    arguments = training(_CONFIG, tmp_path / "run")[3:]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _TRAIN, *arguments],
        cwd=REPOSITORY,
        env=variables(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    wall = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    left = re.findall(r"(\S+):\d\d:\d\d left", done.stderr)
    assert left and set(left) == {"0"}, done.stderr  # hours
    rows = read_rows(tmp_path / "run" / "metrics.jsonl")
    rates = [row["steps_per_second"] for row in rows if "steps_per_second" in row]
    assert rates and min(rates) > 1 / wall
    rows = read_rows(tmp_path / "run" / goodput.FILE)
    assert all(s > 0 for row in rows for s in row["seconds"].values())
    assert wall / 2 < sum(goodput.summarise(rows).values()) <= wall


def test_watch_waits_as_long_under_a_jumping_clock(monkeypatch):
    clock, days = time.time, itertools.cycle((-1, 1))
    monkeypatch.setattr(time, "time", lambda: clock() + next(days) * _DAY_SECONDS)
    began = time.monotonic()
    watch._sleep(0.3, types.SimpleNamespace(reached=lambda step: None))
    assert 0.3 <= time.monotonic() - began < 30

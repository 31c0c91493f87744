"""Buckets of wall time add up, and work that was lost is counted as lost."""

import json
import re
import subprocess
import sys
import time

import pytest
from tiny_run import tiny_run

from synthct_jax.runtime import goodput
from synthct_jax.runtime.goodput import Goodput
from synthct_jax.runtime.jsonl import read_rows


def row(process, resumed, done, **seconds):
    return dict(process=process, resumed=resumed, step=done, seconds=seconds)


def test_buckets_of_a_process_add_up_to_its_wall_time(tmp_path):
    code = """
import sys, time
from pathlib import Path
from synthct_jax.runtime.goodput import Goodput
clock = Goodput(Path(sys.argv[1]))
with clock.measure("restore"):
    time.sleep(0.3)
clock.enter("step")
for step in (1, 2):
    time.sleep(0.2)
    with clock.measure("save"):
        time.sleep(0.1)
    clock.write(resumed=0, step=step)
"""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, timeout=60)
    wall = time.monotonic() - began
    rows = read_rows(tmp_path / goodput.FILE)
    assert [r["step"] for r in rows] == [1, 2]
    total = goodput.summarise(rows)
    assert total["restore"] == pytest.approx(0.3, abs=0.1)
    assert total["step"] == pytest.approx(0.4, abs=0.1)
    assert total["save"] == pytest.approx(0.2, abs=0.1)
    assert total["lost_work"] == 0
    # The interpreter's own start is in it; its end is not.
    assert wall - 0.2 < sum(total.values()) <= wall


def test_training_uses_every_bucket_but_those_of_a_restart():
    rows = read_rows(tiny_run().workdir / goodput.FILE)
    assert [r["step"] for r in rows][-1] == 6
    total = goodput.summarise(rows)
    for bucket in ("start", "compile", "input_wait", "step", "save", "evaluate"):
        assert total[bucket] > 0, bucket
    assert total["lost_work"] == total["restore"] == 0


def test_steps_past_the_resumed_checkpoint_are_lost_work():
    total = goodput.summarise(
        [
            row("a", 0, 100, start=5.0, compile=7.0, step=10.0),
            row("a", 0, 150, step=4.0, input_wait=1.0, save=0.5),
            row("b", 100, 130, start=6.0, restore=2.0, step=3.0),
            row("c", 100, 200, start=6.0, compile=1.0, step=10.0),
        ]
    )
    assert total["lost_work"] == 5.5 + 3.0
    assert total["step"] == 20.0
    assert total["start"] == 17.0
    assert total["restore"] == 2.0
    assert sum(total.values()) == 55.5


def test_steps_before_a_roll_back_are_lost_work():
    total = goodput.summarise(
        [
            row("a", 0, 100, step=10.0),
            row("a", 0, 140, step=4.0, evaluate=1.0),
            row("a", 100, 100, restore=2.0),
            row("a", 100, 200, step=10.0),
        ]
    )
    assert total["lost_work"] == 5.0
    assert (total["step"], total["restore"]) == (20.0, 2.0)


@pytest.mark.parametrize("earlier", [False, True])
def test_wall_time_of_several_starts_says_so(tmp_path, caplog, earlier):
    caplog.set_level("INFO", logger="absl")
    if earlier:
        (tmp_path / goodput.FILE).write_text(json.dumps(row("a", 0, 1)) + "\n")
    with Goodput(tmp_path) as clock:
        clock.write(resumed=0, step=1)
    starts = "of all starts " if earlier else ""
    assert re.match(rf"Wall time {starts}\d+ s: start", caplog.messages[-1])


def test_torn_line_of_a_killed_process_is_removed(tmp_path):
    path = tmp_path / goodput.FILE
    whole = json.dumps(row("2026-01-01T00:00:00+00:00", 0, 1, step=1.0)) + "\n"
    path.write_text(whole + '{"process": "a", "res')
    Goodput(tmp_path).write(resumed=1, step=2)
    assert [r["step"] for r in read_rows(path)][-1] == 2


def test_time_that_ends_in_an_error_is_lost_work(tmp_path):
    with pytest.raises(FloatingPointError), Goodput(tmp_path) as clock:
        clock.write(resumed=0, step=0)
        with clock.measure("step"):
            time.sleep(0.2)
        clock.write(resumed=0, step=10)
        clock.enter("step")
        time.sleep(0.3)
        raise FloatingPointError("at step 14")
    total = goodput.summarise(read_rows(tmp_path / goodput.FILE))
    assert total["step"] == pytest.approx(0.2, abs=0.1)
    assert total["lost_work"] == pytest.approx(0.3, abs=0.1)
    assert total["start"] > 0


def test_other_processes_write_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clock = Goodput(None)
    clock.write(resumed=0, step=0)
    clock.write(resumed=0, step=1)
    clock.close()
    assert not list(tmp_path.iterdir())


def test_shares_are_listed_from_the_largest():
    assert goodput.format_shares({"start": 1.0, "step": 3.0, "save": 0.0}) == (
        "4 s: step 75.0 %, start 25.0 %"
    )

"""Where wall time goes: buckets add up, and what was lost is called so."""

import datetime
import json
import os
import subprocess
import sys
import time

import pytest
from tiny_run import tiny_run

from synthct_jax.runtime import goodput
from synthct_jax.runtime.goodput import Goodput
from synthct_jax.runtime.metric_writer import read_rows


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
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
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


def test_a_run_says_where_its_time_went():
    rows = read_rows(tiny_run().workdir / goodput.FILE)
    assert [r["step"] for r in rows][-1] == 6
    total = goodput.summarise(rows)
    for bucket in ("start", "compile", "input_wait", "step", "save", "evaluate"):
        assert total[bucket] > 0, bucket
    assert total["lost_work"] == total["restore"] == 0


def test_steps_that_were_not_saved_are_lost_work():
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


def test_a_line_that_a_kill_tore_is_dropped(tmp_path):
    path = tmp_path / goodput.FILE
    whole = json.dumps(row("2026-01-01T00:00:00+00:00", 0, 1, step=1.0)) + "\n"
    path.write_text(whole + '{"process": "a", "res')
    Goodput(tmp_path).write(resumed=1, step=2)
    assert [r["step"] for r in read_rows(path)][-1] == 2


def test_time_after_the_last_row_of_a_killed_process_is_lost_work(tmp_path):
    code = """
import sys, time
from pathlib import Path
from synthct_jax.runtime.goodput import Goodput
clock = Goodput(Path(sys.argv[1]))
clock.begin(resumed=0)
clock.enter("step")
time.sleep(0.2)
clock.write(resumed=0, step=1)
print("working", flush=True)
time.sleep(60)
"""
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline()
        time.sleep(3)
        process.kill()
    wall = time.monotonic() - began
    Goodput(tmp_path)
    total = goodput.summarise(read_rows(tmp_path / goodput.FILE))
    assert 1.5 < total["lost_work"] < 3.5
    assert wall - 1.5 < sum(total.values()) <= wall + 0.1


def test_a_process_that_never_began_is_no_life_of_the_one_before(tmp_path):
    long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=3)
    path = tmp_path / goodput.FILE
    path.write_text(json.dumps(row(long_ago.isoformat(), 0, 1, step=60.0)) + "\n")
    killed = long_ago.timestamp() + 100
    os.utime(path, (killed, killed))
    for _ in range(3):  # refused, say, for its configuration
        Goodput(tmp_path)
    total = goodput.summarise(read_rows(path))
    assert total["lost_work"] == pytest.approx(40, abs=0.01)
    assert sum(total.values()) == pytest.approx(100, abs=0.01)


def test_what_an_error_ends_is_lost_work(tmp_path):
    with pytest.raises(FloatingPointError), Goodput(tmp_path) as clock:
        clock.begin(resumed=0)
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


def test_the_other_processes_write_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clock = Goodput(None)
    clock.begin(resumed=0)
    clock.write(resumed=0, step=1)
    clock.close()
    assert not list(tmp_path.iterdir())


def test_the_line_for_people_begins_with_the_largest_share():
    assert goodput.described({"start": 1.0, "step": 3.0, "save": 0.0}) == (
        "4 s: step 75.0 %, start 25.0 %"
    )

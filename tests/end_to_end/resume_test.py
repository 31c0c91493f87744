"""Runs in processes of their own, which are killed and resumed."""

import kill_commands
import kills
import pytest

from synthct_jax.runtime import goodput
from synthct_jax.runtime.jsonl import read_rows


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return kills.uninterrupted_run(tmp_path_factory.mktemp("uninterrupted"))


@pytest.mark.slow
def test_buckets_add_up_to_the_wall_time_of_a_run(uninterrupted):
    """Without the end of the interpreter, after the last row was written."""
    path = uninterrupted.workdir / goodput.FILE
    wall = path.stat().st_mtime - uninterrupted.began
    assert sum(goodput.summarise(read_rows(path)).values()) == pytest.approx(
        wall, rel=0.01
    )


@pytest.mark.slow
def test_killed_runs_end_like_an_uninterrupted_run(tmp_path, uninterrupted):
    kills.kill_and_resume(tmp_path, uninterrupted, kills=60, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "count"),
    [("prepare", 5), ("translate", 5), ("evaluate", 4)],
)
def test_killed_commands_leave_all_of_an_output_or_nothing(
    mode, count, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    kill_commands.make_input()
    stopped, late, _ = kill_commands.kill_mode(mode, kills=count, seed=0)
    assert stopped + late == count
    assert stopped

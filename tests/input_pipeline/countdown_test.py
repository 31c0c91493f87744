"""Lines about how far a series of tasks is."""

import itertools

import pytest
from absl import logging

from input_pipeline.countdown import Countdown, format_seconds


@pytest.fixture
def lines(monkeypatch):
    logged = []
    monkeypatch.setattr(logging, "info", lambda text, *args: logged.append(text % args))
    return logged


def test_lines_have_count_rate_and_time_left(lines):
    countdown = Countdown(4, "scans", clock=itertools.count(0, 100).__next__)
    for name in "abc":
        countdown.log(name)
    countdown.log("d")
    assert lines == [
        "1 of 4 scans, 100.0 s each, 0:05:00 left: a",
        "2 of 4 scans, 100.0 s each, 0:03:20 left: b",
        "3 of 4 scans, 100.0 s each, 0:01:40 left: c",
        "4 of 4 scans: d",
    ]


def test_frequent_lines_are_left_out_but_not_the_last(lines):
    clock = itertools.count(0, 0.5).__next__
    countdown = Countdown(12, "slices", every_seconds=2, clock=clock)
    for _ in range(6):
        countdown.log(count=2)
    assert lines == ["8 of 12 slices, 4.0 slices/s, 0:00:01 left", "12 of 12 slices"]


def test_tasks_that_were_done_already_do_not_count_for_the_rate(lines):
    clock = itertools.count(0, 10).__next__
    countdown = Countdown(9, "runs", done=3, clock=clock)
    countdown.log("d", new=False)
    countdown.log("e")
    assert lines == ["4 of 9 runs: d", "5 of 9 runs, 20.0 s each, 0:01:20 left: e"]


def test_seconds_are_shown_as_hours_minutes_and_seconds():
    assert format_seconds(3725.4) == "1:02:05"

"""Accounting of a run's wall time: RUN/goodput.jsonl.

The clock of a process always runs in some bucket, so the buckets of its rows add up to
its wall time. A row is written before the first step, when losses are logged, at every
save and at the end:

    {"process": "2026-11-22T10:00:00.123", "resumed": 0, "step": 400,
     "seconds": {"step": 120.4, "input_wait": 0.2, "save": 0.8}}

After a kill or a roll-back, `summarise` counts as lost work the rows past the
checkpoint from which the run went on. The time between a killed process's last row and
its end is in no bucket, nor is a process that ended before it had a state.
"""

import contextlib
import datetime
import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from synthct_jax.runtime.jsonl import read_rows

BUCKETS = (
    "start",  # everything before the loop that is in no other bucket
    "compile",  # compiling the training step, and waiting for others to do so
    "input_wait",  # waiting for a batch; the devices may be busy meanwhile
    "step",
    "save",  # as long as training waits for it
    "evaluate",  # validations
    "restore",  # reading the checkpoint to resume from
    "lost_work",  # what led to steps that were trained again, or to an error
)
FILE = "goodput.jsonl"
_CAN_BE_LOST = ("compile", "input_wait", "step", "save", "evaluate")


class Goodput:
    """The clock of one process; the primary process writes its rows.

    Enter it around a training: if an error leaves the block, the time since the last
    row counts as lost work.
    """

    def __init__(self, workdir: Path | None):
        """Start in `start` at this process's birth; `workdir` None writes nothing."""
        self._path = None if workdir is None else workdir / FILE
        age = _seconds_since_birth()
        born = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)
        self._process = born.isoformat(timespec="milliseconds")
        self._since = time.monotonic() - age
        self._bucket = "start"
        self._seconds = dict.fromkeys(BUCKETS, 0.0)
        self._steps: dict[str, int] | None = None
        if self._path is not None and self._path.exists():
            _remove_torn_line(self._path)

    def __enter__(self) -> "Goodput":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is not None:
            self.enter("lost_work")
            for bucket in _CAN_BE_LOST:
                self._seconds["lost_work"] += self._seconds[bucket]
                self._seconds[bucket] = 0.0
        self.close()

    def enter(self, bucket: str) -> str:
        """Count to `bucket` from now on; return the bucket of the time before."""
        now, before = time.monotonic(), self._bucket
        self._seconds[before] += now - self._since
        self._since, self._bucket = now, bucket
        return before

    @contextlib.contextmanager
    def measure(self, bucket: str) -> Iterator[None]:
        """Count to `bucket` inside of the block."""
        before = self.enter(bucket)
        try:
            yield
        finally:
            self.enter(before)

    def write(self, *, resumed: int, step: int) -> None:
        """Append a row with the time since the last row.

        `step` is the last that is done, `resumed` that of the checkpoint from which
        this process has resumed, 0 if from none.
        """
        self._steps = {"resumed": resumed, "step": step}
        self.enter(self._bucket)
        seconds = {name: round(s, 4) for name, s in self._seconds.items() if s}
        self._seconds = dict.fromkeys(BUCKETS, 0.0)
        if self._path is None:
            return
        row = {"process": self._process, **self._steps, "seconds": seconds}
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def close(self) -> None:
        """Append the last row, and log how the whole run has spent its time."""
        if self._path is None or self._steps is None:  # it never had a state
            return
        self.write(**self._steps)
        rows = read_rows(self._path)
        several = len({row["process"] for row in rows}) > 1
        shares = format_shares(summarise(rows))
        logging.info("Wall time%s %s", " of all starts" if several else "", shares)


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the seconds of each of `BUCKETS`, summed over all starts of a run.

    Time spent on steps that were repeated later is lost work, with the input,
    evaluations and saves of those steps.
    """
    total = dict.fromkeys(BUCKETS, 0.0)
    kept = math.inf  # the step from which the run went on
    next_row = None
    for row in reversed(rows):
        if next_row is not None and (
            row["process"] != next_row["process"] or row["step"] > next_row["step"]
        ):
            kept = min(kept, next_row["resumed"])
        next_row = row
        for bucket, seconds in row["seconds"].items():
            lost = row["step"] > kept and bucket in _CAN_BE_LOST
            total["lost_work" if lost else bucket] += seconds
    return total


def format_shares(total: Mapping[str, float]) -> str:
    """Return the wall time and the share of each bucket, the largest first."""
    wall = sum(total.values())
    shares = sorted(total.items(), key=lambda item: -item[1])
    texts = [f"{name} {100 * s / wall:.1f} %" for name, s in shares if s]
    return f"{wall:.0f} s: {', '.join(texts).replace('_', ' ')}"


def _remove_torn_line(path: Path) -> None:
    """Cut off the unfinished last line that a killed process may leave."""
    whole, newline, torn = path.read_bytes().rpartition(b"\n")
    if torn:
        os.truncate(path, len(whole + newline))


def _seconds_since_birth() -> float:
    """Return the age of this process, 0 where the system does not tell it."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # 22nd of all: starttime
        return max(0.0, float(Path("/proc/uptime").read_text().split()[0]) - started)
    except (OSError, ValueError, IndexError):
        return 0.0

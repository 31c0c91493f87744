"""Where the wall time of a run goes: RUN/goodput.jsonl.

A process has one clock that always runs in some bucket, so the buckets of its rows add
up to its time by construction. Rows follow each other, one at least at every save:

    {"process": "2026-11-22T10:00:00.123", "resumed": 0, "step": 400,
     "seconds": {"step": 120.4, "input_wait": 0.2, "save": 0.8}}

`start` is all before the loop but `restore`, `compile`, which is that of the step, and
the wait for the first batch. `input_wait` is the loop's: the devices may be busy then.
When a run goes on after a kill, what the process before it spent after the checkpoint
that it goes on from is `lost_work`: `summarise` moves it there. A process touches the
file twice a second, so the next one knows how long it lived after its last row. One
that ends before it has a state is in no bucket.
"""

import contextlib
import datetime
import json
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from synthct_jax.runtime.metric_writer import read_rows

BUCKETS = (
    "start",
    "compile",
    "input_wait",
    "step",
    "save",
    "evaluate",
    "restore",
    "lost_work",
)
FILE = "goodput.jsonl"
_LOSES = tuple(b for b in BUCKETS if b not in ("start", "restore", "lost_work"))
_SIGN_SECONDS = 0.5


class Goodput:
    """The clock of one process, which one of all processes writes down.

    Entered while it trains: what an error ends, since the last row, is lost work.
    """

    def __init__(self, workdir: Path | None):
        """Starts in `start`, back at the birth of the process. None: writes nothing."""
        self._path = None if workdir is None else workdir / FILE
        age = _seconds_since_birth()
        born = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)
        self._process = born.isoformat(timespec="milliseconds")
        self._since = time.monotonic() - age
        self._bucket = "start"
        self._seconds = dict.fromkeys(BUCKETS, 0.0)
        self._steps: dict[str, int] | None = None
        self._ended = threading.Event()
        if self._path is not None:
            _complete(self._path)

    def __enter__(self) -> "Goodput":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is not None:
            self.enter("lost_work")
            for bucket in _LOSES:
                self._seconds["lost_work"] += self._seconds[bucket]
                self._seconds[bucket] = 0.0
        self.close()

    def begin(self, *, resumed: int) -> None:
        """The process is to train from step `resumed` on, 0 for none."""
        self.write(resumed=resumed, step=resumed)
        if self._path is not None:
            threading.Thread(target=self._live, daemon=True).start()

    def _live(self) -> None:
        while not self._ended.wait(_SIGN_SECONDS):
            os.utime(self._path)

    def enter(self, bucket: str) -> str:
        """Counts to `bucket` from now on; returns where it counted so far."""
        now, before = time.monotonic(), self._bucket
        self._seconds[before] += now - self._since
        self._since, self._bucket = now, bucket
        return before

    @contextlib.contextmanager
    def measure(self, bucket: str) -> Iterator[None]:
        """Counts to `bucket` inside of the block."""
        before = self.enter(bucket)
        try:
            yield
        finally:
            self.enter(before)

    def write(self, *, resumed: int, step: int) -> None:
        """Adds a row of the time since the last one.

        Args:
            resumed: the step that this process went on from, 0 for none.
            step: the last step that is done.
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
        """Writes what is left, and tells where the time of the whole run went."""
        self._ended.set()
        if self._path is None or self._steps is None:  # it did not begin
            return
        self.write(**self._steps)
        logging.info("Wall time %s", described(summarise(read_rows(self._path))))


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Seconds in each bucket, over all processes of a run, one after another.

    Time that led to steps which a later process had to repeat is lost work, with their
    input, evaluations and saves.
    """
    total = dict.fromkeys(BUCKETS, 0.0)
    kept = math.inf  # the step that the next process went on from
    following = None
    for row in reversed(rows):
        if following is not None and row["process"] != following["process"]:
            kept = min(kept, following["resumed"])
        following = row
        for bucket, seconds in row["seconds"].items():
            lost = row["step"] > kept and bucket in _LOSES
            total["lost_work" if lost else bucket] += seconds
    return total


def described(total: Mapping[str, float]) -> str:
    """One line: the wall time, and the shares of it, the largest first."""
    seconds = sum(total.values())
    shares = sorted(total.items(), key=lambda item: -item[1])
    parts = [
        f"{name.replace('_', ' ')} {100 * part / seconds:.1f} %"
        for name, part in shares
        if part
    ]
    return f"{seconds:.0f} s: {', '.join(parts)}"


def _complete(path: Path) -> None:
    """Mends what a process left that was killed: half a line, and time untold."""
    if not path.exists():
        return
    last_sign = path.stat().st_mtime_ns
    lines = path.read_bytes()
    whole, newline, torn = lines.rpartition(b"\n")
    if torn:
        os.truncate(path, len(whole + newline))
    rows = read_rows(path)
    if not rows:
        return
    last = rows[-1]
    told = sum(
        sum(row["seconds"].values())
        for row in rows
        if row["process"] == last["process"]
    )
    born = datetime.datetime.fromisoformat(last["process"]).timestamp()
    untold = last_sign / 1e9 - (born + told)
    if untold > 2 * _SIGN_SECONDS:  # else it has said farewell
        row = last | {"seconds": {"lost_work": round(untold, 4)}}
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
    os.utime(path, ns=(last_sign, last_sign))  # it is not this process that lived on


def _seconds_since_birth() -> float:
    """How long this process has been there, where the system says so."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # 22nd of all: starttime
        return max(0.0, float(Path("/proc/uptime").read_text().split()[0]) - started)
    except (OSError, ValueError, IndexError):
        return 0.0

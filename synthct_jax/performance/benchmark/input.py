"""The input pipeline alone, on some of the machine's cores."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from absl import app, logging
from ml_collections import ConfigDict

from input_pipeline.dataset import stream

_CAN_PIN = hasattr(os, "sched_setaffinity")  # Linux
SECONDS = 5.0  # of each measurement
_BATCHES = 4  # that do not count: threads and worker processes start


def measure_input(config: ConfigDict, data_dir: Path) -> list[dict[str, Any]]:
    """Pairs a second on one core, two, four and so on, as many as there are.

    Each in a process of its own that has only those cores; with more than one, read by
    threads, and by worker processes.
    """
    every = cores()
    found, count = [], 1
    while count <= len(every):
        for workers in (0,) if count == 1 else (0, count):
            rate = _in_process(config, data_dir, every[:count], workers)
            found.append({"cores": count, "workers": workers, "pairs_per_second": rate})
        count *= 2
    return found


def cores() -> list[int]:
    """That this process may use; of a system that does not tell, one."""
    return sorted(os.sched_getaffinity(0)) if _CAN_PIN else [0]


def _in_process(
    config: ConfigDict, data_dir: Path, pinned: list[int], workers: int
) -> float:
    request = json.dumps(
        {
            "data": {**config.data.to_dict(), "workers": workers},
            "batch": config.train.global_batch,
            "data_dir": str(data_dir),
            "cores": pinned,
            "seconds": SECONDS,
        }
    )
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=request,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)


def _read(request: dict[str, Any]) -> float:
    """Pairs a second."""
    if _CAN_PIN:
        os.sched_setaffinity(0, request["cores"])
    logging.set_verbosity(logging.WARNING)
    batch = request["batch"]
    batches = stream.make_stream(
        request["data_dir"],
        ConfigDict(request["data"]),
        seed=0,
        global_batch=batch,
    )
    for _ in range(_BATCHES):
        next(batches)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < request["seconds"]:
        next(batches)
        count += batch
    rate = count / (time.perf_counter() - began)
    batches.close()
    return rate


if __name__ == "__main__":
    app.run(lambda _: print(_read(json.load(sys.stdin))))  # workers read absl's flags

"""Rate of the input pipeline alone, on some of the machine's cores."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from absl import app, logging
from ml_collections import ConfigDict

from input_pipeline.cpus import usable_cpus
from input_pipeline.dataset.dataset import Dataset

_CAN_PIN = hasattr(os, "sched_setaffinity")
SECONDS = 5.0  # of each measurement
_WARM_UP_BATCHES = 4  # while threads and worker processes start


def measure_data_loading(config: ConfigDict, data_dir: Path) -> list[dict[str, Any]]:
    """Measure pairs a second on one core, two, four and so on, up to all.

    Each measurement runs in a process that is pinned to those cores. With more than one
    core it is made twice: with threads alone, and with worker processes.
    """
    # A process that cannot be pinned has all cores: one measurement says it all.
    available = usable_cpus() if _CAN_PIN else [0]
    results, count = [], 1
    while count <= len(available):
        for workers in (0,) if count == 1 else (0, count):
            rate = _measure_in_process(config, data_dir, available[:count], workers)
            results.append(
                {"cores": count, "workers": workers, "pairs_per_second": rate}
            )
        count *= 2
    return results


def _measure_in_process(
    config: ConfigDict, data_dir: Path, cores: list[int], workers: int
) -> float:
    request = json.dumps(
        {
            "data": {**config.data.to_dict(), "workers": workers},
            "batch": config.train.global_batch,
            "data_dir": str(data_dir),
            "cores": cores,
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


def _pairs_per_second(request: dict[str, Any]) -> float:
    if _CAN_PIN:
        os.sched_setaffinity(0, request["cores"])
    logging.set_verbosity(logging.WARNING)
    batch = request["batch"]
    dataset = Dataset.open(request["data_dir"])
    batches = dataset.batches(ConfigDict(request["data"]), seed=0, global_batch=batch)
    for _ in range(_WARM_UP_BATCHES):
        next(batches)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < request["seconds"]:
        next(batches)
        count += batch
    rate = count / (time.perf_counter() - began)
    batches.close()
    return rate


if __name__ == "__main__":
    # grain's worker processes read absl's flags.
    app.run(lambda _: print(_pairs_per_second(json.load(sys.stdin))))

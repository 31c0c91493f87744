"""Run one program of a comparison in a process of its own, one round a line of input.

    python -m tests.peers.worker TASK

TASK is JSON. For every line on standard input the worker calls the program once without
counting, because the system may have evicted its pages and caches in the meantime, and
then repeatedly for ROUND_SECONDS. It writes a line of JSON with the median time and the
peak memory.
"""

import json
import os
import statistics
import sys
import time

from tests.peers import programs

ROUND_SECONDS = 5.0  # at least


def main() -> None:
    task = json.loads(sys.argv[1])
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to standard error
    began = time.perf_counter()
    call = programs.PROGRAMS[task["kind"]][task["program"]](task)
    call()
    first = time.perf_counter() - began
    from synthct_jax.performance.benchmark import measure

    print(json.dumps({"first_seconds": first}), file=results, flush=True)
    for _ in sys.stdin:
        measure.reset_peak_memory()  # without that of compilers
        call()
        times: list[float] = []
        while sum(times) < ROUND_SECONDS:
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
        result = {
            "seconds": statistics.median(times),
            "peak_bytes": measure.process_peak_bytes(),
        }
        print(json.dumps(result), file=results, flush=True)


if __name__ == "__main__":
    main()

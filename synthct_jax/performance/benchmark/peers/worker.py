"""One program of a comparison in a process of its own, which runs when it is told.

    python -m synthct_jax.performance.benchmark.peers.worker TASK

TASK is JSON. For every line on standard input the program has a turn: it does its work
once, for the system may have taken its pages and caches while it waited, and then again
and again for TURN seconds. It writes a line of JSON: the median of the times, and the
memory that it held at most.
"""

import json
import os
import statistics
import sys
import time

from synthct_jax.performance.benchmark.peers import programs

TURN = 5.0  # seconds at least


def main() -> None:
    task = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    began = time.perf_counter()
    work = programs.PROGRAMS[task["kind"]][task["program"]](task)
    work()
    first = time.perf_counter() - began
    from synthct_jax.performance.benchmark.clock import forget_peak, process_bytes

    print(json.dumps({"first_seconds": first}), file=answers, flush=True)
    for _ in sys.stdin:
        forget_peak()  # of compilers
        work()
        times: list[float] = []
        while sum(times) < TURN:
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
        found = {
            "seconds": statistics.median(times),
            "peak_bytes": process_bytes("VmHWM"),
        }
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()

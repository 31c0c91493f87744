"""One program of a comparison in a process of its own, which runs when it is told.

    python -m synthct_jax.benchmark.peers.worker TASK

TASK is JSON. For every line on standard input the program does its work twice and
writes a line of JSON: the seconds that the second time took, and its memory. While it
waits the system may take its pages and caches: the first time brings them back.
"""

import json
import os
import sys
import time

from synthct_jax.benchmark.peers import programs


def main() -> None:
    task = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    began = time.perf_counter()
    work = programs.PROGRAMS[task["kind"]][task["program"]](task)
    work()
    first = time.perf_counter() - began
    from synthct_jax.benchmark.measure import process_bytes

    print(json.dumps({"first_seconds": first}), file=answers, flush=True)
    for _ in sys.stdin:
        work()
        began = time.perf_counter()
        work()
        seconds = time.perf_counter() - began
        found = {"seconds": seconds, "peak_bytes": process_bytes("VmHWM")}
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()

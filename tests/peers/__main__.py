"""Compare our training step or translation with other programs, round by round.

    python -m tests.peers step --size=256 --rounds=5
    python -m tests.peers translation --size=256 --slices=32

Run it from the checkout, in an environment that has the extra `peers`:
make .venv-peers/installed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from input_pipeline.cpus import usable_cpus
from synthct_jax.runtime import environment
from tests.peers.programs import BATCH, OURS, PROGRAMS, SLOW


class Worker:
    """A process that runs one program whenever `run` is called."""

    def __init__(self, name: str, task: dict[str, Any], threads: int):
        self.name = name
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.peers.worker"),
                json.dumps({**task, "program": name}),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(threads),
                # main.py sets it for our program; other programs run as installed.
                **(environment.huge_page_environment() if name in OURS else {}),
            },
        )
        self.rounds: list[dict[str, Any]] = []
        self.first_seconds: float | None = None

    def start(self) -> bool:
        """Wait for the first call; return False if the program failed."""
        result = self._read()
        if result is not None:
            self.first_seconds = result["first_seconds"]
        return result is not None

    def run(self) -> None:
        """Run one round. Raises RuntimeError if the program ends."""
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        result = self._read()
        if result is None:
            raise RuntimeError(f"{self.name} ended with status {self._process.wait()}")
        self.rounds.append(result)

    def stop(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _read(self) -> dict[str, Any] | None:
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    @property
    def median(self) -> float:
        return statistics.median(result["seconds"] for result in self.rounds)


def compare(task: dict[str, Any], names: list[str], rounds: int) -> dict[str, Any]:
    """Return seconds and memory of each program, measured in turn: A B C A B C ..."""
    threads = len(usable_cpus())
    workers, failed = [], []
    try:
        for name in names:  # one after another, so that compile times compare
            worker = Worker(name, task, threads)
            workers.append(worker)
            if worker.start():
                print(f"ready: {name}", file=sys.stderr, flush=True)
            else:
                workers.remove(worker)
                worker.stop()
                failed.append(name)
        for number in range(rounds):
            for worker in workers:
                worker.run()
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    finally:
        for worker in workers:
            worker.stop()
    return {
        "task": task,
        "threads": threads,
        "rounds": rounds,
        "failed": failed,
        "programs": {
            worker.name: {
                "first_seconds": worker.first_seconds,
                "seconds": [result["seconds"] for result in worker.rounds],
                "median_seconds": worker.median,
                "peak_bytes": worker.rounds[-1]["peak_bytes"],
            }
            for worker in workers
        },
    }


def format_table(results: dict[str, Any]) -> str:
    """Return a Markdown table of medians, ranges and speed-ups over PyTorch eager."""
    programs = results["programs"]
    base = programs.get("PyTorch eager")
    lines = [
        "| program | median, s | range, s | speed-up over PyTorch eager | "
        "peak memory, GiB | start and first call, s |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, program in programs.items():
        median, seconds = program["median_seconds"], program["seconds"]
        speed_up = f"{base['median_seconds'] / median:.2f}" if base else ""
        memory = program["peak_bytes"]
        lines.append(
            f"| {name} | {median:.3g} | {min(seconds):.3g} to {max(seconds):.3g} | "
            f"{speed_up} | {'' if memory is None else f'{memory / 2**30:.2f}'} | "
            f"{program['first_seconds']:.1f} |"
        )
    lines += [f"| {name} | failed | | | | |" for name in results["failed"]]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=PROGRAMS)
    parser.add_argument("--size", type=int, default=256, help="pixels")
    parser.add_argument("--batch", type=int, default=1, help="images a step")
    parser.add_argument("--slices", type=int, default=32, help="slices of the volume")
    parser.add_argument("--channels", type=int, default=1, help="MR channels")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--programs", help="A;B;C; by default all but slow ones")
    parser.add_argument("--output", type=Path, help="a JSON file")
    arguments = parser.parse_args()
    known = list(PROGRAMS[arguments.kind])
    names = [name for name in known if name not in SLOW[arguments.kind]]
    if arguments.programs:
        names = arguments.programs.split(";")
    if unknown := set(names) - set(known):
        parser.error(f"no program {min(unknown)!r}, expected: {'; '.join(known)}")
    if arguments.slices % BATCH:
        parser.error(f"--slices={arguments.slices}, expected a multiple of {BATCH}")
    fields = ("kind", "size", "batch", "slices", "channels", "width", "blocks")
    task = {name: getattr(arguments, name) for name in fields}
    results = compare(task, names, arguments.rounds)
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    print(format_table(results))


if __name__ == "__main__":
    main()

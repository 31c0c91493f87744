"""Our step or translation beside those of other programs, round by round.

    python -m synthct_jax.performance.benchmark.peers step --size=256 --rounds=5
    python -m synthct_jax.performance.benchmark.peers translation --size=256 --slices=32

Needs the extra `peers`, in an environment of its own: make .venv-peers/installed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from synthct_jax.performance.benchmark.peers.programs import BATCH, OURS, PROGRAMS, SLOW
from synthct_jax.runtime import environment


class Worker:
    """A program that waits for its turn."""

    def __init__(self, name: str, task: dict[str, Any], threads: int):
        self.name = name
        self._process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "synthct_jax.performance.benchmark.peers.worker",
                ),
                json.dumps({**task, "program": name}),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if task.get("quiet") else None,
            text=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(threads),
                # As our own program has it; others are as their users have them.
                **(environment.huge_pages() if name in OURS else {}),
            },
        )
        self.rounds: list[dict[str, Any]] = []
        self.first_seconds: float | None = None

    def start(self) -> bool:
        """Waits until it is ready; False: it failed."""
        found = self._answer()
        if found is not None:
            self.first_seconds = found["first_seconds"]
        return found is not None

    def run(self) -> None:
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        found = self._answer()
        if found is None:
            raise RuntimeError(f"{self.name} ended with {self._process.wait()}")
        self.rounds.append(found)

    def stop(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> dict[str, Any] | None:
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    @property
    def median(self) -> float:
        return statistics.median(one["seconds"] for one in self.rounds)


def compare(task: dict[str, Any], names: list[str], rounds: int) -> dict[str, Any]:
    """Seconds and memory of each program, measured in turn: A B C A B C ..."""
    threads = len(os.sched_getaffinity(0))
    workers, failed = [], []
    try:
        for name in names:  # one after another: each compiles alone
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
                "seconds": [one["seconds"] for one in worker.rounds],
                "median_seconds": worker.median,
                "peak_bytes": worker.rounds[-1]["peak_bytes"],
            }
            for worker in workers
        },
    }


def table(found: dict[str, Any]) -> str:
    """In Markdown: medians, and how often PyTorch eager's time they are."""
    programs = found["programs"]
    base = programs.get("PyTorch eager")
    lines = [
        "| program | median, s | range, s | times as fast as PyTorch eager | "
        "memory at most, GiB | start and first, s |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, one in programs.items():
        median, seconds = one["median_seconds"], one["seconds"]
        faster = f"{base['median_seconds'] / median:.2f}" if base else ""
        memory = one["peak_bytes"]
        lines.append(
            f"| {name} | {median:.3g} | {min(seconds):.3g} to {max(seconds):.3g} | "
            f"{faster} | {'' if memory is None else f'{memory / 2**30:.2f}'} | "
            f"{one['first_seconds']:.1f} |"
        )
    lines += [f"| {name} | failed | | | | |" for name in found["failed"]]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=PROGRAMS)
    parser.add_argument("--size", type=int, default=256, help="pixels")
    parser.add_argument("--batch", type=int, default=1, help="of the step")
    parser.add_argument("--slices", type=int, default=32, help="of the volume")
    parser.add_argument("--channels", type=int, default=1, help="of MR")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--programs", help="by default all but slow ones; A;B;C")
    parser.add_argument("--output", type=Path, help="JSON")
    asked = parser.parse_args()
    known = list(PROGRAMS[asked.kind])
    names = [name for name in known if name not in SLOW[asked.kind]]
    if asked.programs:
        names = asked.programs.split(";")
    if unknown := set(names) - set(known):
        parser.error(f"no program {min(unknown)!r}, only: {'; '.join(known)}")
    if asked.slices % BATCH:
        parser.error(f"--slices={asked.slices}, expected a multiple of {BATCH}")
    shape = ("kind", "size", "batch", "slices", "channels", "width", "blocks")
    task = {name: getattr(asked, name) for name in shape}
    found = compare(task, names, asked.rounds)
    if asked.output:
        asked.output.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()

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
from typing import Any

from input_pipeline.cpus import cpu_count
from synthct_jax.runtime import environment
from tests.peers.programs import BATCH, OURS, PROGRAMS, SLOW

WORKER = (sys.executable, "-m", "tests.peers.worker")


class Worker:
    """A process that runs one program whenever `run` is called."""

    def __init__(self, name: str, task: dict[str, Any]):
        """Start it, and wait for the first call."""
        # main.py sets huge pages for our program; other programs run as installed.
        ours = environment.huge_page_environment() if name in OURS else {}
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.peers.worker",
                json.dumps(task | {"program": name}),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(cpu_count()), **ours},
        )
        self.name, self.rounds = name, []
        self.first = self._read()  # None if the program failed

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
    def seconds(self) -> list[float]:
        return [result["seconds"] for result in self.rounds]


def compare(task: dict[str, Any], names: list[str], rounds: int) -> list[Worker]:
    """Measure programs in turn, A B C A B C ...; one that failed has no rounds."""
    workers: list[Worker] = []
    try:
        for name in names:  # one after another, so that compile times compare
            workers.append(Worker(name, task))
            print(f"started: {name}", file=sys.stderr, flush=True)
        for number in range(rounds):
            for worker in workers:
                if worker.first:
                    worker.run()
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    finally:
        for worker in workers:
            worker.stop()
    return workers


def format_table(workers: list[Worker]) -> str:
    """Return a Markdown table of medians, ranges and speed-ups over PyTorch eager."""
    medians = {w.name: statistics.median(w.seconds) for w in workers if w.rounds}
    base = medians.get("PyTorch eager")
    lines = [
        "| program | median, s | range, s | speed-up over PyTorch eager | "
        "peak memory, GiB | start and first call, s |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for worker in workers:
        if not worker.rounds:
            lines.append(f"| {worker.name} | failed | | | | |")
            continue
        median, memory = medians[worker.name], worker.rounds[-1]["peak_bytes"]
        speed_up = f"{base / median:.2f}" if base else ""
        lines.append(
            f"| {worker.name} | {median:.3g} | "
            f"{min(worker.seconds):.3g} to {max(worker.seconds):.3g} | "
            f"{speed_up} | {'' if memory is None else f'{memory / 2**30:.2f}'} | "
            f"{worker.first['first_seconds']:.1f} |"
        )
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
    arguments = parser.parse_args()
    known = list(PROGRAMS[arguments.kind])
    names = [name for name in known if name not in SLOW[arguments.kind]]
    if arguments.programs:
        names = arguments.programs.split(";")
    if unknown := set(names) - set(known):
        parser.error(f"no program {min(unknown)!r}, expected: {'; '.join(known)}")
    if arguments.slices % BATCH:
        parser.error(f"--slices={arguments.slices}, expected a multiple of {BATCH}")
    print(format_table(compare(vars(arguments), names, arguments.rounds)))


if __name__ == "__main__":
    main()

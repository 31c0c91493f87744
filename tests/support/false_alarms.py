"""Count how often detectors of failed training fire in healthy trainings.

    synthct sweep --config=phantom --variants=anatomy_in_out --seeds=0,1 --workdir=SWEEP
    .venv/bin/python tests/support/false_alarms.py SWEEP/runs/*/*

The table that it prints counts, for each detector, the runs in which it fired, and the
validations. Which trainings are healthy, their errors have to tell.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from synthct_jax.evaluation.detectors import DETECTORS, PREFIX, faults
from synthct_jax.runtime.jsonl import read_rows


def alarms(workdir: Path) -> list[set[str]]:
    """Return the detectors that fired at each judged validation of a run."""
    train = json.loads((workdir / "config.json").read_text())["train"]
    first = train["guard_after"] * train["steps"]
    rows = [
        {name: row.get(f"validation_{PREFIX}{name}") for name in DETECTORS}
        for row in read_rows(workdir / "metrics.jsonl")
        if f"validation_{PREFIX}fired" in row and row["step"] >= first
    ]
    return [
        {name for name, v in row.items() if v is not None and faults({name: v})}
        for row in rows
    ]


def table(runs: Sequence[list[set[str]]]) -> str:
    """Return how many runs, and how many validations, fired each detector."""
    of_runs = Counter(name for run in runs for name in set().union(*run))
    of_validations = Counter(name for run in runs for fired in run for name in fired)
    lines = [
        f"| detector | runs of {len(runs)} | validations of {sum(map(len, runs))} |",
        "|---|---:|---:|",
    ]
    for name in DETECTORS:
        lines.append(f"| {name} | {of_runs[name]} | {of_validations[name]} |")
    fired = sum(any(run) for run in runs)
    validations = sum(bool(fired) for run in runs for fired in run)
    return "\n".join([*lines, f"| any | {fired} | {validations} |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="folders of trainings")
    print(table([alarms(run) for run in parser.parse_args().runs]))


if __name__ == "__main__":
    main()

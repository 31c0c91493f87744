"""Count how often detectors of failed training fire in healthy trainings.

    .venv/bin/python tests/support/false_alarms.py --runs=20 --workdir=FOLDER

Each run trains configs/phantom.py with a seed of its own, so it also draws people of
its own. The same command goes on with runs that are not done. The table that it prints
counts, for each detector, the runs in which it fired, and the validations.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from synthct_jax import train
from synthct_jax.configs import phantom
from synthct_jax.evaluation.detectors import DETECTORS, PREFIX, faults
from synthct_jax.runtime.jsonl import read_rows


def alarms(config: ConfigDict, workdir: Path) -> list[set[str]]:
    """Return the detectors that fired at each judged validation of a run."""
    first = config.train.guard_after * config.train.steps
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
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--variant", default="anatomy_in_out")
    parser.add_argument("--steps", type=int, help="of each run")
    parser.add_argument("--evaluate_every", type=int, help="steps")
    parser.add_argument("--workdir", type=Path, required=True)
    arguments = parser.parse_args()
    runs = []
    for seed in range(arguments.runs):
        config = phantom.get_config(arguments.variant)
        config.seed = seed
        config.train.steps = arguments.steps or config.train.steps
        config.train.evaluate_every = (
            arguments.evaluate_every or config.train.evaluate_every
        )
        workdir = arguments.workdir / f"seed_{seed}"
        if not train.train(config, workdir=workdir):
            return  # by a signal
        runs.append(alarms(config, workdir))
    print(table(runs))


if __name__ == "__main__":
    main()

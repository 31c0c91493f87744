"""Measure an ensemble by the number of its networks.

    synthct train --config=phantom:anatomy_in_out --config.mesh.seeds=3 --workdir=RUN
    .venv/bin/python tests/support/ensemble_curve.py RUN OUT --views=1

Prints a table. Its first row is the mean of the networks alone, the next the ensembles
of the first two, three and so on. OUT gets the evaluations behind it.
"""

import argparse
import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from input_pipeline.dataset.dataset import Dataset
from synthct_jax.evaluation import ct_methods
from synthct_jax.evaluation.evaluate import evaluate
from synthct_jax.evaluation.results import NETWORK
from synthct_jax.inference.loaded_model import LoadedModel, load_model
from synthct_jax.model import methods

METRICS = ("mae", "spread_coverage", "spread_factor", "spread_correlation")


def with_members(ensemble: LoadedModel, members: Sequence[int]) -> LoadedModel:
    """Return the ensemble of some of its networks, or one of them alone."""
    mesh = {**ensemble.config["mesh"], "seeds": len(members)}
    config = {**ensemble.config, "mesh": mesh}
    kept = members[0] if len(members) == 1 else np.array(members)

    def take(params):
        return None if params is None else jax.tree.map(lambda x: x[kept], params)

    return dataclasses.replace(
        ensemble,
        method=methods.from_config(ConfigDict(config)),
        params=take(ensemble.params),
        inverse_params=take(ensemble.inverse_params),
        config=config,
    )


def measure(model: LoadedModel, output: Path, split: str | None) -> dict[str, float]:
    """Evaluate a model on the data of its training; return `METRICS` that it has."""
    dataset = Dataset.open(Path(model.trained_on))
    evaluation = evaluate(
        ct_methods.model_of_generator(model, dataset),
        dataset,
        split=split or dataset.manifest.domains["mr"].held_out,
        provenance=model.provenance,
        output_dir=output,
        curves=(),
        inception=None,
    )
    return {
        row.metric: row.value
        for row in evaluation.results.rows
        if row.method == NETWORK and row.region == "body" and not row.subject
        if row.metric in METRICS
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--views", type=int)
    parser.add_argument("--split")
    arguments = parser.parse_args()
    ensemble = load_model(arguments.run, inverse=True).with_views(arguments.views)
    count = ensemble.config["mesh"]["seeds"]
    if count == 1:
        parser.error(
            f"{arguments.run} is one network, expected mesh.seeds of 2 or more"
        )

    def measure_members(members: Sequence[int]) -> dict[str, float]:
        folder = arguments.output / "_".join(map(str, members))
        return measure(with_members(ensemble, members), folder, arguments.split)

    alone = [measure_members([member]) for member in range(count)]
    rows = [{name: statistics.fmean(x[name] for x in alone) for name in alone[0]}]
    rows += [measure_members(range(size)) for size in range(2, count + 1)]
    print(f"| networks | {' | '.join(METRICS)} |")
    print(f"|---:|{'---:|' * len(METRICS)}")
    for size, row in enumerate(rows, 1):
        cells = (f"{row[name]:.4g}" if name in row else "" for name in METRICS)
        print(f"| {size} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

"""The batches that a configuration trains on: of prepared data, simulated, or both."""

from pathlib import Path

import grain
import jax
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from input_pipeline import files
from input_pipeline.dataset.dataset import Dataset
from input_pipeline.simulation import anatomies
from input_pipeline.simulation.stream import check_fields, stream_simulated
from synthct_jax.parallel import sharding


def open_batches(
    config: ConfigDict,
    dataset: Dataset,
    mesh: Mesh,
    *,
    anatomies_dir: Path,
    start_step: int = 0,
) -> grain.DatasetIterator:
    """Return this process' share of endless batches, from `start_step` on.

    See `Dataset.batches`. `anatomies_dir` is read if the configuration simulates pairs.
    """
    share, shares = sharding.share_of_process(mesh)
    simulated = None
    if simulates_pairs(config):
        simulated = stream_simulated(config, anatomies_dir)
    return dataset.batches(
        config.data,
        seed=config.seed,
        global_batch=config.train.global_batch,
        paired=config.method == "supervised",
        simulated=simulated,
        start_step=start_step,
        process_index=share,
        process_count=shares,
    )


def simulates_pairs(config: ConfigDict) -> bool:
    """Return True if a training with this configuration reads simulated pairs."""
    if not config.get("phantom", {}).get("anatomies", 0):
        return False
    return config.method == "supervised" or config.loss.simulated > 0


def draw_anatomies(config: ConfigDict, folder: Path) -> None:
    """Draw the anatomies of simulated pairs, if there are none and they are needed.

    Raises:
        ValueError: a field of the configuration does not suit simulated pairs.
    """
    if not simulates_pairs(config):
        return
    check_fields(config)
    if files.is_vacant(folder) and jax.process_index() == 0:
        logging.info("Drawing anatomies into %s", folder)
        anatomies.draw(anatomies.anatomies_of(config), folder)

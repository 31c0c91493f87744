"""The batches that a configuration trains on: of prepared data, simulated, or both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from input_pipeline import files
from input_pipeline.dataset.dataset import Dataset
from input_pipeline.simulation import anatomies
from input_pipeline.simulation.stream import check_fields, stream_simulated
from synthct_jax.parallel import sharding


class Batches(Protocol):
    """Endless batches of a process; an ensemble's have an axis of members in front."""

    def __next__(self) -> dict[str, np.ndarray]: ...

    def close(self) -> None: ...


def open_batches(
    config: ConfigDict,
    dataset: Dataset,
    mesh: Mesh,
    *,
    anatomies_dir: Path,
    targets: Path | None = None,
    start_step: int = 0,
    roll_backs: int = 0,
) -> Batches:
    """Return this process' share of endless batches, from `start_step` on.

    See `Dataset.batches`. `anatomies_dir` is read if the configuration simulates pairs.
    Each number of `roll_backs` has an order of its own.
    """
    share, shares = sharding.share_of_process(mesh)

    def open_seed(seed: int) -> Batches:
        seed = sharding.order_seed(seed, roll_backs)
        simulated = None
        if simulates_pairs(config):
            simulated = stream_simulated(config, anatomies_dir, seed=seed)
        return dataset.batches(
            config.data,
            seed=seed,
            global_batch=config.train.global_batch,
            paired=config.method == "supervised",
            own_pairs=config.loss.paired > 0,
            simulated=simulated,
            targets=targets,
            start_step=start_step,
            process_index=share,
            process_count=shares,
        )

    if config.mesh.seeds == 1:
        return open_seed(config.seed)
    members = sharding.members_of_process(mesh, config.mesh.seeds)
    return _OfMembers(
        [open_seed(sharding.member_seed(config.seed, i)) for i in members]
    )


class _OfMembers:
    """The batches of several members: their arrays stacked."""

    def __init__(self, streams: Sequence[Batches]):
        self._streams = streams

    def __next__(self) -> dict[str, np.ndarray]:
        batches = [next(stream) for stream in self._streams]
        return jax.tree.map(lambda *arrays: np.stack(arrays), *batches)

    def close(self) -> None:
        for stream in self._streams:
            stream.close()


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

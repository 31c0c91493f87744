"""A few steps from a checkpoint on one layout of devices and processes, as a program.

    python tests/support/elastic.py train DATA FOLDER NAME    steps 1 to 4, saves step 2
    python tests/support/elastic.py resume DATA FOLDER NAME   3 and 4, from every save

All arrays after step 4 go to FOLDER/NAME_from_OTHER.npz. The steps are those of
`train.train`, arranged so that one process compiles once for all saves.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from tiny_run import tiny_config

from input_pipeline.dataset.dataset import Dataset
from synthct_jax.checkpoint import manager
from synthct_jax.checkpoint.manager import Checkpoints
from synthct_jax.checkpoint.metadata import CheckpointMetadata
from synthct_jax.model.cyclegan import CycleGan
from synthct_jax.model.step import make_init, make_step
from synthct_jax.parallel import sharding
from synthct_jax.parallel.mesh import choose_mesh
from synthct_jax.runtime import processes

SAVED, END = 2, 4


@dataclasses.dataclass(frozen=True)
class Layout:
    """processes of `devices` each; the mesh as (data, fsdp, space)."""

    processes: int
    devices: int
    mesh: Sequence[int]


LAYOUTS = {
    "1": Layout(1, 1, (1, 1, 1)),
    "2": Layout(1, 2, (2, 1, 1)),
    "4": Layout(1, 4, (2, 1, 2)),
    "8": Layout(1, 8, (2, 2, 2)),
    "2_in_2": Layout(2, 1, (2, 1, 1)),
    "4_in_2": Layout(2, 2, (1, 4, 1)),
    "8_in_2": Layout(2, 4, (1, 1, 8)),  # a process has half of the rows
}


def main(mode: str, data_dir: str, folder: str, name: str) -> None:
    processes.init_distributed()
    # A low rate, or rounding would grow tenfold a step and hide real differences.
    config = tiny_config(global_batch=8, pool_size=16, steps=END, learning_rate=1e-6)
    config.model.update(width=12, discriminator_width=12)
    config.mesh.update(dict(zip(sharding.BATCH_AXES, LAYOUTS[name].mesh, strict=True)))
    mesh = choose_mesh(config)
    method = CycleGan.from_config(config, mesh=mesh)
    init, abstract = make_init(method, config, mesh)
    step = make_step(method, mesh, abstract)

    def train(state, start: int, end: int):
        share, shares = sharding.share_of_process(mesh)
        batches = Dataset.open(data_dir).batches(
            config.data,
            seed=0,
            global_batch=8,
            start_step=start,
            process_index=share,
            process_count=shares,
        )
        for _ in range(start, end):
            state, _ = step(state, sharding.to_global(next(batches), mesh))
        batches.close()
        return state

    def write(state, origin: str) -> None:
        everywhere = jax.jit(lambda x: x, out_shardings=sharding.replicated(mesh))
        arrays = manager.state_to_arrays(everywhere(state))
        if jax.process_index() == 0:
            local = {n: np.asarray(a.addressable_data(0)) for n, a in arrays.items()}
            np.savez(Path(folder) / f"{name}_from_{origin}.npz", **local)

    if mode == "train":
        state = init(jax.random.key(config.seed))
        write(state, "nothing")
        state = train(state, 0, SAVED)
        with Checkpoints(Path(folder) / name) as checkpoints:
            checkpoints.save(
                state,
                CheckpointMetadata(
                    config=config.to_dict(), prepared={}, data_dir="", versions={}
                ),
            )
        write(train(state, SAVED, END), "the_start")
        return
    for origin in LAYOUTS:
        with Checkpoints.of_run(Path(folder) / origin) as checkpoints:
            state = checkpoints.restore(abstract, SAVED)
        write(train(state, SAVED, END), origin)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Trainings as one ensemble and each by itself, as a program in float64.

    JAX_NUM_CPU_DEVICES=8 JAX_ENABLE_X64=1 python tests/support/members.py MESH...

prints a line of JSON for each mesh, which is data,fsdp,space: the shape of the mesh,
and the largest difference of any array of a member, after three steps, from that of the
training by itself.
"""

import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from layouts import to_float64
from tiny_run import tiny_config

from synthct_jax.model.ensemble import Ensemble
from synthct_jax.model.methods import from_config
from synthct_jax.model.step import make_step
from synthct_jax.model.train_state import TrainState, state_sharding
from synthct_jax.parallel import sharding
from synthct_jax.parallel.mesh import choose_mesh

SEEDS, BATCH, SIZE = 4, 4, 32


class Program:
    """Initial states and the step of `seeds` trainings on a mesh."""

    def __init__(self, seeds: int, *mesh: int):
        config = tiny_config(pool_size=8, global_batch=BATCH)
        config.model.update(width=12, discriminator_width=12)
        config.mesh.update(dict(zip(sharding.BATCH_AXES, mesh, strict=True)))
        config.mesh.seeds = self.seeds = seeds
        self.mesh = choose_mesh(config)
        self.method = from_config(config, mesh=self.mesh)
        if isinstance(self.method, Ensemble):
            member = to_float64(self.method.member)
            self.method = dataclasses.replace(self.method, member=member)
        else:
            self.method = to_float64(self.method)
        shapes = jax.eval_shape(self.init, self.method.initial_key(0))
        self.shardings = state_sharding(self.mesh, shapes)
        abstract = jax.tree.map(
            lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
            shapes,
            self.shardings,
        )
        self.step = make_step(self.method, self.mesh, abstract)

    def init(self, key: jax.Array) -> TrainState:
        state = self.method.init(key, batch=BATCH, size=SIZE)
        return jax.tree.map(
            lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, state
        )

    def train(self, seed: int) -> list[np.ndarray]:
        """Return all arrays after three steps; members have seeds from `seed` on."""
        state = jax.jit(self.init)(self.method.initial_key(seed))
        state = jax.device_put(state, self.shardings)
        for number in range(3):
            rngs = [
                np.random.default_rng([number, seed + k]) for k in range(self.seeds)
            ]
            batch = {
                name: np.stack(
                    [rng.uniform(-1, 1, (BATCH, SIZE, SIZE, c)) for rng in rngs]
                )
                for name, c in (("mr", 2), ("ct", 1))
            }
            if self.seeds == 1:
                batch = {name: images[0] for name, images in batch.items()}
            state, _ = self.step(state, sharding.to_global(batch, self.mesh))
        arrays = (state.generators, state.discriminators, state.pools)
        return [np.asarray(array) for array in jax.tree.leaves(arrays)]


if __name__ == "__main__":
    single = Program(1, 1, 1, 1)
    alone = [single.train(seed) for seed in range(SEEDS)]
    for mesh in sys.argv[1:]:
        program = Program(SEEDS, *map(int, mesh.split(",")))
        arrays = program.train(0)
        difference = max(
            np.abs(array[seed] - own).max()
            for seed in range(SEEDS)
            for array, own in zip(arrays, alone[seed], strict=True)
        )
        print(json.dumps([dict(program.mesh.shape), float(difference)]), flush=True)

"""The same training on many layouts of eight virtual devices, as a program.

    JAX_NUM_CPU_DEVICES=8 JAX_ENABLE_X64=1 \\
        python tests/support/layouts.py STEPS LAYOUT...

prints a line of JSON for each layout, which is some of data,fsdp,space,accumulate,
remat,bfloat16,blocks: the losses of all steps and the weights and pools after the
last. In float64: what differs then is what is computed, and not how it is rounded,
which a GAN makes larger with every step.
"""

import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from tiny_run import tiny_config

from synthct_jax.model.cyclegan import CycleGan
from synthct_jax.model.step import make_step
from synthct_jax.model.train_state import state_sharding
from synthct_jax.parallel import sharding
from synthct_jax.parallel.mesh import choose_mesh

BATCH, SIZE = 8, 32


def config(
    data: int = 1,
    fsdp: int = 1,
    space: int = 1,
    accumulate: int = 1,
    remat: int = 0,
    bfloat16: int = 0,
) -> ConfigDict:
    """Identity, pairs, pools, both strides; fsdp has arrays that are large enough."""
    config = tiny_config(pool_size=16, global_batch=BATCH, accumulate=accumulate)
    config.data.size = SIZE
    config.model.update(width=12, discriminator_width=12, remat=bool(remat))
    config.model.dtype = "bfloat16" if bfloat16 else "float32"
    config.loss.identity = 0.5
    config.loss.paired = 2.0
    config.mesh.update(data=data, fsdp=fsdp, space=space)
    return config


def to_float64(cyclegan: CycleGan) -> CycleGan:
    """Return a CycleGAN whose networks compute in float64."""
    networks = ("to_ct", "to_mr", "discriminator")
    return dataclasses.replace(
        cyclegan, **{n: getattr(cyclegan, n).copy(dtype=jnp.float64) for n in networks}
    )


def program(config: ConfigDict, *, blocks: bool):
    """The jitted step, a new state, and the mesh."""
    mesh = choose_mesh(config)
    platform = "tpu" if blocks else None
    cyclegan = CycleGan.from_config(config, mesh=mesh, platform=platform)
    if jax.config.jax_enable_x64:
        cyclegan = to_float64(cyclegan)

    def init(key):
        state = cyclegan.init(key, batch=BATCH, size=SIZE)
        wide = jnp.zeros(()).dtype  # float64 where it is enabled
        return jax.tree.map(
            lambda x: x.astype(wide) if x.dtype == jnp.float32 else x, state
        )

    key = jax.random.key(0)
    shapes = jax.eval_shape(init, key)
    abstract = jax.tree.map(
        lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
        shapes,
        state_sharding(mesh, shapes),
    )
    shardings = jax.tree.map(lambda x: x.sharding, abstract)
    state = jax.device_put(jax.jit(init)(key), shardings)
    return make_step(cyclegan, mesh, abstract), state, mesh


def batches(steps: int):
    rng = np.random.default_rng(0)
    dtype = np.dtype(jnp.zeros(()).dtype)
    for _ in range(steps):
        yield {
            f"{kind}{name}": rng.uniform(-1, 1, (BATCH, SIZE, SIZE, c)).astype(dtype)
            for kind in ("", "paired_")
            for name, c in (("mr", 2), ("ct", 1))
        }


def train(steps: int, *layout: int) -> dict:
    step, state, mesh = program(config(*layout[:6]), blocks=any(layout[6:]))
    losses = []
    for batch in batches(steps):
        state, metrics = step(state, sharding.to_global(batch, mesh))
        losses.append({k: float(v) for k, v in jax.device_get(metrics).items()})
    arrays = jax.device_get((state.generators, state.discriminators, state.pools))
    return {
        "losses": losses,
        "arrays": [np.ravel(leaf).tolist() for leaf in jax.tree.leaves(arrays)],
    }


if __name__ == "__main__":
    for layout in sys.argv[2:]:
        result = train(int(sys.argv[1]), *map(int, layout.split(",")))
        print(json.dumps(result), flush=True)

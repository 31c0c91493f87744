"""The state and the compiled training step of a configuration on a mesh."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from input_pipeline.dataset.augment import image_size
from synthct_jax.layers.cpu import onednn
from synthct_jax.model.ensemble import Trainable
from synthct_jax.model.train_state import (
    Batch,
    Metrics,
    TrainState,
    has_members,
    state_sharding,
)
from synthct_jax.parallel import sharding

Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def abstract_batch(config: ConfigDict, method: Trainable, mesh: Mesh) -> Batch:
    """Return shapes and shardings of a global batch, of all members of an ensemble."""
    size = image_size(config.data)
    seeds = config.mesh.seeds
    members = (seeds,) if seeds > 1 else ()
    images = {"mr": method.mr_channels, "ct": 1}
    images |= {
        f"{pairs}_{name}": channels
        for pairs in method.pair_weights
        for name, channels in images.items()
    }
    return {
        name: jax.ShapeDtypeStruct(
            (*members, config.train.global_batch, size, size, channels),
            jnp.float32,
            sharding=sharding.batch_sharding(mesh, members=bool(members)),
        )
        for name, channels in images.items()
    }


def make_init(
    method: Trainable, config: ConfigDict, mesh: Mesh
) -> tuple[Callable[[jax.Array], TrainState], TrainState]:
    """Return a function from a random key to a new state, and the state's shapes.

    Both have the shardings of `mesh`: arrays are made where they stay.
    """

    def init(key: jax.Array) -> TrainState:
        batch, size = config.train.global_batch, image_size(config.data)
        return method.init(key, batch=batch, size=size)

    shapes = jax.eval_shape(init, method.initial_key(0))
    shardings = state_sharding(mesh, shapes)
    abstract = jax.tree.map(
        lambda array, where: jax.ShapeDtypeStruct(
            array.shape, array.dtype, sharding=where
        ),
        shapes,
        shardings,
    )
    # Runs once: on a CPU the compiler's own time is most of it, and less of its effort
    # gives the same numbers five times sooner.
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    options = {"xla_backend_optimization_level": 1} if on_cpu else None
    return jax.jit(init, out_shardings=shardings, compiler_options=options), abstract


def make_step(method: Trainable, mesh: Mesh, abstract: TrainState) -> Step:
    """Return the jitted training step on `mesh`, which donates its state."""
    shardings = jax.tree.map(lambda array: array.sharding, abstract)
    batches = sharding.batch_sharding(mesh, members=has_members(abstract))
    return jax.jit(
        method.train_step,
        donate_argnums=0,
        in_shardings=(shardings, batches),
        out_shardings=(shardings, sharding.replicated(mesh)),
    )


def compile_step(step: Step, state: TrainState, batch: Batch) -> Step:
    """Compile `make_step`'s step for states and batches of these shapes."""
    return onednn.dispatch_without_mark(step.lower(state, batch).compile())

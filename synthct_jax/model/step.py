"""The state and the compiled training step of a configuration on a mesh."""

from collections.abc import Callable

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from synthct_jax.layers.cpu import onednn
from synthct_jax.model.methods import Method
from synthct_jax.model.train_state import Batch, Metrics, TrainState, state_sharding
from synthct_jax.parallel import sharding

Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def make_init(
    method: Method, config: ConfigDict, mesh: Mesh
) -> tuple[Callable[[jax.Array], TrainState], TrainState]:
    """Return a function from a random key to a new state, and the state's shapes.

    Both have the shardings of `mesh`: arrays are made where they stay.
    """

    def init(key: jax.Array) -> TrainState:
        # Pools hold what the discriminators see, which is crops if there are any.
        size = config.data.crop or config.data.size
        return method.init(key, batch=config.train.global_batch, size=size)

    shapes = jax.eval_shape(init, jax.random.key(0))
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


def make_step(method: Method, mesh: Mesh, abstract: TrainState) -> Step:
    """Return the jitted training step on `mesh`, which donates its state."""
    shardings = jax.tree.map(lambda array: array.sharding, abstract)
    return jax.jit(
        method.train_step,
        donate_argnums=0,
        in_shardings=(shardings, sharding.batch_sharding(mesh)),
        out_shardings=(shardings, sharding.replicated(mesh)),
    )


def compiled(step: Step, state: TrainState, batch: Batch) -> Step:
    """Compile `make_step`'s step for states and batches of these shapes."""
    return onednn.dispatch_without_mark(step.lower(state, batch).compile())


def check_sizes(config: ConfigDict, method: Method) -> None:
    """Raise ValueError for numbers that no network or schedule can be made of."""
    for field in ("width", "blocks", "discriminator_width", "discriminator_layers"):
        if config.model[field] < 1:
            raise ValueError(f"model.{field} is {config.model[field]}, expected >= 1")
    for field in ("size", "crop"):
        if config.data[field] % method.stride:
            raise ValueError(
                f"data.{field} is {config.data[field]}, expected a multiple of "
                f"{method.stride}: model.downsamplings is {config.model.downsamplings}"
            )
    if config.train.watchdog_seconds < 0:
        raise ValueError(
            f"train.watchdog_seconds is {config.train.watchdog_seconds}, expected 0 "
            "(never) or more"
        )
    if not 0 <= config.train.decay_start <= 1:
        raise ValueError(
            f"train.decay_start is {config.train.decay_start}, expected a fraction of "
            "the steps, 0 to 1"
        )

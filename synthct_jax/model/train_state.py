"""The training state: all that the next step depends on, as one pytree."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from synthct_jax.model.image_pool import ImagePool
from synthct_jax.parallel import sharding
from synthct_jax.parallel.halo import SPACE

# mr, ct and those of `Method.pair_weights`: images (n, h, w, c), float32 in [-1, 1];
# within a step also what `Method.draw_noise` adds.
Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]  # scalars
Params = dict[str, Any]


@flax.struct.dataclass
class TrainState:
    """State after `step` steps, which is the position in the data stream as well."""

    step: jax.Array
    generators: dict[str, Params]  # to_ct, to_mr
    discriminators: dict[str, Params]  # ct, mr: what each of them judges
    generator_opt: Any
    discriminator_opt: Any
    ema: dict[str, Params] | None  # moving average of the generators
    pools: dict[str, ImagePool]  # ct, mr
    rng: jax.Array  # never advanced: each step folds its number in

    @property
    def inference_params(self) -> dict[str, Params]:
        """The generators to translate with: their moving average where there is one."""
        return self.generators if self.ema is None else self.ema


def has_members(state: TrainState) -> bool:
    """Return whether a (possibly abstract) state is that of an ensemble."""
    return state.rng.ndim > 0


def state_sharding(mesh: Mesh, state: TrainState) -> TrainState:
    """Return the sharding of every leaf of a (possibly abstract) state."""
    everywhere = sharding.replicated(mesh)
    if has_members(state):
        first = jax.eval_shape(
            lambda state: jax.tree.map(lambda array: array[0], state),
            state.replace(step=jnp.zeros(1)),
        )
        shardings = jax.tree.map(
            lambda own: NamedSharding(mesh, PartitionSpec(sharding.SEEDS, *own.spec)),
            state_sharding(mesh, first),
        )
        return shardings.replace(step=everywhere)
    lanes = NamedSharding(mesh, PartitionSpec(sharding.IMAGE_AXES, None, SPACE))
    shardings = jax.tree.map(
        lambda array: sharding.weight_sharding(mesh, array.shape), state
    )
    pools = {name: ImagePool(images=lanes, filled=everywhere) for name in state.pools}
    return shardings.replace(pools=pools, rng=everywhere)

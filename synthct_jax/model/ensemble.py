"""Many seeds of one method trained as one program: the members of an ensemble.

A small data set does not fill a pod with images, and the seed of a training can decide
more than its input: so members, not images, are divided over the devices. Each has
weights, data order and replay pools of its own, as a run with its seed would have.
Every array of the state but the step has a leading axis of members.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp

from synthct_jax.model.method import Method
from synthct_jax.model.train_state import Batch, Metrics, Params, TrainState
from synthct_jax.parallel.sharding import SEEDS, member_seed

# All arrays but the step, which the trainings share.
_AXES = TrainState(
    step=None,
    generators=0,
    discriminators=0,
    generator_opt=0,
    discriminator_opt=0,
    ema=0,
    pools=0,
    rng=0,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ensemble:
    """An ensemble of `count` models, trained in parallel with consecutive seeds.

    It has those attributes of `Method` that training and inference use. `translate`
    returns one channel per member.
    """

    member: Method
    count: int

    @property
    def mr_channels(self) -> int:
        return self.member.mr_channels

    @property
    def pair_weights(self) -> Mapping[str, float]:
        return self.member.pair_weights

    @property
    def size_multiple(self) -> int:
        return self.member.size_multiple

    def initial_key(self, seed: int) -> jax.Array:
        """Return the random keys of all members, (count,)."""
        keys = [
            self.member.initial_key(member_seed(seed, i)) for i in range(self.count)
        ]
        return jnp.stack(keys)

    def init(self, key: jax.Array, *, batch: int, size: int) -> TrainState:
        """Return new states, of keys (count,), for batches of `batch` images each."""
        init = partial(self.member.init, batch=batch, size=size)
        return jax.vmap(init, out_axes=_AXES)(key)

    def train_step(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """Perform one training step of every member.

        Args:
            batch: images (count, n, h, w, c).

        Returns:
            The new state, and each loss averaged over members.
        """
        step = jax.vmap(
            self.member.train_step,
            in_axes=(_AXES, 0),
            out_axes=(_AXES, 0),
            spmd_axis_name=SEEDS,
        )
        state, metrics = step(state, batch)
        return state, {name: jnp.mean(value) for name, value in metrics.items()}

    def translate(self, params: Params, mr: jax.Array) -> jax.Array:
        """Return every member's synthetic CT, (n, h, w, count), of MR (n, h, w, c)."""
        # One after another: their activations would not fit beside each other.
        cts = jax.lax.map(lambda member: self.member.translate(member, mr), params)
        return jnp.moveaxis(cts[..., 0], 0, -1)

    def translate_back(self, params: Params, ct: jax.Array) -> jax.Array:
        """Return the mean of the members' synthetic MR (n, h, w, c) of one CT."""
        mrs = jax.lax.map(lambda member: self.member.translate_back(member, ct), params)
        return jnp.mean(mrs, axis=0)


Trainable = Method | Ensemble
"""What can be trained and can translate."""

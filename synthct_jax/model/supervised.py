"""The supervised ceiling: the same generator, trained on pairs.

It bounds what an unpaired network of this size could reach with this input. It needs MR
and CT of one person on one grid, which hardly any clinic has and every phantom.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from synthct_jax.layers.backends import choose_ops
from synthct_jax.model import losses, optim
from synthct_jax.model.networks import ResNetGenerator, for_shard_of, make_generator
from synthct_jax.model.train_state import Batch, Metrics, Params, TrainState
from synthct_jax.parallel.gradients import gradients


@dataclasses.dataclass(frozen=True)
class Supervised:
    """The generator `to_ct` alone, with the CycleGAN's optimiser and schedule."""

    mr_channels: int
    to_ct: ResNetGenerator
    optimiser: optax.GradientTransformation
    ema_decay: float = 0.0
    microbatches: int = 1
    mesh: Mesh | None = None

    translate_back: ClassVar[None] = None  # there is no generator from CT to MR

    @classmethod
    def from_config(
        cls, config: Any, *, mesh: Mesh | None = None, platform: str | None = None
    ) -> "Supervised":
        """Build from a configuration, see `methods.from_config`."""
        model, train = config.model, config.train
        ops = choose_ops(platform=platform, mesh=mesh, remat=model.get("remat", False))
        return cls(
            mr_channels=len(config.data.mr_channels),
            to_ct=make_generator(model, 1, ops),
            optimiser=optim.adam(train),
            ema_decay=train.ema_decay,
            microbatches=train.get("accumulate", 1),
            mesh=mesh,
        )

    @property
    def size_multiple(self) -> int:
        """Number that divides the rows and columns of every image."""
        return 2**self.to_ct.downsamplings

    def init(self, key: jax.Array, *, batch: int, size: int) -> TrainState:
        """Return a new state, with the same initial weights as the CycleGAN's."""
        del batch  # there are no replay pools
        keys = jax.random.split(key, 5)
        mr = jnp.zeros((1, size, size, self.mr_channels))
        generators = {"to_ct": self.to_ct.init(keys[0], mr)["params"]}
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            generators=generators,
            discriminators={},
            generator_opt=self.optimiser.init(generators),
            discriminator_opt=(),
            ema=jax.tree.map(jnp.copy, generators) if self.ema_decay else None,
            pools={},
            rng=keys[4],
        )

    def translate(self, params: Params, mr: jax.Array) -> jax.Array:
        """Return synthetic CT (n, h, w, 1) of MR (n, h, w, c); `params` of `to_ct`."""
        return self.to_ct.apply({"params": params}, mr)

    def loss(
        self, generators: dict[str, Params], _: None, batch: Batch
    ) -> tuple[jax.Array, tuple[Metrics, None]]:
        """Return the mean absolute error of synthetic CT, as loss and as metric."""
        to_ct = for_shard_of(self.mesh, self.to_ct)
        synthetic_ct = to_ct.apply({"params": generators["to_ct"]}, batch["mr"])
        error = losses.mean_absolute(synthetic_ct, batch["ct"])
        return error, ({"supervised_ct": error}, None)

    def train_step(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """Update the generator by a batch whose MR and CT are pairs. Pure."""
        grads, metrics, _ = gradients(
            self.loss,
            state.generators,
            None,
            batch,
            microbatches=self.microbatches,
            mesh=self.mesh,
        )
        updates, generator_opt = self.optimiser.update(
            grads, state.generator_opt, state.generators
        )
        generators = optax.apply_updates(state.generators, updates)
        return (
            state.replace(
                step=state.step + 1,
                generators=generators,
                generator_opt=generator_opt,
                ema=optim.update_ema(state.ema, generators, state.step, self.ema_decay),
            ),
            metrics,
        )

"""The ceiling: the same generator, taught by pairs.

What an unpaired network of this size could reach at best with this input. It needs MR
and CT of one person on one grid, which hardly any clinic has and every phantom.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from synthct_jax.model import losses
from synthct_jax.model.cyclegan import Batch, CycleGan, Metrics, averaged
from synthct_jax.model.networks import ResNetGenerator, split_over
from synthct_jax.model.train_state import Params, TrainState
from synthct_jax.parallel.gradients import gradients


@dataclasses.dataclass(frozen=True)
class Supervised:
    """`to_ct` alone, with the optimiser and schedule that the CycleGAN gives it."""

    mr_channels: int
    to_ct: ResNetGenerator
    optimiser: optax.GradientTransformation
    ema_decay: float = 0.0
    accumulate: int = 1
    mesh: Mesh | None = None

    @classmethod
    def from_config(
        cls,
        config: Any,
        *,
        mesh: Mesh | None = None,
        platform: str | None = None,
    ) -> "Supervised":
        """Build from the same fields as the CycleGAN, which explains them.

        Raises:
          ValueError: a field has a value that nothing is defined for.
        """
        gan = CycleGan.from_config(config, mesh=mesh, platform=platform)
        return cls(
            mr_channels=gan.mr_channels,
            to_ct=gan.to_ct,
            optimiser=gan.generator_optimiser,
            ema_decay=gan.ema_decay,
            accumulate=gan.accumulate,
            mesh=mesh,
        )

    @property
    def stride(self) -> int:
        """Rows and columns of every image must be multiples of this."""
        return 2**self.to_ct.downsamplings

    def init(self, key: jax.Array, *, batch: int, size: int) -> TrainState:
        """A new state; the generator starts from the weights the CycleGAN's would."""
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
        """Synthetic CT (n, h, w, 1) of MR (n, h, w, c), by the weights of `to_ct`."""
        return self.to_ct.apply({"params": params}, mr)

    def train_step(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """One step down the mean absolute error of batches whose MR and CT are pairs.

        Shapes as of `CycleGan.train_step`.
        """

        to_ct = split_over(self.mesh, self.to_ct)

        def loss(
            generators: dict[str, Params], _: None, b: Batch
        ) -> tuple[jax.Array, tuple[Metrics, None]]:
            synthetic = to_ct.apply({"params": generators["to_ct"]}, b["mr"])
            value = losses.mean_absolute(synthetic, b["ct"])
            return value, ({"supervised_ct": value}, None)

        found, metrics, _ = gradients(
            loss,
            state.generators,
            None,
            batch,
            parts=self.accumulate,
            mesh=self.mesh,
        )
        updates, generator_opt = self.optimiser.update(
            found, state.generator_opt, state.generators
        )
        generators = optax.apply_updates(state.generators, updates)
        return (
            state.replace(
                step=state.step + 1,
                generators=generators,
                generator_opt=generator_opt,
                ema=averaged(state.ema, generators, state.step, self.ema_decay),
            ),
            metrics,
        )

"""The method: a CycleGAN between MR of any number of channels and CT.

`to_ct` and `to_mr` are the generators, the discriminators `ct` and `mr` judge images of
those domains. One training step is the reference's (Zhu et al. 2017): both generators
are updated together, then both discriminators, on fakes that were made before the
generators' update and have gone through the replay pools.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from synthct_jax.layers.backends import choose_ops
from synthct_jax.model import image_pool, losses, optim
from synthct_jax.model.networks import (
    PatchDiscriminator,
    ResNetGenerator,
    expect,
    for_shard_of,
    make_generator,
)
from synthct_jax.model.train_state import Batch, Metrics, Params, TrainState
from synthct_jax.parallel.gradients import gradients


@dataclasses.dataclass(frozen=True)
class CycleGan:
    """Networks, losses and optimisers of one configuration, and the step they make.

    `identity` is a fraction of the cycle losses' weights. The one discriminator module
    is applied with two sets of weights, `ct` and `mr`.
    """

    mr_channels: int
    to_ct: ResNetGenerator
    to_mr: ResNetGenerator
    discriminator: PatchDiscriminator
    generator_optimiser: optax.GradientTransformation
    discriminator_optimiser: optax.GradientTransformation
    adversarial: str = "lsgan"
    cycle_mr: float = 10.0
    cycle_ct: float = 10.0
    identity: float = 0.0
    pool_size: int = 50
    ema_decay: float = 0.0
    microbatches: int = 1
    mesh: Mesh | None = None

    @classmethod
    def from_config(
        cls, config: Any, *, mesh: Mesh | None = None, platform: str | None = None
    ) -> "CycleGan":
        """Build from a configuration, see `methods.from_config`."""
        model, loss, train = config.model, config.loss, config.train
        expect("config.loss.adversarial", loss.adversarial, losses.ADVERSARIAL)
        # Checkpoints of earlier versions have no fields `remat` and `accumulate`.
        ops = choose_ops(platform=platform, mesh=mesh, remat=model.get("remat", False))
        channels = len(config.data.mr_channels)
        return cls(
            mr_channels=channels,
            to_ct=make_generator(model, 1, ops),
            to_mr=make_generator(model, channels, ops),
            discriminator=PatchDiscriminator(
                width=model.discriminator_width,
                strided_layers=model.discriminator_layers,
                dtype=jnp.dtype(model.dtype),
                ops=ops,
            ),
            generator_optimiser=optim.adam(train),
            discriminator_optimiser=optim.adam(
                train, rate_ratio=train.discriminator_learning_rate_ratio
            ),
            adversarial=loss.adversarial,
            cycle_mr=loss.cycle_mr,
            cycle_ct=loss.cycle_ct,
            identity=loss.identity,
            pool_size=train.pool_size,
            ema_decay=train.ema_decay,
            microbatches=train.get("accumulate", 1),
            mesh=mesh,
        )

    @property
    def size_multiple(self) -> int:
        """Number that divides the rows and columns of every image."""
        return 2**self.to_ct.downsamplings

    def init(self, key: jax.Array, *, batch: int, size: int) -> TrainState:
        """Return a new state, for global batches of images of size x size pixels."""
        keys = jax.random.split(key, 5)
        mr = jnp.zeros((1, size, size, self.mr_channels))
        ct = jnp.zeros((1, size, size, 1))
        generators = {
            "to_ct": self.to_ct.init(keys[0], mr)["params"],
            "to_mr": self.to_mr.init(keys[1], ct)["params"],
        }
        discriminators = {
            "ct": self.discriminator.init(keys[2], ct)["params"],
            "mr": self.discriminator.init(keys[3], mr)["params"],
        }
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            generators=generators,
            discriminators=discriminators,
            generator_opt=self.generator_optimiser.init(generators),
            discriminator_opt=self.discriminator_optimiser.init(discriminators),
            ema=jax.tree.map(jnp.copy, generators) if self.ema_decay else None,
            pools={
                "ct": image_pool.create(self.pool_size, (batch, *ct.shape[1:])),
                "mr": image_pool.create(self.pool_size, (batch, *mr.shape[1:])),
            },
            rng=keys[4],
        )

    def translate(self, params: Params, mr: jax.Array) -> jax.Array:
        """Return synthetic CT (n, h, w, 1) of MR (n, h, w, c); `params` of `to_ct`."""
        return self.to_ct.apply({"params": params}, mr)

    def translate_back(self, params: Params, ct: jax.Array) -> jax.Array:
        """Return synthetic MR (n, h, w, c) of CT (n, h, w, 1); `params` of `to_mr`."""
        return self.to_mr.apply({"params": params}, ct)

    def generator_loss(
        self,
        generators: dict[str, Params],
        discriminators: dict[str, Params],
        batch: Batch,
    ) -> tuple[jax.Array, tuple[Metrics, dict[str, jax.Array]]]:
        """Return the total loss; its weighted terms, and the synthetic images."""
        mr, ct = batch["mr"], batch["ct"]

        to_ct = partial(self._apply, self.to_ct, generators["to_ct"])
        to_mr = partial(self._apply, self.to_mr, generators["to_mr"])

        ct_as_input = losses.identity_input(ct, self.mr_channels)
        mr_as_input = losses.identity_input(mr, 1)
        synthetic_ct, *same_ct = to_ct(mr, ct_as_input) if self.identity else to_ct(mr)
        synthetic_mr, *same_mr = to_mr(ct, mr_as_input) if self.identity else to_mr(ct)
        synthetic = {"ct": synthetic_ct, "mr": synthetic_mr}
        terms = {
            f"adversarial_{domain}": self._adversarial_loss(
                discriminators[domain], image, real=True
            )
            for domain, image in synthetic.items()
        }
        (cycled_mr,), (cycled_ct,) = to_mr(synthetic_ct), to_ct(synthetic_mr)
        terms["cycle_mr"] = self.cycle_mr * losses.mean_absolute(cycled_mr, mr)
        terms["cycle_ct"] = self.cycle_ct * losses.mean_absolute(cycled_ct, ct)
        if self.identity:
            weight_ct = self.identity * self.cycle_ct
            weight_mr = self.identity * self.cycle_mr
            terms["identity_ct"] = weight_ct * losses.mean_absolute(same_ct[0], ct)
            terms["identity_mr"] = weight_mr * losses.mean_absolute(same_mr[0], mr)
        return sum(terms.values()), (terms, synthetic)

    def discriminator_loss(
        self,
        discriminators: dict[str, Params],
        real: dict[str, jax.Array],
        fake: dict[str, jax.Array],
    ) -> tuple[jax.Array, tuple[Metrics, None]]:
        """Return the sum over both discriminators, and each of its terms.

        Each discriminator's loss is halved to slow it, as in the reference.
        """
        terms = {}
        for domain, params in discriminators.items():
            on_real = self._adversarial_loss(params, real[domain], real=True)
            on_fake = self._adversarial_loss(params, fake[domain], real=False)
            terms[f"discriminator_{domain}"] = 0.5 * (on_real + on_fake)
        return sum(terms.values()), (terms, None)

    def train_step(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """Update both generators, then both discriminators. Pure.

        Returns the state after the step, and every weighted term of the losses.
        """
        generator_grads, generator_terms, synthetic = gradients(
            self.generator_loss,
            state.generators,
            state.discriminators,
            batch,
            microbatches=self.microbatches,
            mesh=self.mesh,
        )
        updates, generator_opt = self.generator_optimiser.update(
            generator_grads, state.generator_opt, state.generators
        )
        generators = optax.apply_updates(state.generators, updates)

        keys = jax.random.split(jax.random.fold_in(state.rng, state.step), 2)
        pools, replayed = {}, {}
        for domain, key in zip(("ct", "mr"), keys, strict=True):
            pools[domain], replayed[domain] = image_pool.query(
                state.pools[domain], synthetic[domain], key
            )
        discriminator_grads, discriminator_terms, _ = gradients(
            lambda params, _, images: self.discriminator_loss(params, *images),
            state.discriminators,
            None,
            (batch, replayed),
            microbatches=self.microbatches,
            mesh=self.mesh,
        )
        updates, discriminator_opt = self.discriminator_optimiser.update(
            discriminator_grads, state.discriminator_opt, state.discriminators
        )
        return (
            state.replace(
                step=state.step + 1,
                generators=generators,
                discriminators=optax.apply_updates(state.discriminators, updates),
                generator_opt=generator_opt,
                discriminator_opt=discriminator_opt,
                ema=optim.update_ema(state.ema, generators, state.step, self.ema_decay),
                pools=pools,
            ),
            generator_terms | discriminator_terms,
        )

    def _apply(
        self, generator: ResNetGenerator, params: Params, *batches: jax.Array
    ) -> list[jax.Array]:
        """Apply a generator to each of several equally shaped batches."""
        generator = for_shard_of(self.mesh, generator)
        return generator.ops.apply_to_each(
            lambda x: generator.apply({"params": params}, x), batches
        )

    def _adversarial_loss(
        self, params: Params, image: jax.Array, *, real: bool
    ) -> jax.Array:
        """Return how far a discriminator is from calling images real, or fake."""
        discriminator = for_shard_of(self.mesh, self.discriminator)
        return losses.adversarial(
            discriminator.apply({"params": params}, image),
            real=real,
            kind=self.adversarial,
            mean=discriminator.mean,
        )

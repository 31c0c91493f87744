"""The networks, discriminators and training step that all methods share.

One training step is that of the reference CycleGAN (Zhu et al. 2017): the generators
are updated together, then the discriminators, on fakes that were made before the
generators' update and have gone through the replay pools.
"""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from input_pipeline.ranges import check_choice
from synthct_jax.layers.backends import choose_ops
from synthct_jax.model import absent_channels, image_pool, losses, optim
from synthct_jax.model.build import make_discriminator, make_generator
from synthct_jax.model.networks import (
    PatchDiscriminator,
    ResNetGenerator,
    for_shard_of,
)
from synthct_jax.model.train_state import Batch, Metrics, Params, TrainState
from synthct_jax.parallel.gradients import gradients


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method(abc.ABC):
    """Networks and optimisers of one configuration; a subclass has the losses.

    Attributes:
        to_ct: the network of `translate`.
        pair_weights: weights of the errors on pairs that a batch has beside its images,
            by name: `simulated` is of the images `simulated_mr` and `simulated_ct`.
        to_mr: None for a method without a generator from CT to MR.
        discriminator: the one module, applied with weights for each of `domains`.
        domains: kinds of synthetic images that are judged, of `ct` and `mr`, or none.
        channel_dropout: probability that `to_ct` gets an MR without one channel.
    """

    mr_channels: int
    to_ct: ResNetGenerator
    to_mr: ResNetGenerator | None
    discriminator: PatchDiscriminator
    domains: tuple[str, ...]
    generator_optimiser: optax.GradientTransformation
    discriminator_optimiser: optax.GradientTransformation
    adversarial: str = "lsgan"
    pool_size: int = 50
    ema_decay: float = 0.0
    microbatches: int = 1
    mesh: Mesh | None = None
    pair_weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    channel_dropout: float = 0.0

    @classmethod
    def from_config(
        cls, config: Any, *, mesh: Mesh | None = None, platform: str | None = None
    ) -> "Method":
        """Build from a configuration, see `methods.from_config`."""
        shared = cls._shared_fields(config, mesh=mesh, platform=platform)
        return cls(**shared | cls._own_fields(config))

    @classmethod
    @abc.abstractmethod
    def _own_fields(cls, config: Any) -> dict[str, Any]:
        """Return the fields of a configuration that the method alone has."""

    @staticmethod
    def _shared_fields(
        config: Any, *, mesh: Mesh | None = None, platform: str | None = None
    ) -> dict[str, Any]:
        """Return the fields of a configuration that are the same for all methods."""
        model, loss, train = config.model, config.loss, config.train
        check_choice("loss.adversarial", loss.adversarial, losses.ADVERSARIAL)
        ops = choose_ops(platform=platform, mesh=mesh, remat=model.remat)
        channels = len(config.data.mr_channels)
        return {
            "mr_channels": channels,
            "to_ct": make_generator(model, 1, ops),
            "to_mr": make_generator(model, channels, ops),
            "discriminator": make_discriminator(model, ops),
            "generator_optimiser": optim.adam(train),
            "discriminator_optimiser": optim.adam(
                train, rate_ratio=train.discriminator_learning_rate_ratio
            ),
            "adversarial": loss.adversarial,
            "pool_size": train.pool_size,
            "ema_decay": train.ema_decay,
            "microbatches": train.accumulate,
            "mesh": mesh,
            "channel_dropout": config.data.channel_dropout,
        }

    @property
    def size_multiple(self) -> int:
        """Number that divides the rows and columns of every image."""
        return 2**self.to_ct.downsamplings

    def initial_key(self, seed: int) -> jax.Array:
        """Return the random key that `init` takes for a seed."""
        return jax.random.key(seed)

    def init(self, key: jax.Array, *, batch: int, size: int) -> TrainState:
        """Return a new state, for global batches of images of size x size pixels.

        A network has the same initial weights in every method.
        """
        keys = jax.random.split(key, 5)
        mr = jnp.zeros((1, size, size, self.mr_channels))
        ct = jnp.zeros((1, size, size, 1))
        generators = {"to_ct": self.to_ct.init(keys[0], mr)["params"]}
        if self.to_mr is not None:
            generators["to_mr"] = self.to_mr.init(keys[1], ct)["params"]
        judged = {"ct": (keys[2], ct), "mr": (keys[3], mr)}
        judged = {domain: judged[domain] for domain in self.domains}
        discriminators = {
            domain: self.discriminator.init(key, image)["params"]
            for domain, (key, image) in judged.items()
        }
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            generators=generators,
            discriminators=discriminators,
            generator_opt=self.generator_optimiser.init(generators),
            discriminator_opt=self.discriminator_optimiser.init(discriminators)
            if discriminators
            else (),
            ema=jax.tree.map(jnp.copy, generators) if self.ema_decay else None,
            pools={
                domain: image_pool.create(self.pool_size, (batch, *image.shape[1:]))
                for domain, (_, image) in judged.items()
            },
            rng=keys[4],
        )

    def translate(self, params: Params, mr: jax.Array) -> jax.Array:
        """Return synthetic CT (n, h, w, 1) of MR (n, h, w, c); `params` of `to_ct`."""
        return self.to_ct.apply({"params": params}, mr)

    def translate_back(self, params: Params, ct: jax.Array) -> jax.Array:
        """Return synthetic MR (n, h, w, c) of CT (n, h, w, 1); `params` of `to_mr`."""
        return self.to_mr.apply({"params": params}, ct)

    @abc.abstractmethod
    def generator_loss(
        self,
        generators: dict[str, Params],
        discriminators: dict[str, Params],
        batch: Batch,
    ) -> tuple[jax.Array, tuple[Metrics, dict[str, jax.Array]]]:
        """Return the total loss; its weighted terms, and the images to be judged."""

    def discriminator_loss(
        self,
        discriminators: dict[str, Params],
        real: dict[str, jax.Array],
        fake: dict[str, jax.Array],
    ) -> tuple[jax.Array, tuple[Metrics, None]]:
        """Return the sum over all discriminators, and each of its terms.

        Each discriminator's loss is halved to slow it, as in the reference.
        """
        terms = {}
        for domain, params in discriminators.items():
            on_real = self._adversarial_loss(params, real[domain], real=True)
            on_fake = self._adversarial_loss(params, fake[domain], real=False)
            terms[f"discriminator_{domain}"] = 0.5 * (on_real + on_fake)
        return sum(terms.values()), (terms, None)

    def draw_noise(self, batch: Batch, key: jax.Array) -> Batch:
        """Return random perturbations for the losses, as entries to add to the batch.

        They are sampled for the global batch, before it is split into microbatches. By
        default there are none.
        """
        return {}

    def draw_present(self, batch: Batch, key: jax.Array) -> Batch:
        """Draw the channels that `to_ct` gets of each MR, as entries of the batch.

        `present_NAME` is that of the images NAME, see `absent_channels.draw_present`.
        Like the noise it is of the global batch.
        """
        names = ("mr", *(f"{pairs}_mr" for pairs in self.pair_weights))
        keys = dict(zip(names, jax.random.split(key, len(names)), strict=True))
        return {
            f"present_{name}": absent_channels.draw_present(
                batch[name].shape, self.channel_dropout, keys[name]
            )
            for name in names
        }

    def train_step(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """Update all generators, then all discriminators. Pure.

        Returns the state after the step, and every weighted term of the losses.
        """
        *pool_keys, noise_key = jax.random.split(
            jax.random.fold_in(state.rng, state.step), len(self.domains) + 1
        )
        if self.channel_dropout:
            noise_key, present_key = jax.random.split(noise_key)
            batch = batch | self.draw_present(batch, present_key)
        batch = batch | self.draw_noise(batch, noise_key)
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
        after = state.replace(
            step=state.step + 1,
            generators=generators,
            generator_opt=generator_opt,
            ema=optim.update_ema(state.ema, generators, state.step, self.ema_decay),
        )
        if not self.domains:
            return after, generator_terms

        pools, replayed = {}, {}
        for domain, key in zip(self.domains, pool_keys, strict=True):
            pools[domain], replayed[domain] = image_pool.query(
                state.pools[domain], synthetic[domain], key
            )
        discriminator_grads, discriminator_terms, _ = gradients(
            lambda params, _, images: self.discriminator_loss(params, *images),
            state.discriminators,
            None,
            ({domain: batch[domain] for domain in self.domains}, replayed),
            microbatches=self.microbatches,
            mesh=self.mesh,
        )
        updates, discriminator_opt = self.discriminator_optimiser.update(
            discriminator_grads, state.discriminator_opt, state.discriminators
        )
        return (
            after.replace(
                discriminators=optax.apply_updates(state.discriminators, updates),
                discriminator_opt=discriminator_opt,
                pools=pools,
            ),
            generator_terms | discriminator_terms,
        )

    def _to_ct_input(self, mr: jax.Array, batch: Batch, name: str = "mr") -> jax.Array:
        """Return MR with the channels that are drawn for the images of this name."""
        present = batch.get(f"present_{name}")
        return mr if present is None else absent_channels.leave_out(mr, present)

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

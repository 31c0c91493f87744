"""The method: a CycleGAN between MR of any number of channels and CT.

`to_ct` and `to_mr` are the generators, the discriminators `ct` and `mr` judge images of
those domains. One training step is the reference's (Zhu et al. 2017): both generators
are updated together, then both discriminators, on fakes that were made before the
generators' update and have gone through the replay pools.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from synthct_jax.layers.convolution import fewer_calls_pay, matrix_products_pay
from synthct_jax.layers.tpu import space_to_depth
from synthct_jax.model import image_pool, losses
from synthct_jax.model.networks import (
    UPSAMPLE,
    PatchDiscriminator,
    ResNetGenerator,
    split_over,
)
from synthct_jax.model.train_state import Params, TrainState
from synthct_jax.parallel.gradients import gradients

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class CycleGan:
    """Networks, losses and optimisers of one configuration, and the step they make."""

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
    accumulate: int = 1
    mesh: Mesh | None = None

    @classmethod
    def from_config(
        cls,
        config: Any,
        *,
        mesh: Mesh | None = None,
        platform: str | None = None,
    ) -> "CycleGan":
        """Build from `config.data`, `config.model`, `config.loss` and `config.train`.

        mesh: to train on; None for the device that JAX takes by default.
        platform: whose program it is to be, 'cpu', 'gpu' or 'tpu', or 'any': all layers
            as they are defined; None: that of the mesh. Each runs everywhere.

        Raises:
          ValueError: a field has a value that nothing is defined for.
        """
        model, loss, train = config.model, config.loss, config.train
        _expect("config.model.upsample", model.upsample, UPSAMPLE)
        _expect("config.model.dtype", model.dtype, ("float32", "bfloat16"))
        _expect("config.loss.adversarial", loss.adversarial, losses.ADVERSARIAL)
        dtype = jnp.dtype(model.dtype)
        if platform is not None:
            _expect("platform", platform, ("cpu", "gpu", "tpu", "any"))
        elif mesh is not None:
            platform = mesh.devices.flat[0].platform
        matrix_products = matrix_products_pay(platform)

        def generator(channels: int) -> ResNetGenerator:
            return ResNetGenerator(
                channels=channels,
                width=model.width,
                blocks=model.blocks,
                downsamplings=model.downsamplings,
                upsample=model.upsample,
                dtype=dtype,
                # Checkpoints of earlier versions have no such field.
                remat=model.get("remat", False),
                matrix_products=matrix_products,
                space_to_depth=space_to_depth.pays(platform),
            )

        def optimiser(rate: float) -> optax.GradientTransformation:
            schedule = constant_then_linear(rate, train.steps, train.decay_start)
            return optax.adam(schedule, b1=train.beta1, b2=train.beta2)

        rate = train.learning_rate
        return cls(
            mr_channels=len(config.data.mr_channels),
            to_ct=generator(1),
            to_mr=generator(len(config.data.mr_channels)),
            discriminator=PatchDiscriminator(
                width=model.discriminator_width,
                layers=model.discriminator_layers,
                dtype=dtype,
                matrix_products=matrix_products,
            ),
            generator_optimiser=optimiser(rate),
            discriminator_optimiser=optimiser(
                rate * train.discriminator_learning_rate_ratio
            ),
            adversarial=loss.adversarial,
            cycle_mr=loss.cycle_mr,
            cycle_ct=loss.cycle_ct,
            identity=loss.identity,
            pool_size=train.pool_size,
            ema_decay=train.ema_decay,
            accumulate=train.get("accumulate", 1),
            mesh=mesh,
        )

    @property
    def stride(self) -> int:
        """Rows and columns of every image must be multiples of this."""
        return 2**self.to_ct.downsamplings

    def init(self, key: jax.Array, *, batch: int, size: int) -> TrainState:
        """A new state, for global batches of `batch` images of size x size pixels."""
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
        """Synthetic CT (n, h, w, 1) of MR (n, h, w, c), by the weights of `to_ct`."""
        return self.to_ct.apply({"params": params}, mr)

    def translate_back(self, params: Params, ct: jax.Array) -> jax.Array:
        """Synthetic MR (n, h, w, c) of CT (n, h, w, 1), by the weights of `to_mr`."""
        return self.to_mr.apply({"params": params}, ct)

    def generator_loss(
        self, generators: dict[str, Params], discriminators: dict[str, Params], b: Batch
    ) -> tuple[jax.Array, tuple[Metrics, dict[str, jax.Array]]]:
        """The generators' total loss; its parts as weighted; the synthetic images."""
        mr, ct = b["mr"], b["ct"]

        def to_ct(*images: jax.Array) -> list[jax.Array]:
            return self._answers(self.to_ct, generators["to_ct"], images)

        def to_mr(*images: jax.Array) -> list[jax.Array]:
            return self._answers(self.to_mr, generators["to_mr"], images)

        like_mr = losses.identity_input(ct, self.mr_channels)
        like_ct = losses.identity_input(mr, 1)
        synthetic_ct, *same_ct = to_ct(mr, like_mr) if self.identity else to_ct(mr)
        synthetic_mr, *same_mr = to_mr(ct, like_ct) if self.identity else to_mr(ct)
        synthetic = {"ct": synthetic_ct, "mr": synthetic_mr}
        parts = {
            f"adversarial_{domain}": self._judge(
                discriminators[domain], image, real=True
            )
            for domain, image in synthetic.items()
        }
        (cycled_mr,), (cycled_ct,) = to_mr(synthetic_ct), to_ct(synthetic_mr)
        parts["cycle_mr"] = self.cycle_mr * losses.mean_absolute(cycled_mr, mr)
        parts["cycle_ct"] = self.cycle_ct * losses.mean_absolute(cycled_ct, ct)
        if self.identity:
            weight_ct = self.identity * self.cycle_ct
            weight_mr = self.identity * self.cycle_mr
            parts["identity_ct"] = weight_ct * losses.mean_absolute(same_ct[0], ct)
            parts["identity_mr"] = weight_mr * losses.mean_absolute(same_mr[0], mr)
        return sum(parts.values()), (parts, synthetic)

    def discriminator_loss(
        self,
        discriminators: dict[str, Params],
        real: dict[str, jax.Array],
        fake: dict[str, jax.Array],
    ) -> tuple[jax.Array, tuple[Metrics, None]]:
        """The sum over both discriminators, halved to slow them as in the reference."""
        parts = {}
        for domain, params in discriminators.items():
            on_real, on_fake = (
                self._judge(params, images[domain], real=is_real)
                for images, is_real in ((real, True), (fake, False))
            )
            parts[f"discriminator_{domain}"] = 0.5 * (on_real + on_fake)
        return sum(parts.values()), (parts, None)

    def train_step(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """One update of both generators, then of both discriminators.

        Pure. batch: mr (n, h, w, c) and ct (n, h, w, 1), float32 in [-1, 1].
        Metrics are float32 scalars: every part of the losses, with its weight.
        """
        found, parts, synthetic = gradients(
            self.generator_loss,
            state.generators,
            state.discriminators,
            batch,
            parts=self.accumulate,
            mesh=self.mesh,
        )
        updates, generator_opt = self.generator_optimiser.update(
            found, state.generator_opt, state.generators
        )
        generators = optax.apply_updates(state.generators, updates)

        keys = jax.random.split(jax.random.fold_in(state.rng, state.step), 2)
        pools, replayed = {}, {}
        for domain, key in zip(("ct", "mr"), keys, strict=True):
            pools[domain], replayed[domain] = image_pool.query(
                state.pools[domain], synthetic[domain], key
            )
        found, judged, _ = gradients(
            lambda params, _, b: self.discriminator_loss(params, *b),
            state.discriminators,
            None,
            (batch, replayed),
            parts=self.accumulate,
            mesh=self.mesh,
        )
        updates, discriminator_opt = self.discriminator_optimiser.update(
            found, state.discriminator_opt, state.discriminators
        )
        return (
            state.replace(
                step=state.step + 1,
                generators=generators,
                discriminators=optax.apply_updates(state.discriminators, updates),
                generator_opt=generator_opt,
                discriminator_opt=discriminator_opt,
                ema=averaged(state.ema, generators, state.step, self.ema_decay),
                pools=pools,
            ),
            parts | judged,
        )

    def _answers(
        self, network: ResNetGenerator, params: Params, images: Sequence[jax.Array]
    ) -> list[jax.Array]:
        """Of a generator to batches of one shape: in a single call where that pays."""
        network = split_over(self.mesh, network)

        def answer(x: jax.Array) -> jax.Array:
            return network.apply({"params": params}, x)

        if fewer_calls_pay(images[0], matrix_products=network.matrix_products):
            return jnp.split(answer(jnp.concatenate(images)), len(images))
        return [answer(x) for x in images]

    def _judge(self, params: Params, image: jax.Array, *, real: bool) -> jax.Array:
        """How far the discriminator is from calling images real, or fake."""
        discriminator = split_over(self.mesh, self.discriminator)
        return losses.adversarial(
            discriminator.apply({"params": params}, image),
            real=real,
            kind=self.adversarial,
            rows=discriminator.score_rows,
        )


def averaged(ema: Any, params: Any, step: jax.Array, decay: float) -> Any:
    """The moving average of weights after one more step; None stays None."""
    if ema is None:
        return None
    # A short memory at first, so that the average forgets the initial weights.
    decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda e, p: decay * e + (1.0 - decay) * p, ema, params)


def constant_then_linear(rate: float, steps: int, decay_start: float) -> optax.Schedule:
    """`rate` for the first `decay_start` of all steps, then linearly to zero."""
    constant = int(steps * decay_start)
    decay = optax.linear_schedule(rate, 0.0, max(steps - constant, 1))
    return optax.join_schedules([optax.constant_schedule(rate), decay], [constant])


def _expect(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{field} is {value!r}, expected one of: {', '.join(choices)}")

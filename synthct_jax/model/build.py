"""Networks of a configuration."""

from typing import Any

import jax.numpy as jnp

from input_pipeline.ranges import check_choice
from synthct_jax.layers.ops import Ops
from synthct_jax.model.networks import PatchDiscriminator, ResNetGenerator

UPSAMPLE = ("transposed", "resize")
DTYPES = ("float32", "bfloat16")


def make_generator(model: Any, channels: int, ops: Ops) -> ResNetGenerator:
    """Return the generator of `config.model` that makes images of `channels`."""
    check_choice("model.upsample", model.upsample, UPSAMPLE)
    check_choice("model.dtype", model.dtype, DTYPES)
    return ResNetGenerator(
        channels=channels,
        width=model.width,
        blocks=model.blocks,
        downsamplings=model.downsamplings,
        upsample=model.upsample,
        antialias=model.antialias,
        skips=model.skips,
        dtype=jnp.dtype(model.dtype),
        ops=ops,
    )


def make_discriminator(model: Any, ops: Ops) -> PatchDiscriminator:
    """Return the discriminator of `config.model`, for images of any channels."""
    return PatchDiscriminator(
        width=model.discriminator_width,
        strided_layers=model.discriminator_layers,
        dtype=jnp.dtype(model.dtype),
        ops=ops,
    )

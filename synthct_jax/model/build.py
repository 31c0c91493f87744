"""Networks of a configuration."""

from typing import Any

import jax.numpy as jnp

from synthct_jax.layers.ops import Ops
from synthct_jax.model.networks import PatchDiscriminator, ResNetGenerator

UPSAMPLE = ("transposed", "resize")
DTYPES = ("float32", "bfloat16")


def make_generator(model: Any, channels: int, ops: Ops) -> ResNetGenerator:
    """Return the generator of `config.model` that makes images of `channels`."""
    expect("config.model.upsample", model.upsample, UPSAMPLE)
    expect("config.model.dtype", model.dtype, DTYPES)
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


def expect(field: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError where a field has none of the values that it may have."""
    if value not in choices:
        raise ValueError(f"{field} is {value!r}, expected one of: {', '.join(choices)}")

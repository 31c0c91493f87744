"""ResNet generator and PatchGAN discriminator (all Flax lives here).

Linen modules used as pure functions. The architecture is the reference CycleGAN's
(Zhu et al. 2017; Johnson et al. 2016; Isola et al. 2017), with any number of channels.
Images are NHWC. A convolution in front of an instance norm has no bias: its gradient
is zero, and Adam would turn the rounding noise of it into steps.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from synthct_jax.convolution import convolve, convolve_transposed
from synthct_jax.normalization import instance_norm, pad_reflect

UPSAMPLE = ("transposed", "resize")
RELU = 0.0  # slope for negative values
LEAKY_SLOPE = 0.2


class Conv(nn.Module):
    """A convolution with the reference's initial weights, N(0, 0.02)."""

    features: int
    size: int
    stride: int = 1
    padding: int = 0
    bias: bool = False
    transposed: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.normal(0.02), shape)
        if self.transposed:
            x = convolve_transposed(x, kernel)
        else:
            x = convolve(x, kernel, stride=self.stride, padding=self.padding)
        if self.bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            x = x + bias.astype(x.dtype)
        return x


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), 3x3, reflection padding."""

    @nn.compact
    def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, None]:
        width = x.shape[-1]
        y = Conv(width, 3, name="conv_0")(pad_reflect(x, 1))
        y = instance_norm(y, RELU)
        y = Conv(width, 3, name="conv_1")(pad_reflect(y, 1))
        return x + instance_norm(y), None


class ResNetGenerator(nn.Module):
    """One domain's image to the other's, in [-1, 1]: (n, h, w, c) -> (n, h, w, o).

    Fully convolutional: h and w are multiples of 2**downsamplings, and at least twice
    that times two, for the reflection at the lowest resolution.
    """

    channels: int
    width: int = 64
    blocks: int = 9
    downsamplings: int = 2
    upsample: str = "transposed"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.astype(self.dtype)
        x = Conv(self.width, 7, name="stem")(pad_reflect(x, 3))
        x = instance_norm(x, RELU)
        for i in range(self.downsamplings):
            features = self.width * 2 ** (i + 1)
            x = Conv(features, 3, stride=2, padding=1, name=f"down_{i}")(x)
            x = instance_norm(x, RELU)
        # One block in a loop: compile time does not grow with the depth.
        blocks = nn.scan(
            ResidualBlock,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=self.blocks,
        )
        x, _ = blocks(name="blocks")(x, None)
        for i in reversed(range(self.downsamplings)):
            features = self.width * 2**i
            if self.upsample == "transposed":
                x = Conv(features, 3, transposed=True, name=f"up_{i}")(x)
            else:
                x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
                x = Conv(features, 3, name=f"up_{i}")(pad_reflect(x, 1))
            x = instance_norm(x, RELU)
        x = Conv(self.channels, 7, bias=True, name="head")(pad_reflect(x, 3))
        return jnp.tanh(_single_or_better(x))


class PatchDiscriminator(nn.Module):
    """A map of scores, each for one patch of the image: (n, h, w, c) -> (n, h', w', 1).

    With three stride-2 layers a score sees 70x70 pixels, with two 34, with one 16.
    """

    width: int = 64
    layers: int = 3
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.astype(self.dtype)
        x = Conv(self.width, 4, stride=2, padding=1, bias=True, name="conv_0")(x)
        x = nn.leaky_relu(x, LEAKY_SLOPE)
        for i in range(1, self.layers + 1):
            features = self.width * min(2**i, 8)
            stride = 2 if i < self.layers else 1
            x = Conv(features, 4, stride=stride, padding=1, name=f"conv_{i}")(x)
            x = instance_norm(x, LEAKY_SLOPE)
        x = Conv(1, 4, padding=1, bias=True, name=f"conv_{self.layers + 1}")(x)
        return _single_or_better(x)


def _single_or_better(x: jax.Array) -> jax.Array:
    """What losses are computed from: float32, or float64 where all else is."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))

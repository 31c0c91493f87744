"""ResNet generator and PatchGAN discriminator.

Linen modules used as pure functions. The architecture is the reference CycleGAN's
(Zhu et al. 2017; Johnson et al. 2016; Isola et al. 2017), with any number of channels.
Images are NHWC. A convolution in front of an instance norm has no bias: its gradient
would be zero but for rounding, which Adam would turn into steps. How a layer is
computed, on which device and which rows, is in `Ops` alone.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from synthct_jax.layers.ops import Ops

RELU_SLOPE = 0.0  # for negative values
LEAKY_SLOPE = 0.2
INITIAL_WEIGHTS = nn.initializers.normal(0.02)


class Conv(nn.Module):
    """A convolution with the reference's initial weights."""

    ops: Ops
    features: int
    size: int
    stride: int = 1
    padding: int = 0
    bias: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolve images (n, h, w, i) to (n, h', w', features)."""
        shape = (self.size, self.size, self.ops.channels(x), self.features)
        kernel = self.param("kernel", INITIAL_WEIGHTS, shape)
        x = self.ops.conv(x, kernel, stride=self.stride, padding=self.padding)
        if self.bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            x = x + bias.astype(x.dtype)
        return x


class TransposedConv(nn.Module):
    """A transposed 3x3 convolution of stride 2, see `Ops.conv_transposed`."""

    ops: Ops
    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Upsample images (n, h, w, i) to (n, 2 h, 2 w, features)."""
        shape = (3, 3, self.ops.channels(x), self.features)
        kernel = self.param("kernel", INITIAL_WEIGHTS, shape)
        return self.ops.conv_transposed(x, kernel)


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), 3x3, reflection padding."""

    ops: Ops

    @nn.compact
    def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, None]:
        """Map images (n, h, w, c) to images of the same shape."""
        ops, conv = self.ops, partial(Conv, self.ops, x.shape[-1], 3)
        y = conv(name="conv_0")(ops.pad_reflect(x, 1))
        y = ops.instance_norm(y, RELU_SLOPE)
        y = conv(name="conv_1")(ops.pad_reflect(y, 1))
        return x + ops.instance_norm(y), None


class ResNetGenerator(nn.Module):
    """An image of one domain to one of the other with `channels`, in [-1, 1].

    Fully convolutional: h and w are multiples of 2**downsamplings, at least twice that,
    for the reflection at the lowest resolution, and at least 4, for the stem's.
    `antialias` blurs before each stride and after each upsampling (arXiv 1904.11486),
    `skips` adds what was before a stride to what its upsampling gives.
    """

    channels: int
    width: int = 64
    blocks: int = 9
    downsamplings: int = 2
    upsample: str = "transposed"
    antialias: bool = False
    skips: bool = False
    dtype: jnp.dtype = jnp.float32
    ops: Ops = Ops()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map images (n, h, w, c) to (n, h, w, channels)."""
        ops, conv = self.ops, partial(Conv, self.ops)
        blur = ops.blur if self.antialias else lambda x: x
        x = conv(self.width, 7, name="stem")(ops.pad_reflect(x.astype(self.dtype), 3))
        x = ops.instance_norm(x, RELU_SLOPE)
        fine = []
        for i in range(self.downsamplings):
            fine.append(x)
            features = self.width * 2 ** (i + 1)
            x = conv(features, 3, stride=2, padding=1, name=f"down_{i}")(blur(x))
            x = ops.instance_norm(x, RELU_SLOPE)
        x = ops.repeat(ResidualBlock, self.blocks, name="blocks")(x)
        for i in reversed(range(self.downsamplings)):
            features = self.width * 2**i
            if self.upsample == "transposed":
                x = TransposedConv(ops, features, name=f"up_{i}")(x)
            else:
                x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
                x = conv(features, 3, name=f"up_{i}")(ops.pad_reflect(x, 1))
            x = blur(x)
            if self.skips:  # of the same scale, or one would drown the other
                x = ops.add(ops.instance_norm(x), fine[i])
            x = ops.instance_norm(x, RELU_SLOPE)
        head = conv(self.channels, 7, bias=True, name="head")
        return jnp.tanh(_promote(head(ops.pad_reflect(x, 3))))


class PatchDiscriminator(nn.Module):
    """A map of scores, each for one patch of the image.

    `strided_layers` of stride 2 are followed by two of stride 1. With three of them a
    score sees 70x70 pixels, with two 34, with one 16.
    """

    width: int = 64
    strided_layers: int = 3
    dtype: jnp.dtype = jnp.float32
    ops: Ops = Ops()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map images (n, h, w, c) to scores (n, h', w', 1)."""
        ops, conv = self.ops, partial(Conv, self.ops, size=4, padding=1)
        x = conv(self.width, stride=2, bias=True, name="conv_0")(x.astype(self.dtype))
        x = nn.leaky_relu(x, LEAKY_SLOPE)
        for i in range(1, self.strided_layers):
            x = conv(self.width * min(2**i, 8), stride=2, name=f"conv_{i}")(x)
            x = ops.instance_norm(x, LEAKY_SLOPE)
        # A 4x4 convolution with stride 1 and padding 1 crops a row and a column.
        features = self.width * min(2**self.strided_layers, 8)
        x = conv(features, name=f"conv_{self.strided_layers}")(x)
        x = ops.instance_norm(x, LEAKY_SLOPE, cropped_rows=1)
        return _promote(conv(1, bias=True, name=f"conv_{self.strided_layers + 1}")(x))

    def mean(self, scores: jax.Array) -> jax.Array:
        """Return a value whose average over devices is the mean over all patches."""
        return self.ops.mean(scores, cropped_rows=2)  # by the last two convolutions


def for_shard_of(mesh: Mesh | None, network: nn.Module) -> nn.Module:
    """Return the same network for the rows of images that a device of a mesh has."""
    return network.copy(ops=network.ops.for_shard_of(mesh))


def _promote(x: jax.Array) -> jax.Array:
    """Promote to float32 or better, for losses."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))

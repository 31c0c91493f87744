"""ResNet generator and PatchGAN discriminator (all Flax lives here).

Linen modules used as pure functions. The architecture is the reference CycleGAN's
(Zhu et al. 2017; Johnson et al. 2016; Isola et al. 2017), with any number of channels.
Images are NHWC. A convolution in front of an instance norm has no bias: its gradient
is zero, and Adam would turn the rounding noise of it into steps.
"""

import dataclasses
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from synthct_jax.layers.convolution import convolve, convolve_transposed
from synthct_jax.layers.normalization import instance_norm, pad_reflect
from synthct_jax.layers.tpu import space_to_depth
from synthct_jax.parallel.halo import SPACE, WHOLE, Rows

UPSAMPLE = ("transposed", "resize")
RELU = 0.0  # slope for negative values
LEAKY_SLOPE = 0.2


class Conv(nn.Module):
    """A convolution with the reference's initial weights, N(0, 0.02).

    `matrix_products` and `rows`, here and below: how it is computed (`convolution`) and
    where the rows of the images are (`rows`). Neither changes the result, nor does
    `function`: of image and kernel, it takes the place of all that is said but the
    bias.
    """

    features: int
    size: int
    channels: int | None = None  # of the kernel, None: those of the image's array
    stride: int = 1
    padding: int = 0
    bias: bool = False
    transposed: bool = False
    matrix_products: bool = False
    rows: Rows = WHOLE
    function: Callable[[jax.Array, jax.Array], jax.Array] | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, self.channels or x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.normal(0.02), shape)
        if self.function is not None:
            x = self.function(x, kernel)
        elif self.transposed:
            x = self._transposed(x, kernel)
        else:
            x = self._plain(x, kernel)
        if self.bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            x = x + bias.astype(x.dtype)
        return x

    def _plain(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        above = left = self.padding
        if above and self.rows.shards > 1:  # the neighbours' rows instead of zeros
            below = self.size - self.stride - above
            x, above = self.rows.pad(x, above, below), 0
        return convolve(
            x,
            kernel,
            stride=self.stride,
            padding=(above, left),
            matrix_products=self.matrix_products,
        )

    def _transposed(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        height = 2 * x.shape[1]
        if self.rows.shards > 1:
            x = self.rows.pad(x, 0, 1)
        x = convolve_transposed(x, kernel, matrix_products=self.matrix_products)
        return x[:, :height]


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), 3x3, reflection padding."""

    matrix_products: bool = False
    rows: Rows = WHOLE

    @nn.compact
    def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, None]:
        how = (self.matrix_products, self.rows)
        conv = partial(Conv, x.shape[-1], 3, matrix_products=self.matrix_products)
        y = conv(name="conv_0")(pad_reflect(x, 1, *how))
        y = instance_norm(y, RELU, *how)
        y = conv(name="conv_1")(pad_reflect(y, 1, *how))
        return x + instance_norm(y, 1.0, *how), None


class ResNetGenerator(nn.Module):
    """One domain's image to the other's, in [-1, 1]: (n, h, w, c) -> (n, h, w, o).

    Fully convolutional: h and w are multiples of 2**downsamplings, and at least twice
    that times two, for the reflection at the lowest resolution. `remat` keeps no
    activations from inside of a residual block: they are computed again for gradients.
    `space_to_depth` is another way to compute the same (see there), which there is for
    transposed upsampling alone.
    """

    channels: int
    width: int = 64
    blocks: int = 9
    downsamplings: int = 2
    upsample: str = "transposed"
    dtype: jnp.dtype = jnp.float32
    remat: bool = False
    matrix_products: bool = False
    space_to_depth: bool = False
    rows: Rows = WHOLE

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        how = (self.matrix_products, self.rows)
        squares = self._in_squares()
        # Between the stem and the first downsampling, the last upsampling and the head.
        full_resolution = (*how, space_to_depth.PIXELS if squares else 1)

        def conv(features: int, size: int, *, name: str, **kwargs) -> Conv:
            function = squares.get(name)
            kwargs |= dict(matrix_products=self.matrix_products, rows=self.rows)
            return Conv(features, size, name=name, function=function, **kwargs)

        x = x.astype(self.dtype)
        x = conv(self.width, 7, name="stem")(pad_reflect(x, 3, *how))
        x = instance_norm(x, RELU, *full_resolution)
        for i in range(self.downsamplings):
            channels = self.width * 2**i
            down = conv(
                2 * channels,
                3,
                channels=channels,
                stride=2,
                padding=1,
                name=f"down_{i}",
            )
            x = instance_norm(down(x), RELU, *how)
        block = ResidualBlock
        if self.remat:
            block = nn.remat(ResidualBlock, prevent_cse=False)  # not needed in a loop
        # On CPUs a loop: compile time does not grow with the depth. Elsewhere none: a
        # loop keeps what gradients need in stacks, which it first fills with zeros, a
        # fifth of a TPU's time. With `remat` that is little.
        loop = self.matrix_products or self.remat
        blocks = nn.scan(
            block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=self.blocks,
            unroll=1 if loop else self.blocks,
        )
        x, _ = blocks(*how, name="blocks")(x, None)
        for i in reversed(range(self.downsamplings)):
            features = self.width * 2**i
            if self.upsample == "transposed":
                x = conv(features, 3, transposed=True, name=f"up_{i}")(x)
            else:
                x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
                x = conv(features, 3, name=f"up_{i}")(pad_reflect(x, 1, *how))
            x = instance_norm(x, RELU, *(how if i else full_resolution))
        if squares:
            x = space_to_depth.pad_reflect(x, self.rows)
        else:
            x = pad_reflect(x, 3, *how)
        head = conv(self.channels, 7, channels=self.width, bias=True, name="head")
        return jnp.tanh(_single_or_better(head(x)))

    def _in_squares(self) -> dict[str, Callable]:
        """Of the convolutions that are computed on squares of pixels."""
        there_is = self.upsample == "transposed" and self.downsamplings > 0
        if not (self.space_to_depth and there_is):
            return {}
        return {
            "stem": space_to_depth.first,
            "down_0": partial(space_to_depth.halve, rows=self.rows),
            "up_0": partial(space_to_depth.double, rows=self.rows),
            "head": space_to_depth.last,
        }


class PatchDiscriminator(nn.Module):
    """A map of scores, each for one patch of the image: (n, h, w, c) -> (n, h', w', 1).

    With three stride-2 layers a score sees 70x70 pixels, with two 34, with one 16.
    Where rows are split over devices, every shard of the map has equally many, and the
    last ones of the last shard are not to be counted: `score_rows`.
    """

    width: int = 64
    layers: int = 3
    dtype: jnp.dtype = jnp.float32
    matrix_products: bool = False
    rows: Rows = WHOLE

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        rows = self.rows
        conv = partial(Conv, matrix_products=self.matrix_products, rows=rows)
        x = x.astype(self.dtype)
        x = conv(self.width, 4, stride=2, padding=1, bias=True, name="conv_0")(x)
        x = nn.leaky_relu(x, LEAKY_SLOPE)
        for i in range(1, self.layers + 1):
            features = self.width * min(2**i, 8)
            stride = 2 if i < self.layers else 1
            x = conv(features, 4, stride=stride, padding=1, name=f"conv_{i}")(x)
            if stride == 1:
                rows = _one_less(rows)
            x = instance_norm(x, LEAKY_SLOPE, self.matrix_products, rows)
        x = conv(1, 4, padding=1, bias=True, name=f"conv_{self.layers + 1}")(x)
        return _single_or_better(x)

    @property
    def score_rows(self) -> Rows:
        """Of the map: its two layers with stride 1 make it smaller by a row each."""
        return _one_less(_one_less(self.rows))


def split_over(mesh: Mesh | None, network: nn.Module) -> nn.Module:
    """The same network for the rows of images that one device of a mesh has.

    To be applied inside of `jax.shard_map`.
    """
    return network if mesh is None else network.copy(rows=Rows(mesh.shape[SPACE]))


def _one_less(rows: Rows) -> Rows:
    """What a 4x4 convolution with stride 1 and padding 1 leaves."""
    if rows.shards == 1:
        return rows
    return dataclasses.replace(rows, missing=rows.missing + 1)


def _single_or_better(x: jax.Array) -> jax.Array:
    """What losses are computed from: float32, or float64 where all else is."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))

"""The operations of networks on TPUs: full resolution in space-to-depth blocks.

A TPU multiplies by 128 columns at a time and keeps 128 channels side by side. Images of
full resolution have 64 channels in a generator, and one to three at its ends, which
leaves most of that empty. As `Blocks` they have four times the channels.
"""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import flax.struct
import jax

from synthct_jax.layers.normalization import Arithmetic, instance_norm
from synthct_jax.layers.ops import Ops
from synthct_jax.layers.tpu import space_to_depth

_LANES = 128
_FEW_CHANNELS = 4


@flax.struct.dataclass
class Blocks:
    """Images as blocks of 2x2 pixels, whose values are channels: (n, h/2, w/2, 4 c)."""

    array: jax.Array


Images = jax.Array | Blocks


@dataclasses.dataclass(frozen=True)
class TpuOps(Ops):
    """Operations that return `Blocks` where an image's channels leave lanes empty.

    Layers take either form. The input and the output of a network are arrays.
    """

    def channels(self, x: Images) -> int:
        """Return the number of channels of images."""
        if isinstance(x, Blocks):
            return x.array.shape[-1] // space_to_depth.BLOCK_AREA
        return x.shape[-1]

    def conv(
        self, x: Images, kernel: jax.Array, *, stride: int = 1, padding: int = 0
    ) -> Images:
        """Convolve images with (k, k, i, o), with zeros around them."""
        size, _, channels_in, channels_out = kernel.shape
        if isinstance(x, Blocks):
            if (size, stride, padding) == (3, 2, 1):
                return space_to_depth.downsample(x.array, kernel, self.shard)
            if (size, stride, padding) == (7, 1, 0):  # after this class' pad_reflect
                return space_to_depth.head(x.array, kernel)
            x = _to_array(x)
        is_stem = channels_in <= _FEW_CHANNELS and channels_in < channels_out < _LANES
        divides = x.shape[1] % 2 == 0 and x.shape[2] % 2 == 0
        if (size, stride, padding) == (7, 1, 0) and is_stem and divides:
            return Blocks(space_to_depth.stem(x, kernel))
        return super().conv(x, kernel, stride=stride, padding=padding)

    def conv_transposed(self, x: Images, kernel: jax.Array) -> Images:
        """Upsample by the adjoint of a 3x3, stride 2 convolution."""
        x = _to_array(x)
        if kernel.shape[-1] < _LANES:
            return Blocks(space_to_depth.upsample(x, kernel, self.shard))
        return super().conv_transposed(x, kernel)

    def instance_norm(
        self, x: Images, slope: float = 1.0, *, cropped_rows: int = 0
    ) -> Images:
        """Normalise each image and channel, then apply a (leaky) ReLU."""
        if not isinstance(x, Blocks):
            return super().instance_norm(x, slope, cropped_rows=cropped_rows)
        arithmetic = Arithmetic(self.shard, space_to_depth.BLOCK_AREA)
        return Blocks(instance_norm(x.array, slope, arithmetic))

    def pad_reflect(self, x: Images, width: int) -> Images:
        """Mirror `width` rows and columns around images.

        Blocks get two blocks on every side, which `conv` expects.
        """
        if isinstance(x, Blocks) and width == space_to_depth.HEAD_PADDING:
            return Blocks(space_to_depth.pad_reflect(x.array, self.shard))
        return super().pad_reflect(_to_array(x), width)

    def add(self, x: Images, y: Images) -> Images:
        """Return the sum of images of the same shape, as blocks if both of them are."""
        if isinstance(x, Blocks) and isinstance(y, Blocks):
            return Blocks(x.array + y.array)
        return _to_array(x) + _to_array(y)

    def repeat(self, block: type[nn.Module], length: int, *, name: str) -> Callable:
        """Return a function that applies `length` blocks one after another."""
        blocks = super().repeat(block, length, name=name)
        return lambda x: blocks(_to_array(x))


def _to_array(x: Images) -> jax.Array:
    return space_to_depth.from_blocks(x.array) if isinstance(x, Blocks) else x

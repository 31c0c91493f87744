"""The operations of networks on CPUs: convolutions as matrix products.

XLA has fast matrix products for CPUs, but no fast convolutions. It also copies the
whole producer of an array into every reduction over it, and runs that channel by
channel. So sums over rows and columns are products with a vector of ones, whose operand
is materialised, and barriers keep the neighbours' work from being repeated.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

from synthct_jax.layers.cpu import im2col, padding, winograd
from synthct_jax.layers.normalization import Arithmetic
from synthct_jax.layers.ops import Ops

_FEW_CHANNELS = 4
_SMALL_BATCH = 128**2  # pixels


@dataclasses.dataclass(frozen=True)
class CpuOps(Ops):
    """Operations for CPUs; in bfloat16 XLA's own convolutions, see `_conv`."""

    def _conv(
        self, x: jax.Array, kernel: jax.Array, stride: int, borders: tuple[int, int]
    ) -> jax.Array:
        # Winograd's transforms would lose more than bfloat16 has.
        if x.dtype == jnp.bfloat16:
            return super()._conv(x, kernel, stride, borders)
        if any(borders):
            above, left = borders
            x = jnp.pad(x, ((0, 0), (above, above), (left, left), (0, 0)))
        size, _, channels_in, channels_out = kernel.shape
        if size == 3 and stride == 1 and channels_in > _FEW_CHANNELS:
            return winograd.convolve(x, kernel)
        if channels_in <= _FEW_CHANNELS:
            return im2col.convolve_from_few(x, kernel, stride)
        if channels_out <= _FEW_CHANNELS and stride == 1:
            return im2col.convolve_to_few(x, kernel)
        return im2col.convolve_patches(x, kernel, stride)

    def _conv_transposed(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        if x.dtype == jnp.bfloat16:
            return super()._conv_transposed(x, kernel)
        return im2col.convolve_transposed(x, kernel)

    def _pad_reflect(self, x: jax.Array, width: int) -> jax.Array:
        return padding.pad_reflect(x, width)

    def _blur(self, x: jax.Array) -> jax.Array:
        return lax.optimization_barrier(super()._blur(x))

    def _arithmetic(self, cropped_rows: int) -> Arithmetic:
        return GemmArithmetic(self.shard.without(cropped_rows))

    def _loops(self) -> bool:
        return True  # the time to compile does not grow with the depth

    def _should_batch(self, x: jax.Array) -> bool:
        # The matrix products of a small image are too small to be shared by threads;
        # those of a large one fill the caches as they are.
        return x[..., 0].size <= _SMALL_BATCH


@dataclasses.dataclass(frozen=True)
class GemmArithmetic(Arithmetic):
    """Means as matrix products with a vector of ones."""

    def materialise(self, x: jax.Array) -> jax.Array:
        """Keep an array from being computed again for each of its uses."""
        return lax.optimization_barrier(x)

    def _shard_mean(self, x: jax.Array, dtype: jnp.dtype) -> jax.Array:
        n, h, w, c = x.shape
        total = lax.dot_general(
            jnp.ones((n, 1, h * w), x.dtype),
            x.reshape(n, h * w, c),
            (((2,), (1,)), ((0,), (0,))),
            preferred_element_type=dtype,
        )
        return total.reshape(n, 1, 1, c) / (h * w)

"""Instance norm with its activation, and with a gradient of its own."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from synthct_jax.parallel.halo import UNSHARDED, RowShard

EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    """Means over the pixels of images (n, h, w, c), written for XLA to fuse."""

    shard: RowShard = UNSHARDED  # the rows of the images that are in each array
    block_area: int = 1  # pixels in one position: 4 in space-to-depth blocks of 2x2

    def mean(self, x: jax.Array) -> jax.Array:
        """Return the mean over all pixels, in float32 or better: (n, 1, 1, c)."""
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        mean = self.shard.mean(self._shard_mean(x, dtype), x.shape[1])
        if self.block_area == 1:
            return mean
        n, _, _, c = x.shape
        mean = mean.reshape(n, 1, self.block_area, -1).mean(2, keepdims=True)
        return jnp.tile(mean, self.block_area)

    def centre(self, x: jax.Array, mean: jax.Array) -> jax.Array:
        """Subtract the mean; padding rows stay zero."""
        return self.shard.zero_padding_rows(x.astype(mean.dtype) - mean)

    def materialise(self, x: jax.Array) -> jax.Array:
        """Keep an array from being computed again for each of its uses."""
        return x

    def _shard_mean(self, x: jax.Array, dtype: jnp.dtype) -> jax.Array:
        return jnp.mean(x, axis=(1, 2), keepdims=True, dtype=dtype)


PLAIN = Arithmetic()


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def instance_norm(
    x: jax.Array, slope: float = 1.0, arithmetic: Arithmetic = PLAIN
) -> jax.Array:
    """Normalise each image and channel to mean 0 and variance 1, then activate.

    Instance norm (Ulyanov et al. 2016) without affine parameters, computed in at least
    float32. Padding rows of the result are zero.

    Args:
        x: (n, h, w, c); the result has its shape and dtype.
        slope: slope of the leaky ReLU for negative values; 1 for no activation.
        arithmetic: how means are computed, also over shards and blocks.
    """
    return _forward(x, slope, arithmetic)[0]


def _forward(x, slope, arithmetic):
    x = arithmetic.materialise(arithmetic.shard.zero_padding_rows(x))
    mean = arithmetic.mean(x)
    variance = arithmetic.mean(jnp.square(arithmetic.centre(x, mean)))
    reciprocal = lax.rsqrt(variance + EPSILON)
    y = arithmetic.centre(x, mean) * reciprocal
    y = _activate(y, y, slope).astype(x.dtype)
    return arithmetic.materialise(y), (x, mean, reciprocal)


def _backward(slope, arithmetic, residuals, g):
    x, mean, reciprocal = residuals
    y = arithmetic.centre(x, mean) * reciprocal
    g = arithmetic.shard.zero_padding_rows(_activate(g.astype(y.dtype), y, slope))
    g = arithmetic.materialise(g)
    mean_g = arithmetic.mean(g)
    mean_gy = arithmetic.mean(arithmetic.materialise(g * y))
    dx = reciprocal * (g - mean_g - y * mean_gy)
    dx = arithmetic.shard.zero_padding_rows(dx)
    return (arithmetic.materialise(dx.astype(x.dtype)),)


instance_norm.defvjp(_forward, _backward)


def _activate(x: jax.Array, sign: jax.Array, slope: float) -> jax.Array:
    """Return x where `sign` is positive, slope * x elsewhere."""
    return x if slope == 1.0 else jnp.where(sign > 0, x, slope * x)

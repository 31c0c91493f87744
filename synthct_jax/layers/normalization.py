"""Instance norm with its activation, and reflection padding, with their own gradients.

With `matrix_products` written for what XLA does to them on CPUs: it copies the whole
producer of an array into every reduction over it, and runs that channel by channel. So
sums over rows and columns are products with a vector of ones, whose operand is
materialised, and barriers keep the neighbours' work from being repeated. Elsewhere the
compiler fuses as it likes.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from synthct_jax.parallel.halo import WHOLE, Rows

EPSILON = 1e-5
_barrier = lax.optimization_barrier


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def instance_norm(
    x: jax.Array,
    slope: float = 1.0,
    matrix_products: bool = False,
    rows: Rows = WHOLE,
    pixels: int = 1,
) -> jax.Array:
    """Zero mean, unit variance per image and channel, then a (leaky) ReLU.

    Ulyanov et al. 2016, without learned scale or shift. x: (n, h, w, c); computed in
    float32 at least. slope: of the activation for negative values; 1 is none.
    pixels: of which the channels hold each in turn, `space_to_depth.PIXELS` of squares.
    Rows that are missing are zero in the result.
    """
    return _forward(x, slope, matrix_products, rows, pixels)[0]


def _forward(x, slope, matrix_products, rows, pixels):
    on = _Arrays(matrix_products, rows, pixels)
    x = on.materialised(rows.keep(x))
    mean = on.mean(x)
    reciprocal = lax.rsqrt(on.mean(jnp.square(on.centre(x, mean))) + EPSILON)
    y = on.centre(x, mean) * reciprocal
    y = _activate(y, y, slope).astype(x.dtype)
    return on.materialised(y), (x, mean, reciprocal)


def _backward(slope, matrix_products, rows, pixels, kept, g):
    on = _Arrays(matrix_products, rows, pixels)
    x, mean, reciprocal = kept
    y = on.centre(x, mean) * reciprocal
    g = rows.keep(_activate(g.astype(y.dtype), y, slope))
    g = on.materialised(g)
    mean_g, mean_gy = on.mean(g), on.mean(on.materialised(g * y))
    dx = rows.keep(reciprocal * (g - mean_g - y * mean_gy))
    return (on.materialised(dx.astype(x.dtype)),)


instance_norm.defvjp(_forward, _backward)


@dataclasses.dataclass(frozen=True)
class _Arrays:
    """How the arithmetic is written, and where the rows are."""

    matrix_products: bool
    rows: Rows
    pixels: int

    def mean(self, x: jax.Array) -> jax.Array:
        """Over all pixels, in float32 or better: (n, 1, 1, c)."""
        mean = self._mean(x)
        if self.pixels == 1:
            return mean
        n, _, _, c = x.shape
        mean = mean.reshape(n, 1, self.pixels, -1).mean(2, keepdims=True)
        return jnp.tile(mean, self.pixels)

    def _mean(self, x: jax.Array) -> jax.Array:
        """Over rows and columns."""
        n, h, w, c = x.shape
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        if not self.matrix_products:
            mean = jnp.mean(x, axis=(1, 2), keepdims=True, dtype=dtype)
            return self.rows.mean(mean, h)
        total = lax.dot_general(
            jnp.ones((n, 1, h * w), x.dtype),
            x.reshape(n, h * w, c),
            (((2,), (1,)), ((0,), (0,))),
            preferred_element_type=dtype,
        )
        return self.rows.mean(total.reshape(n, 1, 1, c) / (h * w), h)

    def centre(self, x: jax.Array, mean: jax.Array) -> jax.Array:
        return self.rows.keep(x.astype(mean.dtype) - mean)

    def materialised(self, x: jax.Array) -> jax.Array:
        return _barrier(x) if self.matrix_products else x


def _activate(x: jax.Array, like: jax.Array, slope: float) -> jax.Array:
    """x where `like` is positive, slope * x elsewhere."""
    return x if slope == 1.0 else jnp.where(like > 0, x, slope * x)


def pad_reflect(
    x: jax.Array, width: int, matrix_products: bool = False, rows: Rows = WHOLE
) -> jax.Array:
    """Reflection padding of rows and columns, the border itself not repeated.

    An image, or a shard of its rows, has more than `width` of both.
    """
    if rows == WHOLE:
        return _pad(x, width, (1, 2), matrix_products)
    x = _pad(x, width, (2,), False)
    mirrored = x[:, width:0:-1], x[:, -width - 1 : -1][:, ::-1]
    return rows.pad(x, width, width, edges=mirrored)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _pad(
    x: jax.Array, width: int, axes: tuple[int, ...], matrix_products: bool
) -> jax.Array:
    border = [(width, width) if axis in axes else (0, 0) for axis in range(x.ndim)]
    x = jnp.pad(x, border, mode="reflect")
    return _barrier(x) if matrix_products else x


def _pad_forward(x, width, axes, matrix_products):
    return _pad(x, width, axes, matrix_products), None


def _pad_backward(width, axes, matrix_products, _, g):
    g = _barrier(g) if matrix_products else g
    for axis in axes:
        g = _fold(g, width, axis, matrix_products)
    return (g,)


_pad.defvjp(_pad_forward, _pad_backward)


def _fold(g: jax.Array, width: int, axis: int, matrix_products: bool) -> jax.Array:
    """Adds both borders back onto the pixels that they mirror."""
    last = g.shape[axis] - width - 1  # the last pixel of the image itself

    def part(start: int, stop: int) -> jax.Array:
        return lax.slice_in_dim(g, start, stop, axis=axis)

    def mirrored(start: int, stop: int) -> jax.Array:
        return lax.rev(part(start, stop), (axis,))

    overlap = last - width <= 2 * width  # borders mirror some of the same pixels
    if overlap or not matrix_products:
        # One sum that a TPU's compiler fuses with its neighbours. What JAX derives
        # from the padding are copies of whole arrays, a tenth of a generator's time.
        inner = part(width, last + 1)
        low = insert(mirrored(0, width), inner.shape[axis], 1, axis)
        high = mirrored(last + 1, last + 1 + width)
        offset = inner.shape[axis] - 1 - width
        return inner + low + insert(high, inner.shape[axis], offset, axis)
    pieces = [
        part(width, width + 1),
        part(width + 1, 2 * width + 1) + mirrored(0, width),
        part(2 * width + 1, last - width),
        part(last - width, last) + mirrored(last + 1, last + 1 + width),
        part(last, last + 1),
    ]
    return _barrier(jnp.concatenate(pieces, axis=axis))


def insert(x: jax.Array, length: int, offset: int, axis: int) -> jax.Array:
    """x from `offset` on in an array of zeros that is `length` long on an axis."""
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (offset, length - offset - x.shape[axis], 0)
    return lax.pad(x, jnp.zeros((), x.dtype), config)

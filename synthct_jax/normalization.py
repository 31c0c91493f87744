"""Instance norm with its activation, and reflection padding, with their own gradients.

Written for what XLA does to them on CPUs: it copies the whole producer of an array into
every reduction over it, and runs that channel by channel. So sums over rows and columns
are products with a vector of ones, whose operand is materialised, and barriers keep
the neighbours' work from being repeated. The functions are the plain ones everywhere.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

EPSILON = 1e-5
_barrier = lax.optimization_barrier


def _mean(x: jax.Array) -> jax.Array:
    """Mean over rows and columns, in float32 or better: (n, 1, 1, c)."""
    n, h, w, c = x.shape
    ones = jnp.ones((n, 1, h * w), x.dtype)
    total = lax.dot_general(
        ones,
        x.reshape(n, h * w, c),
        (((2,), (1,)), ((0,), (0,))),
        preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
    )
    return total.reshape(n, 1, 1, c) / (h * w)


def _normalise(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x with zero mean and unit variance, and the reciprocal deviation."""
    centred = x - _mean(x).astype(x.dtype)
    reciprocal = lax.rsqrt(_mean(jnp.square(centred)) + EPSILON).astype(x.dtype)
    return centred * reciprocal, reciprocal


def _activate(x: jax.Array, like: jax.Array, slope: float) -> jax.Array:
    """x where `like` is positive, slope * x elsewhere."""
    return x if slope == 1.0 else jnp.where(like > 0, x, slope * x)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def instance_norm(x: jax.Array, slope: float = 1.0) -> jax.Array:
    """Zero mean, unit variance per image and channel, then a (leaky) ReLU.

    Ulyanov et al. 2016, without learned scale or shift. x: (n, h, w, c); statistics
    are in float32 at least. slope: of the activation for negative values; 1 is none.
    """
    return _forward(x, slope)[0]


def _forward(x, slope):
    x = _barrier(x)
    y, _ = _normalise(x)
    return _barrier(_activate(y, y, slope)), x


def _backward(slope, x, g):
    y, reciprocal = _normalise(x)
    g = _barrier(_activate(g, y, slope))
    mean_g = _mean(g).astype(x.dtype)
    mean_gy = _mean(_barrier(g * y)).astype(x.dtype)
    return (_barrier(reciprocal * (g - mean_g - y * mean_gy)),)


instance_norm.defvjp(_forward, _backward)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def pad_reflect(x: jax.Array, width: int) -> jax.Array:
    """Reflection padding of rows and columns, the border itself not repeated."""
    border = (width, width)
    return _barrier(jnp.pad(x, ((0, 0), border, border, (0, 0)), mode="reflect"))


def _pad_forward(x, width):
    return pad_reflect(x, width), None


def _pad_backward(width, _, g):
    return (_fold(_fold(_barrier(g), width, 1), width, 2),)


def _fold(g: jax.Array, width: int, axis: int) -> jax.Array:
    """Adds both borders back onto the pixels that they mirror."""
    last = g.shape[axis] - width - 1  # the last pixel of the image itself

    def part(start: int, stop: int) -> jax.Array:
        return lax.slice_in_dim(g, start, stop, axis=axis)

    def mirrored(start: int, stop: int) -> jax.Array:
        return lax.rev(part(start, stop), (axis,))

    if last - width <= 2 * width:  # both borders mirror some of the same pixels
        inner = part(width, last + 1)
        low = _insert(mirrored(0, width), inner.shape[axis], 1, axis)
        high = mirrored(last + 1, last + 1 + width)
        offset = inner.shape[axis] - 1 - width
        return inner + low + _insert(high, inner.shape[axis], offset, axis)
    pieces = [
        part(width, width + 1),
        part(width + 1, 2 * width + 1) + mirrored(0, width),
        part(2 * width + 1, last - width),
        part(last - width, last) + mirrored(last + 1, last + 1 + width),
        part(last, last + 1),
    ]
    return _barrier(jnp.concatenate(pieces, axis=axis))


def _insert(x: jax.Array, length: int, offset: int, axis: int) -> jax.Array:
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (offset, length - offset - x.shape[axis], 0)
    return lax.pad(x, jnp.zeros((), x.dtype), config)


pad_reflect.defvjp(_pad_forward, _pad_backward)

"""Reflection padding and its gradient as XLA compiles them best for CPUs."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from synthct_jax.layers import padding

_AXES = (1, 2)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def pad_reflect(x: jax.Array, width: int) -> jax.Array:
    """Mirror `width` rows and columns around images (n, h, w, c)."""
    return lax.optimization_barrier(padding.pad_reflect(x, width, _AXES))


def _forward(x, width):
    return pad_reflect(x, width), None


def _backward(width, _, g):
    g = lax.optimization_barrier(g)
    for axis in _AXES:
        g = _fold(g, width, axis)
    return (g,)


pad_reflect.defvjp(_forward, _backward)


def _fold(g: jax.Array, width: int, axis: int) -> jax.Array:
    """Return the gradient along one axis: the adjoint of reflection padding.

    Like `padding.fold`, but of concatenated slices, which is faster on CPUs.
    """
    last = g.shape[axis] - width - 1  # the last pixel of the image itself
    if last - width <= 2 * width:  # the borders mirror some of the same pixels
        return padding.fold(g, width, axis)

    def part(start: int, stop: int) -> jax.Array:
        return lax.slice_in_dim(g, start, stop, axis=axis)

    def border(start: int) -> jax.Array:
        return padding.mirrored(g, start, start + width, axis)

    pieces = [
        part(width, width + 1),
        part(width + 1, 2 * width + 1) + border(0),
        part(2 * width + 1, last - width),
        part(last - width, last) + border(last + 1),
        part(last, last + 1),
    ]
    return lax.optimization_barrier(jnp.concatenate(pieces, axis=axis))

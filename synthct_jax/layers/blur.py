"""A binomial filter with a gradient of its own."""

import jax
import jax.numpy as jnp
from jax import lax


@jax.custom_vjp
def binomial(x: jax.Array) -> jax.Array:
    """Filter images by (1, 2, 1) / 4 along rows and columns, without padding.

    Shapes: (n, h, w, c) to (n, h - 2, w - 2, c).
    """
    for axis in (1, 2):
        inner = x.shape[axis] - 2
        before, centre, behind = (
            lax.slice_in_dim(x, start, start + inner, axis=axis) for start in range(3)
        )
        x = 0.25 * before + 0.5 * centre + 0.25 * behind
    return x


def _forward(x):
    return binomial(x), None


def _backward(_, g):
    """Return the gradient: the same filter on zero-padded `g`, as it is symmetric.

    JAX's own derivative adds padded copies, and is three times as slow.
    """
    return (binomial(jnp.pad(g, ((0, 0), (2, 2), (2, 2), (0, 0)))),)


binomial.defvjp(_forward, _backward)

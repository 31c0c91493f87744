"""3x3 convolutions by Winograd's F(4x4, 3x3), for CPUs.

Lavin & Gray 2016, arXiv 1509.09308: a tile of 4x4 outputs takes 36 products instead of
144. Images are NHWC, kernels HWIO; stride 1, without padding. The transforms are jitted
by themselves, or the many layers of one shape would each be traced.
"""

import operator
from collections.abc import Sequence
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np

from synthct_jax.layers.cpu import onednn
from synthct_jax.layers.cpu.im2col import fit, keep_inputs, output_size, shifted_sum
from synthct_jax.layers.cpu.onednn import product

# Transforms of F(4x4, 3x3), Lavin & Gray 2016, section 4.3.
_TILE = 4  # outputs of a tile along each axis; it reads two more inputs
_INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_KERNEL = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4]]) / 24
_KERNEL = np.concatenate([_KERNEL, [[0, 0, 1]]])
_OUTPUT = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
)


def _both_axes(transform: np.ndarray, x: jax.Array) -> jax.Array:
    """Transform rows and columns at once, as one product over flat (6 x 6)."""
    return jnp.asarray(np.kron(transform, transform), x.dtype) @ x


def _transform_kernel(kernel: jax.Array) -> jax.Array:
    """Transform a kernel (3, 3, i, o) to (36, i, o)."""
    return _both_axes(_KERNEL, kernel.reshape(9, -1)).reshape(36, *kernel.shape[2:])


def _combine(transform: np.ndarray, lines: Sequence[jax.Array]) -> list[jax.Array]:
    """Transform an axis, which is a list, by sums that XLA fuses with others."""
    rows = (zip(lines, row, strict=True) for row in transform.tolist())
    weighted = ([line * weight for line, weight in row if weight] for row in rows)
    return [reduce(operator.add, terms) for terms in weighted]


def _tiles(x: jax.Array) -> tuple[int, int]:
    """Return how many rows and columns of tiles cover the outputs of a convolution."""
    rows, columns = output_size(x, 3, 1)
    return -(-rows // _TILE), -(-columns // _TILE)


@jax.jit
def _transform_input(x: jax.Array) -> jax.Array:
    """Transform overlapping 6x6 tiles: (36, tiles, c)."""
    rows, columns = _tiles(x)
    x = fit(x, rows * _TILE + 2, columns * _TILE + 2)
    reach = range(_TILE + 2)
    lines = [x[:, i : i + _TILE * rows - 3 : _TILE] for i in reach]
    lines = jnp.stack(_combine(_INPUT, lines))
    tiles = [lines[:, :, :, j : j + _TILE * columns - 3 : _TILE] for j in reach]
    tiles = jnp.stack(_combine(_INPUT, tiles), axis=1)
    return tiles.reshape(36, -1, x.shape[-1])


@partial(jax.jit, static_argnums=1)
def _transform_output(products: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Transform products (6, 6, n, tile rows, tile columns, o) to images of `size`."""
    *_, n, rows, columns, _ = products.shape
    y = _combine(_OUTPUT, products)
    y = [jnp.stack(_combine(_OUTPUT, line), axis=3) for line in y]
    y = jnp.stack(y, axis=2).reshape(n, rows * _TILE, columns * _TILE, -1)
    return y[:, : size[0], : size[1]]


@jax.custom_vjp
def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve images (n, h, w, i) with (3, 3, i, o), to (n, h - 2, w - 2, o)."""
    products = product(_transform_input(x), _transform_kernel(kernel))
    products = products.reshape(6, 6, x.shape[0], *_tiles(x), -1)
    return _transform_output(products, output_size(x, 3, 1))


@partial(jax.jit, static_argnums=1)
def _transform_gradient(g: jax.Array, tiles: tuple[int, int]) -> jax.Array:
    """Transform the gradient of the outputs, the adjoint of `_transform_output`."""
    rows, columns = tiles
    g = fit(g, rows * _TILE, columns * _TILE)
    g = g.reshape(len(g), rows, _TILE, columns, _TILE, -1)
    g = jnp.stack(_combine(_OUTPUT.T, [g[:, :, i] for i in range(_TILE)]))
    g = _combine(_OUTPUT.T, [g[:, :, :, :, j] for j in range(_TILE)])
    return jnp.stack(g, axis=1).reshape(36, -1, g[0].shape[-1])


@partial(jax.jit, static_argnums=1)
def _add_tiles(dtiles: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Add gradients (6, 6, n, tile rows, tile columns, i) of tiles to an image's."""
    dlines = _combine(_INPUT.T, [dtiles[:, j] for j in range(6)])
    dlines = shifted_sum(dlines, 3, _TILE)[:, :, :, : size[1]]
    dx = _combine(_INPUT.T, [dlines[i] for i in range(6)])
    return shifted_sum(dx, 1, _TILE)[:, : size[0]]


def _convolve_backward(residuals, g):
    x, kernel = residuals
    tiles, dproducts = _transform_input(x), _transform_gradient(g, _tiles(x))
    # Transformed once more rather than kept, which would be four kernels' memory.
    if onednn.computes(2 * dproducts.size * x.shape[-1], x.dtype):
        dtiles = product(dproducts, _transform_kernel(kernel), transpose_b=True)
    else:  # XLA's products take half as long again by a transposed matrix
        transposed = kernel.transpose(0, 1, 3, 2)
        dtiles = product(dproducts, _transform_kernel(transposed))
    dtiles = dtiles.reshape(6, 6, x.shape[0], *_tiles(x), -1)
    dx = _add_tiles(dtiles, x.shape[1:3])
    dkernel = product(tiles, dproducts, transpose_a=True).reshape(36, -1)
    return dx, _both_axes(_KERNEL.T, dkernel).reshape(kernel.shape)


convolve.defvjp(keep_inputs(convolve), _convolve_backward)

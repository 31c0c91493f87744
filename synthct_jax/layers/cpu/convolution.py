"""Convolutions as matrix products, for CPUs.

XLA compiles the convolutions of a CycleGAN, and most of all their gradients, to CPU
programs that are many times slower than their arithmetic: it has fast matrix products
but no fast convolutions there. Each function here is the same function as
`lax.conv_general_dilated` on NHWC images and HWIO kernels (tested, values and
gradients), written as gathers, matrix products and overlap-adds with a gradient of its
own. `convolution.py` decides where they are used; TPU and GPU programs never see them.

- 3x3, stride 1: Winograd's F(4x4, 3x3) (Lavin & Gray 2016, arXiv 1509.09308).
- a few channels on one side (first and last layers): taps in the leading axis, so that
  no array has a minor axis of one or two elements.
- everything else: one matrix product over gathered patches (im2col).
"""

import operator
from collections.abc import Sequence
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from synthct_jax.layers.cpu import onednn
from synthct_jax.layers.cpu.onednn import product

FEW = 4  # channels up to which a side counts as narrow

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


def convolve(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolution without padding: (n, h, w, i) and (k, k, i, o) -> (n, h', w', o)."""
    size, _, channels_in, channels_out = kernel.shape
    if size == 3 and stride == 1 and channels_in > FEW:
        return _winograd(x, kernel)
    if channels_in <= FEW:
        return _from_few(x, kernel, stride)
    if channels_out <= FEW and stride == 1:
        return _to_few(x, kernel)
    return _by_patches(x, kernel, stride)


@jax.custom_vjp
def convolve_transposed(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """3x3, stride 2: see `convolution.convolve_transposed`."""
    size, _, channels_in, channels_out = kernel.shape
    columns = _per_pixel(x, kernel.transpose(2, 0, 1, 3).reshape(channels_in, -1))
    columns = columns.reshape(*x.shape[:3], size, size, channels_out)
    return _overlap_add(columns, 2)[:, 1:-1, 1:-1]


def _convolve_transposed_forward(x, kernel):
    return convolve_transposed(x, kernel), (x, kernel)


def _convolve_transposed_backward(residuals, g):
    x, kernel = residuals
    size, _, channels_in, channels_out = kernel.shape
    columns = _patches(jnp.pad(g, ((0, 0), (1, 0), (1, 0), (0, 0))), size, 2)
    by_column = kernel.transpose(0, 1, 3, 2).reshape(-1, channels_in)
    dkernel = _contract_leading(x, columns)
    dkernel = dkernel.reshape(channels_in, size, size, channels_out)
    return _per_pixel(columns, by_column), dkernel.transpose(1, 2, 0, 3)


convolve_transposed.defvjp(_convolve_transposed_forward, _convolve_transposed_backward)


# ---- patches ------------------------------------------------------------------------


def _window(x: jax.Array, i: int, j: int, rows: int, columns: int, stride: int):
    """The pixels that tap (i, j) sees, one for each of rows x columns outputs."""
    n, _, _, c = x.shape
    end = (n, i + (rows - 1) * stride + 1, j + (columns - 1) * stride + 1, c)
    return lax.slice(x, (0, i, j, 0), end, (1, stride, stride, 1))


def _outputs(x: jax.Array, size: int, stride: int) -> tuple[int, int]:
    return (x.shape[1] - size) // stride + 1, (x.shape[2] - size) // stride + 1


def _patches(x: jax.Array, size: int, stride: int) -> jax.Array:
    """(n, h, w, c) -> (n, h', w', size * size * c)."""
    rows, columns = _outputs(x, size, stride)
    taps = [
        _window(x, i, j, rows, columns, stride)
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(taps, axis=-1)


def _shifted_sum(parts: list[jax.Array], axis: int, stride: int) -> jax.Array:
    """out[stride * t + i] = sum of parts[i][t] along `axis`.

    Built phase by phase, so that each output is written once.
    """
    reach = (len(parts) - 1) // stride

    def shifted(part: jax.Array, by: int) -> jax.Array:
        config = [(0, 0, 0)] * part.ndim
        config[axis] = (by, reach - by, 0)
        return lax.pad(part, jnp.zeros((), part.dtype), config)

    phases = [
        sum(shifted(part, by) for by, part in enumerate(parts[phase::stride]))
        for phase in range(stride)
    ]
    if stride == 1:
        return phases[0]
    stacked = jnp.stack(phases, axis=axis + 1)
    shape = list(phases[0].shape)
    shape[axis] *= stride
    return stacked.reshape(shape)


def _overlap_add(columns: jax.Array, stride: int) -> jax.Array:
    """Adjoint of `_patches`: (n, h', w', k, k, c) -> (n, h, w, c).

    h and w come out as stride * (h' + (k - 1) // stride): cut or pad to the need.
    """
    size = columns.shape[3]
    rows = [
        _shifted_sum([columns[:, :, :, i, j] for i in range(size)], 1, stride)
        for j in range(size)
    ]
    return _shifted_sum(rows, 2, stride)


def _fit(x: jax.Array, rows: int, columns: int) -> jax.Array:
    """Cut, or pad with zeros, the ends of rows and columns."""
    x = x[:, :rows, :columns]
    more = (rows - x.shape[1], columns - x.shape[2])
    return jnp.pad(x, ((0, 0), (0, more[0]), (0, more[1]), (0, 0))) if any(more) else x


def _per_pixel(x: jax.Array, matrix: jax.Array, **turned: bool) -> jax.Array:
    """(n, h, w, p) and (p, q) -> (n, h, w, q)."""
    y = product(x.reshape(-1, x.shape[-1]), matrix, **turned)
    return y.reshape(*x.shape[:3], -1)


def _contract_leading(a: jax.Array, b: jax.Array) -> jax.Array:
    """Matrix product over all axes but the last: (..., p), (..., q) -> (p, q)."""
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    return product(a, b, transpose_a=True)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _by_patches(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    size, channels_out = kernel.shape[0], kernel.shape[-1]
    return _per_pixel(_patches(x, size, stride), kernel.reshape(-1, channels_out))


def _by_patches_forward(x, kernel, stride):
    return _by_patches(x, kernel, stride), (x, kernel)


def _by_patches_backward(stride, residuals, g):
    x, kernel = residuals
    size, _, channels_in, channels_out = kernel.shape
    dkernel = _contract_leading(_patches(x, size, stride), g).reshape(kernel.shape)
    columns = _per_pixel(g, kernel.reshape(-1, channels_out), transpose_b=True)
    columns = columns.reshape(*g.shape[:3], size, size, channels_in)
    return _fit(_overlap_add(columns, stride), *x.shape[1:3]), dkernel


_by_patches.defvjp(_by_patches_forward, _by_patches_backward)


# ---- few channels: taps lead, pixels are the minor axis -----------------------------


def _taps(x: jax.Array, size: int, stride: int) -> jax.Array:
    """(n, h, w, c) -> (size * size * c, n * h' * w')."""
    rows, columns = _outputs(x, size, stride)
    taps = [
        _window(x, i, j, rows, columns, stride)[..., channel]
        for i in range(size)
        for j in range(size)
        for channel in range(x.shape[-1])
    ]
    return jnp.stack(taps).reshape(len(taps), -1)


def _taps_adjoint(taps: jax.Array, stride: int) -> jax.Array:
    """(k, k, c, n, h', w') -> (n, h, w, c), sizes as those of `_overlap_add`."""
    size, _, channels = taps.shape[:3]
    planes = []
    for channel in range(channels):
        rows = [
            _shifted_sum([taps[i, j, channel] for j in range(size)], 2, stride)
            for i in range(size)
        ]
        planes.append(_shifted_sum(rows, 1, stride))
    return jnp.stack(planes, axis=-1)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _from_few(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    size, channels_out = kernel.shape[0], kernel.shape[-1]
    rows, columns = _outputs(x, size, stride)
    taps = _taps(x, size, stride)
    y = product(taps, kernel.reshape(-1, channels_out), transpose_a=True)
    return y.reshape(x.shape[0], rows, columns, channels_out)


def _from_few_forward(x, kernel, stride):
    return _from_few(x, kernel, stride), (x, kernel)


def _from_few_backward(stride, residuals, g):
    x, kernel = residuals
    size, _, channels_in, channels_out = kernel.shape
    pixels = g.reshape(-1, channels_out)
    dkernel = product(_taps(x, size, stride), pixels).reshape(kernel.shape)
    taps = product(kernel.reshape(-1, channels_out), pixels, transpose_b=True)
    taps = taps.reshape(size, size, channels_in, *g.shape[:3])
    return _fit(_taps_adjoint(taps, stride), *x.shape[1:3]), dkernel


_from_few.defvjp(_from_few_forward, _from_few_backward)


@jax.custom_vjp
def _to_few(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Stride 1. Every pixel times every tap, then the taps are shifted and added."""
    size, _, channels_in, channels_out = kernel.shape
    rows, columns = _outputs(x, size, 1)
    by_tap = kernel.transpose(0, 1, 3, 2).reshape(-1, channels_in)
    taps = product(by_tap, x.reshape(-1, channels_in), transpose_b=True)
    taps = taps.reshape(size, size, channels_out, *x.shape[:3])
    planes = []
    for channel in range(channels_out):
        lines = [
            sum(taps[i, j, channel, :, :, j : j + columns] for j in range(size))
            for i in range(size)
        ]
        planes.append(sum(line[:, i : i + rows] for i, line in enumerate(lines)))
    return jnp.stack(planes, axis=-1)


def _to_few_forward(x, kernel):
    return _to_few(x, kernel), (x, kernel)


def _to_few_backward(residuals, g):
    x, kernel = residuals
    size, _, channels_in, channels_out = kernel.shape
    border = (size - 1, size - 1)
    padded = jnp.pad(g, ((0, 0), border, border, (0, 0)))
    # Tap (i, j) of the kernel meets the gradient at the mirrored place.
    taps = _taps(padded, size, 1).reshape(size, size, channels_out, -1)
    taps = taps[::-1, ::-1].reshape(size * size * channels_out, -1)
    by_tap = kernel.transpose(0, 1, 3, 2).reshape(-1, channels_in)
    dx = product(taps, by_tap, transpose_a=True).reshape(x.shape)
    dkernel = product(taps, x.reshape(-1, channels_in))
    dkernel = dkernel.reshape(size, size, channels_out, channels_in)
    return dx, dkernel.transpose(0, 1, 3, 2)


_to_few.defvjp(_to_few_forward, _to_few_backward)


# ---- Winograd -----------------------------------------------------------------------


def _both_axes(transform: np.ndarray, x: jax.Array) -> jax.Array:
    """A transform of rows and columns at once, as one product over flat (6 x 6)."""
    return jnp.asarray(np.kron(transform, transform), x.dtype) @ x


def _transform_kernel(kernel: jax.Array) -> jax.Array:
    """(3, 3, i, o) -> (36, i, o)."""
    return _both_axes(_KERNEL, kernel.reshape(9, -1)).reshape(36, *kernel.shape[2:])


def _combined(transform: np.ndarray, parts: Sequence[jax.Array]) -> list[jax.Array]:
    """A transform of one axis, which is a list: sums, for XLA to fuse with others."""
    rows = (zip(parts, row, strict=True) for row in transform.tolist())
    weighted = ([part * weight for part, weight in row if weight] for row in rows)
    return [reduce(operator.add, parts) for parts in weighted]


def _transform_input(x: jax.Array) -> tuple[jax.Array, tuple[int, int, int]]:
    """Overlapping 6x6 tiles, transformed: (36, tiles, c), and n, tile rows, columns."""
    n, _, _, c = x.shape
    rows, columns = (-(-outputs // _TILE) for outputs in _outputs(x, 3, 1))
    x = _fit(x, rows * _TILE + 2, columns * _TILE + 2)
    reach = range(_TILE + 2)
    lines = [x[:, i : i + _TILE * rows - 3 : _TILE] for i in reach]
    lines = jnp.stack(_combined(_INPUT, lines))
    tiles = [lines[:, :, :, j : j + _TILE * columns - 3 : _TILE] for j in reach]
    tiles = jnp.stack(_combined(_INPUT, tiles), axis=1)
    return tiles.reshape(36, -1, c), (n, rows, columns)


@jax.custom_vjp
def _winograd(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """(n, h, w, i) and (3, 3, i, o) -> (n, h - 2, w - 2, o)."""
    tiles, (n, rows, columns) = _transform_input(x)
    products = product(tiles, _transform_kernel(kernel))
    y = _combined(_OUTPUT, products.reshape(6, 6, n, rows, columns, -1))
    y = [jnp.stack(_combined(_OUTPUT, line), axis=3) for line in y]
    y = jnp.stack(y, axis=2).reshape(n, rows * _TILE, columns * _TILE, -1)
    return y[:, : x.shape[1] - 2, : x.shape[2] - 2]


def _winograd_forward(x, kernel):
    return _winograd(x, kernel), (x, kernel)


def _winograd_backward(residuals, g):
    x, kernel = residuals
    tiles, (n, rows, columns) = _transform_input(x)
    g = _fit(g, rows * _TILE, columns * _TILE)
    g = g.reshape(n, rows, _TILE, columns, _TILE, -1)
    g = jnp.stack(_combined(_OUTPUT.T, [g[:, :, i] for i in range(_TILE)]))
    g = _combined(_OUTPUT.T, [g[:, :, :, :, j] for j in range(_TILE)])
    dproducts = jnp.stack(g, axis=1).reshape(36, -1, kernel.shape[-1])
    # Transformed once more rather than kept, which would be four kernels' memory.
    if onednn.computes(2 * dproducts.size * x.shape[-1], x.dtype):
        dtiles = product(dproducts, _transform_kernel(kernel), transpose_b=True)
    else:  # XLA's products take half as long again by a transposed matrix
        turned = kernel.transpose(0, 1, 3, 2)
        dtiles = product(dproducts, _transform_kernel(turned))
    dtiles = dtiles.reshape(6, 6, n, rows, columns, -1)
    dlines = _combined(_INPUT.T, [dtiles[:, j] for j in range(6)])
    dlines = _shifted_sum(dlines, 3, _TILE)[:, :, :, : x.shape[2]]
    dx = _combined(_INPUT.T, [dlines[i] for i in range(6)])
    dx = _shifted_sum(dx, 1, _TILE)[:, : x.shape[1]]
    dkernel = product(tiles, dproducts, transpose_a=True).reshape(36, -1)
    return dx, _both_axes(_KERNEL.T, dkernel).reshape(kernel.shape)


_winograd.defvjp(_winograd_forward, _winograd_backward)

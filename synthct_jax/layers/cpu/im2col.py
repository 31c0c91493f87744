"""Convolutions as one matrix product over gathered patches (im2col), for CPUs.

XLA compiles the convolutions of a CycleGAN, and most of all their gradients, to CPU
programs that are many times slower than their arithmetic: it has fast matrix products
there but no fast convolutions. Each function here equals
`lax.conv_general_dilated` on NHWC images and HWIO kernels, written as gathers, matrix
products and overlap-adds, with a gradient of its own.

Layers with a few channels on one side (the first and the last) keep the taps of the
kernel in the leading axis, so that no array has a minor axis of one or two elements.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from synthct_jax.layers.cpu.onednn import product


def keep_inputs(convolve: Callable) -> Callable:
    """Return the forward pass of a convolution whose gradient needs its inputs."""
    return lambda x, kernel, *stride: (convolve(x, kernel, *stride), (x, kernel))


@jax.custom_vjp
def convolve_transposed(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Upsample images (n, h, w, i) by (3, 3, i, o), as `Ops.conv_transposed` does."""
    size, _, channels_in, channels_out = kernel.shape
    columns = _per_pixel(x, kernel.transpose(2, 0, 1, 3).reshape(channels_in, -1))
    columns = columns.reshape(*x.shape[:3], size, size, channels_out)
    return _overlap_add(columns, 2)[:, 1:-1, 1:-1]


def _convolve_transposed_backward(residuals, g):
    x, kernel = residuals
    size, _, channels_in, channels_out = kernel.shape
    columns = _patches(jnp.pad(g, ((0, 0), (1, 0), (1, 0), (0, 0))), size, 2)
    by_column = kernel.transpose(0, 1, 3, 2).reshape(-1, channels_in)
    dkernel = _sum_outer_products(x, columns)
    dkernel = dkernel.reshape(channels_in, size, size, channels_out)
    return _per_pixel(columns, by_column), dkernel.transpose(1, 2, 0, 3)


convolve_transposed.defvjp(
    keep_inputs(convolve_transposed), _convolve_transposed_backward
)


def _window(x: jax.Array, i: int, j: int, rows: int, columns: int, stride: int):
    """Return the pixels under tap (i, j), one for each of rows x columns outputs."""
    n, _, _, c = x.shape
    end = (n, i + (rows - 1) * stride + 1, j + (columns - 1) * stride + 1, c)
    return lax.slice(x, (0, i, j, 0), end, (1, stride, stride, 1))


def output_size(x: jax.Array, size: int, stride: int) -> tuple[int, int]:
    """Return rows and columns of a convolution without padding."""
    return (x.shape[1] - size) // stride + 1, (x.shape[2] - size) // stride + 1


@partial(jax.jit, static_argnums=(1, 2))
def _patches(x: jax.Array, size: int, stride: int) -> jax.Array:
    """Gather the pixels under a kernel: (n, h', w', size * size * c)."""
    rows, columns = output_size(x, size, stride)
    taps = [
        _window(x, i, j, rows, columns, stride)
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(taps, axis=-1)


def shifted_sum(terms: list[jax.Array], axis: int, stride: int) -> jax.Array:
    """Return an array with out[stride * t + i] = sum of terms[i][t] along an axis.

    It is built phase by phase, so that each output is written once.
    """
    reach = (len(terms) - 1) // stride

    def shifted(term: jax.Array, by: int) -> jax.Array:
        config = [(0, 0, 0)] * term.ndim
        config[axis] = (by, reach - by, 0)
        return lax.pad(term, jnp.zeros((), term.dtype), config)

    phases = [
        sum(shifted(term, by) for by, term in enumerate(terms[phase::stride]))
        for phase in range(stride)
    ]
    if stride == 1:
        return phases[0]
    stacked = jnp.stack(phases, axis=axis + 1)
    shape = list(phases[0].shape)
    shape[axis] *= stride
    return stacked.reshape(shape)


@partial(jax.jit, static_argnums=1)
def _overlap_add(columns: jax.Array, stride: int) -> jax.Array:
    """Add (n, h', w', k, k, c) where `_patches` read, its adjoint: (n, h, w, c).

    h and w are stride * (h' + (k - 1) // stride): `fit` cuts or pads them.
    """
    size = columns.shape[3]
    rows = [
        shifted_sum([columns[:, :, :, i, j] for i in range(size)], 1, stride)
        for j in range(size)
    ]
    return shifted_sum(rows, 2, stride)


def fit(x: jax.Array, rows: int, columns: int) -> jax.Array:
    """Crop or zero-pad bottom and right of (n, h, w, c) to (n, rows, columns, c)."""
    x = x[:, :rows, :columns]
    more = (rows - x.shape[1], columns - x.shape[2])
    return jnp.pad(x, ((0, 0), (0, more[0]), (0, more[1]), (0, 0))) if any(more) else x


def _per_pixel(x: jax.Array, matrix: jax.Array, **transposed: bool) -> jax.Array:
    """Multiply each pixel (n, h, w, p) by a matrix (p, q)."""
    y = product(x.reshape(-1, x.shape[-1]), matrix, **transposed)
    return y.reshape(*x.shape[:3], -1)


def _sum_outer_products(a: jax.Array, b: jax.Array) -> jax.Array:
    """Contract all axes but the last: (..., p) and (..., q) to (p, q)."""
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    return product(a, b, transpose_a=True)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve_patches(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolve images (n, h, w, i) with (k, k, i, o), without padding."""
    size, channels_out = kernel.shape[0], kernel.shape[-1]
    return _per_pixel(_patches(x, size, stride), kernel.reshape(-1, channels_out))


def _convolve_patches_backward(stride, residuals, g):
    x, kernel = residuals
    size, _, channels_in, channels_out = kernel.shape
    dkernel = _sum_outer_products(_patches(x, size, stride), g).reshape(kernel.shape)
    columns = _per_pixel(g, kernel.reshape(-1, channels_out), transpose_b=True)
    columns = columns.reshape(*g.shape[:3], size, size, channels_in)
    return fit(_overlap_add(columns, stride), *x.shape[1:3]), dkernel


convolve_patches.defvjp(keep_inputs(convolve_patches), _convolve_patches_backward)


@partial(jax.jit, static_argnums=(1, 2))
def _taps(x: jax.Array, size: int, stride: int) -> jax.Array:
    """Gather the pixels under a kernel, taps first: (size * size * c, n * h' * w')."""
    rows, columns = output_size(x, size, stride)
    taps = [
        _window(x, i, j, rows, columns, stride)[..., channel]
        for i in range(size)
        for j in range(size)
        for channel in range(x.shape[-1])
    ]
    return jnp.stack(taps).reshape(len(taps), -1)


@partial(jax.jit, static_argnums=1)
def _overlap_add_taps(taps: jax.Array, stride: int) -> jax.Array:
    """Add (k, k, c, n, h', w') where `_taps` read: (n, h, w, c), as `_overlap_add`."""
    size, _, channels = taps.shape[:3]
    planes = []
    for channel in range(channels):
        rows = [
            shifted_sum([taps[i, j, channel] for j in range(size)], 2, stride)
            for i in range(size)
        ]
        planes.append(shifted_sum(rows, 1, stride))
    return jnp.stack(planes, axis=-1)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve_from_few(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolve images of a few channels, without padding."""
    size, channels_out = kernel.shape[0], kernel.shape[-1]
    rows, columns = output_size(x, size, stride)
    taps = _taps(x, size, stride)
    y = product(taps, kernel.reshape(-1, channels_out), transpose_a=True)
    return y.reshape(x.shape[0], rows, columns, channels_out)


def _convolve_from_few_backward(stride, residuals, g):
    x, kernel = residuals
    size, _, channels_in, channels_out = kernel.shape
    pixels = g.reshape(-1, channels_out)
    dkernel = product(_taps(x, size, stride), pixels).reshape(kernel.shape)
    taps = product(kernel.reshape(-1, channels_out), pixels, transpose_b=True)
    taps = taps.reshape(size, size, channels_in, *g.shape[:3])
    return fit(_overlap_add_taps(taps, stride), *x.shape[1:3]), dkernel


convolve_from_few.defvjp(keep_inputs(convolve_from_few), _convolve_from_few_backward)


@jax.custom_vjp
def convolve_to_few(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve to a few channels with stride 1, without padding.

    Every pixel is multiplied by every tap, then the taps are shifted and added.
    """
    size, _, channels_in, channels_out = kernel.shape
    by_tap = kernel.transpose(0, 1, 3, 2).reshape(-1, channels_in)
    taps = product(by_tap, x.reshape(-1, channels_in), transpose_b=True)
    taps = taps.reshape(size, size, channels_out, *x.shape[:3])
    return _add_taps(taps, output_size(x, size, 1))


@partial(jax.jit, static_argnums=1)
def _add_taps(taps: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Add (k, k, o, n, h, w) where each tap meets the kernel: (n, *shape, o)."""
    size, _, channels = taps.shape[:3]
    rows, columns = shape
    planes = []
    for channel in range(channels):
        lines = [
            sum(taps[i, j, channel, :, :, j : j + columns] for j in range(size))
            for i in range(size)
        ]
        planes.append(sum(line[:, i : i + rows] for i, line in enumerate(lines)))
    return jnp.stack(planes, axis=-1)


def _convolve_to_few_backward(residuals, g):
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


convolve_to_few.defvjp(keep_inputs(convolve_to_few), _convolve_to_few_backward)

"""The layers of full resolution on squares of 2x2 pixels, for matrix units.

A TPU multiplies by 128 columns at a time and keeps 128 channels side by side. Images
of full resolution have 64 channels in a generator and one to three at its ends, which
leave most of that empty. Here a square of 2x2 pixels is one position with four times
the channels, in the order (row, column, channel), and kernels are spread out to match:
some products with zeros are added, and the unit is full. The functions are those of
`convolution` and `normalization`, and so are the weights.

    first   pixels to squares, 7x7, the image padded before
    halve   squares to pixels of half the resolution, 3x3, stride 2
    double  pixels to squares of twice the resolution, 3x3, transposed
    last    squares, padded by `pad_reflect`, to pixels, 7x7

Images have an even number of rows and columns, and four of them at least.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from synthct_jax.layers.convolution import DIMENSIONS
from synthct_jax.layers.normalization import insert
from synthct_jax.parallel.halo import WHOLE, Rows

PIXELS = 4  # of a square


def pays(platform: str | None = None) -> bool:
    """Whether a program for `platform` is to use them; by default where JAX runs.

    Decided by the cycles that libtpu expects (docs/speed.md). GPUs are not tried.
    """
    return (platform or jax.default_backend()) == "tpu"


def to_squares(x: jax.Array) -> jax.Array:
    """(n, h, w, c) -> (n, h / 2, w / 2, 4 c)."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // 2, w // 2, PIXELS * c)


def from_squares(x: jax.Array) -> jax.Array:
    """(n, h / 2, w / 2, 4 c) -> (n, h, w, c)."""
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, 2, 2, c // PIXELS).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, 2 * h, 2 * w, c // PIXELS)


def first(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Odd k, no padding: pixels (n, h, w, i) -> squares, (k, k, i, o) the kernel."""
    return _convolve(to_squares(x), _spread(kernel, 0))


def last(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """7x7 of what `pad_reflect` returns: squares -> pixels (n, h, w, o).

    The taps along a row are channels of a convolution along columns, and are shifted
    and added after it: on its own it would fill four columns of 128. So in bfloat16
    five sums are rounded, where a convolution rounds one.
    """
    # Padded by two squares, which are a pixel more than the kernel sees.
    kernel = _spread(kernel, 1)
    taps, _, channels_in, channels_out = kernel.shape
    kernel = kernel.transpose(0, 2, 1, 3).reshape(taps, 1, channels_in, -1)
    x = _convolve(x, kernel)
    columns = x.shape[2] - taps + 1
    wide = jnp.promote_types(x.dtype, jnp.float32)

    def shifted(tap: int) -> jax.Array:
        start = tap * channels_out
        part = x[:, :, tap : tap + columns, start : start + channels_out]
        return part.astype(wide)

    return from_squares(sum(map(shifted, range(taps))).astype(x.dtype))


def halve(x: jax.Array, kernel: jax.Array, rows: Rows = WHOLE) -> jax.Array:
    """3x3, stride 2, zeros around: squares -> pixels (n, h / 2, w / 2, o)."""
    # Pixel p sees pixels 2 p - 1, 2 p and 2 p + 1 of squares p - 1 and p.
    kernel = _two_squares(kernel, 1).transpose(0, 2, 1, 3, 4, 5)
    kernel = kernel.reshape(2, 2, -1, kernel.shape[-1])
    return _convolve(x, kernel, (1, 0), rows)


def double(x: jax.Array, kernel: jax.Array, rows: Rows = WHOLE) -> jax.Array:
    """`convolution.convolve_transposed`: pixels (n, h, w, i) -> squares."""
    # Pixel 2 p is tap 1 of p; pixel 2 p + 1 is tap 2 of p and tap 0 of p + 1.
    kernel = _two_squares(kernel, -1).transpose(0, 2, 4, 1, 3, 5)
    kernel = kernel.reshape(2, 2, kernel.shape[2], -1)
    return _convolve(x, kernel, (0, 1), rows)


def pad_reflect(x: jax.Array, rows: Rows = WHOLE) -> jax.Array:
    """Three mirrored pixels around an image in squares, for `last`.

    Two squares on every side: what is in their outermost pixels is not read.
    """
    x = _pad_axis(x, 2)
    if rows == WHOLE:
        return _pad_axis(x, 1)
    return rows.pad(x, 2, 2, edges=_mirrored(x, 1))


def _convolve(
    x: jax.Array,
    kernel: jax.Array,
    border: tuple[int, int] = (0, 0),
    rows: Rows = WHOLE,
) -> jax.Array:
    """Stride 1, with so many zeros before and behind rows and columns."""
    kernel, above = kernel.astype(x.dtype), border
    if rows.shards > 1:  # the neighbours' rows instead of zeros
        x, above = rows.pad(x, *border), (0, 0)
    return lax.conv_general_dilated(
        x, kernel, (1, 1), (above, border), dimension_numbers=DIMENSIONS
    )


# ---- kernels ------------------------------------------------------------------------


def _spread(kernel: jax.Array, offset: int) -> jax.Array:
    """(k, k, i, o) -> (s, s, 4 i, 4 o): each pixel of a square from s squares.

    offset: so many pixels of them are before the first that is seen.
    """
    size, _, channels_in, channels_out = kernel.shape
    squares = (offset + size + 2) // 2  # the second pixel sees one further

    def seen_from(*pixel: int) -> jax.Array:
        before = [offset + place for place in pixel]
        borders = [(zeros, 2 * squares - size - zeros) for zeros in before]
        return jnp.pad(kernel, [*borders, (0, 0), (0, 0)])

    pixels = [seen_from(row, column) for row in (0, 1) for column in (0, 1)]
    spread = jnp.stack(pixels, axis=3)
    spread = spread.reshape(squares, 2, squares, 2, channels_in, PIXELS * channels_out)
    spread = spread.transpose(0, 2, 1, 3, 4, 5)
    return spread.reshape(squares, squares, PIXELS * channels_in, -1)


def _two_squares(kernel: jax.Array, shift: int) -> jax.Array:
    """(3, 3, i, o) and a zero as a fourth tap, shifted in a circle, in pairs:
    (square, row, square, column, i, o)."""
    kernel = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))
    kernel = jnp.roll(kernel, (shift, shift), axis=(0, 1))
    return kernel.reshape(2, 2, 2, 2, *kernel.shape[2:])


# ---- reflection ---------------------------------------------------------------------


def _second(channels: int, axis: int) -> jax.Array:
    """Of the channels of a square, those of its second row, or column."""
    pixel = jnp.arange(channels) // (channels // PIXELS)
    second = (pixel // 2 if axis == 1 else pixel % 2) == 1
    return second[None, None, None]


def _mirrored(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Two squares before an image and two behind it, of three mirrored pixels."""
    second, end = _second(x.shape[-1], axis), x.shape[axis]

    def square(place: int) -> jax.Array:
        return lax.slice_in_dim(x, place, place + 1, axis=axis)

    before = [square(1), jnp.where(second, square(0), square(1))]
    behind = [jnp.where(second, square(end - 2), square(end - 1)), square(end - 2)]
    return lax.concatenate(before, axis), lax.concatenate(behind, axis)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _pad_axis(x: jax.Array, axis: int) -> jax.Array:
    before, behind = _mirrored(x, axis)
    return lax.concatenate([before, x, behind], axis)


def _pad_axis_forward(x, axis):
    return _pad_axis(x, axis), None


def _pad_axis_backward(axis, _, g):
    """One sum, for the reason that `normalization._fold` has."""
    second, end = _second(g.shape[-1], axis), g.shape[axis]
    image = lax.slice_in_dim(g, 2, end - 2, axis=axis)

    def square(place: int) -> jax.Array:
        return lax.slice_in_dim(g, place, place + 1, axis=axis)

    def at(squares: list[jax.Array], start: int) -> jax.Array:
        return insert(lax.concatenate(squares, axis), image.shape[axis], start, axis)

    inner, outer = square(1), square(0)
    first = [jnp.where(second, inner, 0), outer + jnp.where(second, 0, inner)]
    inner, outer = square(end - 2), square(end - 1)
    final = [outer + jnp.where(second, inner, 0), jnp.where(second, 0, inner)]
    return (image + at(first, 0) + at(final, image.shape[axis] - 2),)


_pad_axis.defvjp(_pad_axis_forward, _pad_axis_backward)

"""Layers on space-to-depth blocks of 2x2 pixels, for matrix units.

A block is one position with the channels of its four pixels, in the order (row, column,
channel), and kernels are spread out to match: some products with zeros are added, and
the unit is full. Functions and weights are those of `Ops`.

    stem        pixels to blocks, 7x7, the image padded before
    downsample  blocks to pixels of half the resolution, 3x3, stride 2
    upsample    pixels to blocks of twice the resolution, 3x3, transposed
    head        blocks, padded by `pad_reflect`, to pixels, 7x7

Images have an even number of rows and columns, and at least four of them.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from synthct_jax.layers.ops import DIMENSIONS
from synthct_jax.layers.padding import insert
from synthct_jax.parallel.halo import UNSHARDED, RowShard

BLOCK_AREA = 4  # pixels of a block
HEAD_PADDING = 3  # pixels that `head` sees beyond an image


def to_blocks(x: jax.Array) -> jax.Array:
    """Put blocks of 2x2 pixels in one position: (n, h / 2, w / 2, 4 c)."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // 2, w // 2, BLOCK_AREA * c)


def from_blocks(x: jax.Array) -> jax.Array:
    """Put each pixel of a block in a position of its own: (n, h, w, c)."""
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, 2, 2, c // BLOCK_AREA).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, 2 * h, 2 * w, c // BLOCK_AREA)


def stem(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve pixels (n, h, w, i) with (k, k, i, o), k odd, no padding, to blocks."""
    return _convolve(to_blocks(x), _spread(kernel, 0))


def head(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve blocks from `pad_reflect` with (7, 7, i, o), to pixels (n, h, w, o).

    The taps along a row are channels of a convolution along columns, and are shifted
    and added after it: on its own it would fill four columns of 128. So in bfloat16
    five sums are rounded, where a convolution rounds one.
    """
    # Padded by two blocks, which are a pixel more than the kernel sees.
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

    return from_blocks(sum(map(shifted, range(taps))).astype(x.dtype))


def downsample(
    x: jax.Array, kernel: jax.Array, shard: RowShard = UNSHARDED
) -> jax.Array:
    """Convolve blocks to pixels (n, h / 2, w / 2, o): 3x3, stride 2, zero padding."""
    # Pixel p sees pixels 2 p - 1, 2 p and 2 p + 1 of blocks p - 1 and p.
    kernel = _pair_taps(kernel, 1).transpose(0, 2, 1, 3, 4, 5)
    kernel = kernel.reshape(2, 2, -1, kernel.shape[-1])
    return _convolve(x, kernel, (1, 0), shard)


def upsample(x: jax.Array, kernel: jax.Array, shard: RowShard = UNSHARDED) -> jax.Array:
    """Upsample pixels (n, h, w, i) to blocks, as `Ops.conv_transposed` does."""
    # Pixel 2 p is tap 1 of p; pixel 2 p + 1 is tap 2 of p and tap 0 of p + 1.
    kernel = _pair_taps(kernel, -1).transpose(0, 2, 4, 1, 3, 5)
    kernel = kernel.reshape(2, 2, kernel.shape[2], -1)
    return _convolve(x, kernel, (0, 1), shard)


def pad_reflect(x: jax.Array, shard: RowShard = UNSHARDED) -> jax.Array:
    """Mirror three pixels around an image in blocks, for `head`.

    Two blocks are added on every side; their outermost pixels are not read.
    """
    x = _pad_axis(x, 2)
    if shard == UNSHARDED:
        return _pad_axis(x, 1)
    return shard.halo_exchange(x, 2, 2, edges=_mirrored(x, 1))


def _convolve(
    x: jax.Array,
    kernel: jax.Array,
    border: tuple[int, int] = (0, 0),
    shard: RowShard = UNSHARDED,
) -> jax.Array:
    """Convolve with stride 1, zeros before and behind rows and columns."""
    kernel, above = kernel.astype(x.dtype), border
    if shard.count > 1:  # the neighbours' rows instead of zeros
        x, above = shard.halo_exchange(x, *border), (0, 0)
    return lax.conv_general_dilated(
        x, kernel, (1, 1), (above, border), dimension_numbers=DIMENSIONS
    )


# ---- kernels ------------------------------------------------------------------------


def _spread(kernel: jax.Array, offset: int) -> jax.Array:
    """Spread a kernel (k, k, i, o) over s blocks: (s, s, 4 i, 4 o).

    `offset` pixels of the first block are before the first that is seen.
    """
    size, _, channels_in, channels_out = kernel.shape
    blocks = (offset + size + 2) // 2  # the second pixel sees one further

    def seen_from(*pixel: int) -> jax.Array:
        before = [offset + place for place in pixel]
        borders = [(zeros, 2 * blocks - size - zeros) for zeros in before]
        return jnp.pad(kernel, [*borders, (0, 0), (0, 0)])

    pixels = [seen_from(row, column) for row in (0, 1) for column in (0, 1)]
    spread = jnp.stack(pixels, axis=3)
    spread = spread.reshape(
        blocks, 2, blocks, 2, channels_in, BLOCK_AREA * channels_out
    )
    spread = spread.transpose(0, 2, 1, 3, 4, 5)
    return spread.reshape(blocks, blocks, BLOCK_AREA * channels_in, -1)


def _pair_taps(kernel: jax.Array, shift: int) -> jax.Array:
    """Add a zero as a fourth tap, shift taps in a circle, and pair them.

    Returns (block, row, block, column, i, o).
    """
    kernel = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))
    kernel = jnp.roll(kernel, (shift, shift), axis=(0, 1))
    return kernel.reshape(2, 2, 2, 2, *kernel.shape[2:])


# ---- reflection ---------------------------------------------------------------------


def _second(channels: int, axis: int) -> jax.Array:
    """Return the mask of those channels that are of a block's second row, or column."""
    pixel = jnp.arange(channels) // (channels // BLOCK_AREA)
    second = (pixel // 2 if axis == 1 else pixel % 2) == 1
    return second[None, None, None]


def _mirrored(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Return two blocks before an image and two behind it, of mirrored pixels."""
    second, end = _second(x.shape[-1], axis), x.shape[axis]

    def block(place: int) -> jax.Array:
        return lax.slice_in_dim(x, place, place + 1, axis=axis)

    before = [block(1), jnp.where(second, block(0), block(1))]
    behind = [jnp.where(second, block(end - 2), block(end - 1)), block(end - 2)]
    return lax.concatenate(before, axis), lax.concatenate(behind, axis)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _pad_axis(x: jax.Array, axis: int) -> jax.Array:
    before, behind = _mirrored(x, axis)
    return lax.concatenate([before, x, behind], axis)


def _pad_axis_forward(x, axis):
    return _pad_axis(x, axis), None


def _pad_axis_backward(axis, _, g):
    """Add all borders in one sum, for the reason that `padding.fold` gives."""
    second, end = _second(g.shape[-1], axis), g.shape[axis]
    image = lax.slice_in_dim(g, 2, end - 2, axis=axis)

    def block(place: int) -> jax.Array:
        return lax.slice_in_dim(g, place, place + 1, axis=axis)

    def at(blocks: list[jax.Array], start: int) -> jax.Array:
        return insert(lax.concatenate(blocks, axis), image.shape[axis], start, axis)

    inner, outer = block(1), block(0)
    first = [jnp.where(second, inner, 0), outer + jnp.where(second, 0, inner)]
    inner, outer = block(end - 2), block(end - 1)
    final = [outer + jnp.where(second, inner, 0), jnp.where(second, 0, inner)]
    return (image + at(first, 0) + at(final, image.shape[axis] - 2),)


_pad_axis.defvjp(_pad_axis_forward, _pad_axis_backward)

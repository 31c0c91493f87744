"""The convolutions of the networks: NHWC images, HWIO kernels, no bias.

Networks call these and not Flax's, so that a platform whose compiler does badly can be
given another program for the same function. Arithmetic is in the dtype of the image.
With `matrix_products` the CPU's own program is taken, but for bfloat16, where
Winograd's transforms would lose more than the format has.
"""

import jax
import jax.numpy as jnp
from jax import lax

from synthct_jax.layers.cpu import convolution

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_SMALL_BATCH = 128**2  # pixels


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int = 1,
    padding: tuple[int, int] = (0, 0),
    matrix_products: bool = False,
) -> jax.Array:
    """Convolution: (n, h, w, i) and (k, k, i, o) -> (n, h', w', o).

    padding: zeros above and below, and to the left and right.
    """
    borders = [(width, width) for width in padding]
    kernel = kernel.astype(x.dtype)
    if matrix_products and x.dtype != jnp.bfloat16:
        if any(padding):
            x = jnp.pad(x, ((0, 0), *borders, (0, 0)))
        return convolution.convolve(x, kernel, stride)
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=borders,
        dimension_numbers=DIMENSIONS,
    )


def convolve_transposed(
    x: jax.Array, kernel: jax.Array, *, matrix_products: bool = False
) -> jax.Array:
    """Adjoint of a 3x3, stride 2 convolution: (n, h, w, i) -> (n, 2 h, 2 w, o).

    Kernel (3, 3, i, o) with y[2 p + k - 1] += x[p] kernel[k]: PyTorch's
    ConvTranspose2d with padding 1 and output padding 1, kernels in the same order.
    """
    kernel = kernel.astype(x.dtype)
    if matrix_products and x.dtype != jnp.bfloat16:
        return convolution.convolve_transposed(x, kernel)
    return lax.conv_general_dilated(
        x,
        kernel[::-1, ::-1],
        window_strides=(1, 1),
        padding=[(1, 2)] * 2,
        lhs_dilation=(2, 2),
        dimension_numbers=DIMENSIONS,
    )


def matrix_products_pay(platform: str | None = None) -> bool:
    """Whether a program for `platform` is to use them; by default where JAX runs."""
    return (platform or jax.default_backend()) == "cpu"


def fewer_calls_pay(x: jax.Array, *, matrix_products: bool) -> bool:
    """Whether a network is faster with two batches like `x` at once than one by one.

    On CPUs the matrix products of a small image are too small to be shared by threads;
    those of a large one fill the caches as it is. On TPUs it is, by the cycles
    that the compiler expects of eight slices of 256 x 256 (docs/speed.md).
    """
    return not matrix_products or x[..., 0].size <= _SMALL_BATCH

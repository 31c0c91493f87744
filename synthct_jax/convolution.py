"""The convolutions of the networks: NHWC images, HWIO kernels, no bias.

Networks call these and not Flax's, so that a platform whose compiler does badly can be
given another program for the same function. Arithmetic is in the dtype of the image.
"""

import jax
import jax.numpy as jnp
from jax import lax

from synthct_jax import cpu_convolution

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def convolve(
    x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: int = 0
) -> jax.Array:
    """Zero-padded convolution: (n, h, w, i) and (k, k, i, o) -> (n, h', w', o)."""
    kernel = kernel.astype(x.dtype)
    if _as_matrix_products(x):
        border = (padding, padding)
        x = jnp.pad(x, ((0, 0), border, border, (0, 0))) if padding else x
        return cpu_convolution.convolve(x, kernel, stride)
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=[(padding, padding)] * 2,
        dimension_numbers=DIMENSIONS,
    )


def convolve_transposed(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Adjoint of a 3x3, stride 2 convolution: (n, h, w, i) -> (n, 2 h, 2 w, o).

    Kernel (3, 3, i, o) with y[2 p + k - 1] += x[p] kernel[k]: PyTorch's
    ConvTranspose2d with padding 1 and output padding 1, kernels in the same order.
    """
    kernel = kernel.astype(x.dtype)
    if _as_matrix_products(x):
        return cpu_convolution.convolve_transposed(x, kernel)
    return lax.conv_general_dilated(
        x,
        kernel[::-1, ::-1],
        window_strides=(1, 1),
        padding=[(1, 2)] * 2,
        lhs_dilation=(2, 2),
        dimension_numbers=DIMENSIONS,
    )


def _as_matrix_products(x: jax.Array) -> bool:
    """Whether the CPU's own program pays: not in bfloat16, where Winograd's transforms
    would lose more than the format has."""
    return jax.default_backend() == "cpu" and x.dtype != jnp.bfloat16

"""The CPU's convolutions are the same functions as XLA's, gradients included."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from synthct_jax.layers.convolution import (
    DIMENSIONS,
    convolve,
    convolve_transposed,
    matrix_products_pay,
)
from synthct_jax.layers.cpu import convolution, onednn

# image rows, columns, channels in and out, kernel size, stride, padding
LAYERS = {
    "stem": (14, 15, 2, 8, 7, 1, 0),
    "head": (14, 15, 8, 1, 7, 1, 0),
    "head of two channels": (14, 15, 8, 2, 7, 1, 0),
    "downsampling": (12, 14, 8, 16, 3, 2, 1),
    "odd downsampling": (11, 13, 8, 16, 3, 2, 1),
    "residual": (10, 13, 8, 8, 3, 1, 0),
    "residual, tiles fit": (10, 14, 8, 8, 3, 1, 0),
    "first of discriminator": (16, 12, 1, 8, 4, 2, 1),
    "odd first of discriminator": (15, 13, 1, 8, 4, 2, 1),
    "middle of discriminator": (8, 10, 8, 16, 4, 1, 1),
    "last of discriminator": (8, 10, 8, 1, 4, 1, 1),
    # Large enough for oneDNN.
    "wide stem": (38, 38, 1, 64, 7, 1, 0),
    "wide head": (38, 38, 64, 1, 7, 1, 0),
    "wide downsampling": (33, 33, 32, 64, 3, 2, 1),
    "wide residual": (18, 17, 64, 64, 3, 1, 0),
    "wide middle of discriminator": (17, 17, 32, 64, 4, 1, 1),
}


@pytest.fixture(autouse=True)
def _programs(programs_are_stored_again):
    pass


def assert_same(ours, theirs, x, kernel):
    """Equal values and gradients, to float32 rounding of Winograd's transforms."""

    def with_gradient(function):
        y, pullback = jax.vjp(function, x, kernel)
        weights = np.random.default_rng(1).normal(size=y.shape).astype(np.float32)
        return (y, *pullback(jnp.asarray(weights)))

    for a, b in zip(with_gradient(ours), with_gradient(theirs), strict=True):
        assert a.shape == b.shape
        error = np.linalg.norm(a - b) / np.linalg.norm(b)
        assert error < 1e-5


def assert_onednn_computes_it(ours, x, kernel):
    """Forward and backward, where it is to be had."""

    def both(x, kernel):
        y, pull = jax.vjp(ours, x, kernel)
        return y, pull(y)

    if onednn.available():
        text = jax.jit(both).lower(x, kernel).as_text()
        assert text.count(onednn.TARGET) == 3


@pytest.mark.parametrize("layer", LAYERS)
def test_convolution_as_matrix_products(layer):
    rows, columns, channels_in, channels_out, size, stride, padding = LAYERS[layer]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, rows, columns, channels_in)).astype(np.float32)
    kernel = rng.normal(size=(size, size, channels_in, channels_out))
    kernel = kernel.astype(np.float32)

    def theirs(x, kernel):
        return lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            [(padding, padding)] * 2,
            dimension_numbers=DIMENSIONS,
        )

    def ours(x, kernel):
        return convolve(
            x,
            kernel,
            stride=stride,
            padding=(padding, padding),
            matrix_products=True,
        )

    if layer.startswith("wide"):
        assert_onednn_computes_it(ours, x, kernel)
    assert_same(ours, theirs, x, kernel)


@pytest.mark.parametrize("wide", [False, True])
def test_transposed_convolution_as_matrix_product(wide):
    rng = np.random.default_rng(0)
    image, channels = ((17, 16, 64), (64, 32)) if wide else ((5, 6, 8), (8, 4))
    x = rng.normal(size=(2, *image)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, *channels)).astype(np.float32)

    def theirs(x, kernel):
        return lax.conv_general_dilated(
            x,
            kernel[::-1, ::-1],
            (1, 1),
            [(1, 2)] * 2,
            lhs_dilation=(2, 2),
            dimension_numbers=DIMENSIONS,
        )

    ours = convolution.convolve_transposed
    if wide:
        assert_onednn_computes_it(ours, x, kernel)
    assert_same(ours, theirs, x, kernel)


def test_bfloat16_keeps_xlas_convolution():
    x = jnp.ones((1, 8, 8, 8), jnp.bfloat16)
    kernel = jnp.ones((3, 3, 8, 8))
    ours = functools.partial(convolve, matrix_products=True)
    assert "convolution" in jax.jit(ours).lower(x, kernel).as_text()
    assert "convolution" not in jax.jit(ours).lower(x.astype(float), kernel).as_text()
    assert ours(x, kernel).dtype == jnp.bfloat16
    larger = convolve_transposed(x, kernel, matrix_products=True)
    assert larger.shape == (1, 16, 16, 8)


def test_other_platforms_get_xlas_convolution():
    assert matrix_products_pay("cpu")
    assert not matrix_products_pay("tpu")
    assert not matrix_products_pay("gpu")

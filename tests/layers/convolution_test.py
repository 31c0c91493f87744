"""CPU convolutions equal XLA's, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from synthct_jax.layers.backends import choose_ops
from synthct_jax.layers.cpu import onednn
from synthct_jax.layers.cpu.ops import CpuOps
from synthct_jax.layers.ops import DIMENSIONS, Ops
from synthct_jax.layers.tpu.ops import TpuOps

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
def test_cpu_convolution_equals_xlas(layer):
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
        return CpuOps().conv(x, kernel, stride=stride, padding=padding)

    if layer.startswith("wide"):
        assert_onednn_computes_it(ours, x, kernel)
    assert_same(ours, theirs, x, kernel)


@pytest.mark.parametrize("wide", [False, True])
def test_cpu_transposed_convolution_equals_xlas(wide):
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

    ours = CpuOps().conv_transposed
    if wide:
        assert_onednn_computes_it(ours, x, kernel)
    assert_same(ours, theirs, x, kernel)
    assert_same(Ops().conv_transposed, theirs, x, kernel)


def test_cpu_convolution_in_bfloat16_is_xlas():
    x = jnp.ones((1, 8, 8, 8), jnp.bfloat16)
    kernel = jnp.ones((3, 3, 8, 8))
    ops = CpuOps()
    assert "convolution" in jax.jit(ops.conv).lower(x, kernel).as_text()
    single = x.astype(jnp.float32)
    assert "convolution" not in jax.jit(ops.conv).lower(single, kernel).as_text()
    assert ops.conv(x, kernel).dtype == jnp.bfloat16
    assert ops.conv_transposed(x, kernel).shape == (1, 16, 16, 8)


@pytest.mark.parametrize(
    ("platform", "kind"), [("cpu", CpuOps), ("tpu", TpuOps), ("gpu", Ops), ("any", Ops)]
)
def test_each_platform_has_its_own_operations(platform, kind):
    assert choose_ops(platform=platform) == kind()
    assert choose_ops() == CpuOps()  # tests run on CPUs


def test_unknown_platform_is_refused():
    with pytest.raises(ValueError, match="platform is 'cuda', expected one of: cpu, "):
        choose_ops(platform="cuda")

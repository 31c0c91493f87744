"""Reflection padding and instance norm, by XLA's operations and by the CPU's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthct_jax.layers.cpu.ops import CpuOps
from synthct_jax.layers.normalization import EPSILON
from synthct_jax.layers.ops import Ops


def drawn(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("ops", [Ops(), CpuOps()], ids=["xla", "cpu"])
@pytest.mark.parametrize(
    ("height", "width"),
    # From images whose two borders mirror the same pixels, to those far apart.
    [(4, 5), (7, 8), (9, 10), (16, 24)],
)
def test_reflection_padding_and_its_gradient_equal_numpys(height, width, ops):
    x = drawn(2, height, width, 3)
    border = ((0, 0), (3, 3), (3, 3), (0, 0))
    y, pull = jax.vjp(lambda x: ops.pad_reflect(x, 3), x)
    np.testing.assert_array_equal(y, np.pad(x, border, mode="reflect"))
    weights = drawn(*y.shape)
    # Every pixel of the result is a pixel of x: its weight is added there.
    source = np.arange(x.size).reshape(x.shape)
    source = np.pad(source, border, mode="reflect")
    expected = np.bincount(source.ravel(), np.asarray(weights).ravel())
    np.testing.assert_allclose(pull(weights)[0].ravel(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ops", [Ops(), CpuOps()], ids=["xla", "cpu"])
@pytest.mark.parametrize("slope", [1.0, 0.2, 0.0])
def test_instance_norm_and_its_gradient_follow_the_definition(slope, ops):
    def defined(x):
        mean = x.mean((1, 2), keepdims=True)
        y = (x - mean) / jnp.sqrt(x.var((1, 2), keepdims=True) + EPSILON)
        return jnp.where(y > 0, y, slope * y)

    x = drawn(2, 8, 12, 5) * 3 + 1
    y, pull = jax.vjp(lambda x: ops.instance_norm(x, slope), x)
    expected, expected_pull = jax.vjp(defined, x)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    weights = drawn(*y.shape)
    np.testing.assert_allclose(pull(weights)[0], expected_pull(weights)[0], atol=1e-5)

"""The blur that keeps a generator from aliasing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from row_halves import apply_on_halves
from scipy import ndimage

from synthct_jax.layers.cpu.ops import CpuOps
from synthct_jax.layers.ops import Ops
from synthct_jax.model.networks import ResNetGenerator


def drawn(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def generator(**fields) -> ResNetGenerator:
    return ResNetGenerator(
        **dict(channels=1, width=4, blocks=1, antialias=True) | fields
    )


@pytest.mark.parametrize("ops", [Ops(), CpuOps()], ids=["xla", "cpu"])
@pytest.mark.parametrize("size", [(2, 3), (4, 5), (16, 24)])
def test_blur_and_its_gradient_equal_scipys(ops, size):
    def defined(x):
        for axis in (1, 2):
            x = ndimage.convolve1d(x, np.array([1, 2, 1]) / 4, axis, mode="mirror")
        return x

    x, weights = drawn(2, *size, 3), drawn(2, *size, 3)[::-1]
    y, pull = jax.vjp(ops.blur, x)
    np.testing.assert_allclose(y, defined(np.asarray(x)), atol=1e-6)
    # Linear: <blur(x), w> = <x, adjoint(w)>, for each pixel of x.
    pixels = np.eye(x.size, dtype=np.float32)[:: x.size // 18].reshape(-1, *x.shape)
    adjoint = np.asarray(pull(weights)[0])
    for pixel in pixels:
        expected = np.vdot(defined(pixel), weights)
        assert np.vdot(pixel, adjoint) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("platform", "upsample"),
    [("xla", "transposed"), ("cpu", "resize"), ("tpu", "transposed")],
)
def test_generator_on_halves_of_the_rows_is_that_on_whole_images(platform, upsample):
    """On every platform, gradients included; the weights are those without a blur."""
    whole = generator(upsample=upsample, skips=True)
    x = drawn(2, 16, 24, 2)
    plain = generator(upsample=upsample, antialias=False, skips=True)
    params = jax.jit(plain.init)(jax.random.key(0), x)
    params = jax.tree.map(lambda p: 8 * p, params)  # uses the range of the last tanh
    halves = apply_on_halves(whole, platform)

    @functools.partial(jax.jit, static_argnums=0)
    def with_gradients(apply, params, x):
        y, pull = jax.vjp(apply, params, x)
        return y, pull(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    ours, theirs = (
        jax.tree.leaves(with_gradients(apply, params, x))
        for apply in (halves, whole.apply)
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())


def test_shifted_input_gives_the_shifted_output():
    """By one pixel, which is half of a stride."""
    noise = drawn(1, 97, 97, 2)
    x = 6 * ndimage.gaussian_filter(noise, (0, 3, 3, 0))
    here, there = x[:, 1:, 1:], x[:, :-1, :-1]
    plain, blurred = (
        generator(width=8, downsamplings=1, antialias=antialias)
        for antialias in (False, True)
    )
    params = jax.jit(plain.init)(jax.random.key(0), here)

    def change(network):
        apply = jax.jit(network.apply)
        difference = apply(params, here)[:, :-1, :-1] - apply(params, there)[:, 1:, 1:]
        return float(jnp.abs(difference[:, 16:-16, 16:-16]).mean())

    assert change(blurred) < 0.25 * change(plain)

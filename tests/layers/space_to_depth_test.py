"""Layers on squares of pixels are the layers of whole images, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_run import tiny_config

from synthct_jax.layers.convolution import convolve, convolve_transposed
from synthct_jax.layers.normalization import instance_norm, pad_reflect
from synthct_jax.layers.tpu import space_to_depth
from synthct_jax.layers.tpu.space_to_depth import PIXELS, from_squares, to_squares
from synthct_jax.model import method
from synthct_jax.model.networks import ResNetGenerator

# Smallest images have borders that mirror the same squares.
SIZES = [(4, 4), (6, 10), (16, 8)]


def drawn(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def assert_same(ours, theirs, *arguments):
    """Equal values, and equal gradients of all arguments."""

    def with_gradients(function):
        y, pull = jax.vjp(function, *arguments)
        return jax.tree.leaves((y, pull(drawn(*y.shape, seed=1))))

    for a, b in zip(with_gradients(ours), with_gradients(theirs), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())


def test_squares_are_rows_columns_channels():
    x = jnp.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    squares = to_squares(x)
    assert squares.shape == (2, 2, 3, PIXELS * 3)
    np.testing.assert_array_equal(squares[1, 0, 2].reshape(2, 2, 3), x[1, :2, 4:])
    np.testing.assert_array_equal(from_squares(squares), x)


@pytest.mark.parametrize("size", SIZES)
def test_first(size):
    x, kernel = drawn(2, *(pixels + 6 for pixels in size), 2), drawn(7, 7, 2, 5)

    def ours(x, kernel):
        return from_squares(space_to_depth.first(x, kernel))

    assert_same(ours, convolve, x, kernel)


@pytest.mark.parametrize("size", SIZES)
def test_last_after_reflection(size):
    x, kernel = drawn(2, *size, 5), drawn(7, 7, 5, 2)

    def ours(x, kernel):
        squares = space_to_depth.pad_reflect(to_squares(x))
        return space_to_depth.last(squares, kernel)

    assert_same(ours, lambda x, kernel: convolve(pad_reflect(x, 3), kernel), x, kernel)


@pytest.mark.parametrize("size", SIZES)
def test_halve(size):
    x, kernel = drawn(2, *size, 5), drawn(3, 3, 5, 3)
    assert_same(
        lambda x, kernel: space_to_depth.halve(to_squares(x), kernel),
        lambda x, kernel: convolve(x, kernel, stride=2, padding=(1, 1)),
        x,
        kernel,
    )


@pytest.mark.parametrize("size", SIZES)
def test_double(size):
    x, kernel = drawn(2, *size, 5), drawn(3, 3, 5, 3)
    assert_same(
        lambda x, kernel: from_squares(space_to_depth.double(x, kernel)),
        convolve_transposed,
        x,
        kernel,
    )


@pytest.mark.parametrize("slope", [1.0, 0.0])
def test_norm(slope):
    x = drawn(2, 8, 12, 5) * 3 + 1

    def ours(x):
        squares = instance_norm(to_squares(x), slope, pixels=PIXELS)
        return from_squares(squares)

    assert_same(ours, lambda x: instance_norm(x, slope), x)


def test_gradient_of_padding_is_its_adjoint():
    """Of every pixel, also of those that `last` does not read."""
    x = drawn(1, 3, 4, 8)
    y, pull = jax.vjp(space_to_depth.pad_reflect, x)
    weights = drawn(*y.shape, seed=1)
    # Linear: <pad(x), w> = <x, adjoint(w)> for any x.
    for seed in (2, 3, 4):
        other = drawn(*x.shape, seed=seed)
        padded = jnp.vdot(space_to_depth.pad_reflect(other), weights)
        assert padded == pytest.approx(float(jnp.vdot(other, pull(weights)[0])), 1e-4)


@pytest.mark.parametrize("downsamplings", [1, 2])
def test_generator_has_the_same_weights_and_answers(downsamplings):
    plain = ResNetGenerator(channels=2, width=4, blocks=1, downsamplings=downsamplings)
    squares = plain.copy(space_to_depth=True)
    x = drawn(2, 16, 24, 3)
    params = plain.init(jax.random.key(0), x)
    jax.tree.map(
        np.testing.assert_array_equal, params, squares.init(jax.random.key(0), x)
    )
    assert_same(squares.apply, plain.apply, params, x)


@pytest.mark.parametrize(
    "fields", [dict(upsample="resize"), dict(downsamplings=0)], ids=str
)
def test_other_generators_have_no_squares(fields):
    plain = ResNetGenerator(**dict(channels=2, width=4, blocks=1) | fields)
    x = drawn(1, 16, 16, 3)
    params = plain.init(jax.random.key(0), x)
    np.testing.assert_array_equal(
        plain.copy(space_to_depth=True).apply(params, x), plain.apply(params, x)
    )


def test_bfloat16_is_as_close_as_without():
    exact = ResNetGenerator(channels=1, width=16, blocks=1)
    x = drawn(2, 32, 32, 2)
    params = exact.init(jax.random.key(0), x)
    # Weights that use the range of the last tanh.
    params = jax.tree.map(lambda p: 4 * p, params)
    expected = exact.apply(params, x)
    plain, squares = (
        exact.copy(dtype=jnp.bfloat16, space_to_depth=which).apply(params, x)
        for which in (False, True)
    )
    assert squares.dtype == jnp.float32 and expected.std() > 0.1

    def error(found):
        return float(jnp.sqrt(jnp.mean(jnp.square(found - expected))))

    assert 0 < error(squares) < 1.2 * error(plain) < 0.1


@pytest.mark.parametrize("platform", ["tpu", "gpu", "cpu", "any"])
def test_where_it_is_used(platform):
    gan = method.from_config(tiny_config(), platform=platform)
    for generator in (gan.to_ct, gan.to_mr):
        assert generator.space_to_depth == (platform == "tpu")
        assert generator.matrix_products == (platform == "cpu")


def test_no_other_platform_is_known():
    with pytest.raises(ValueError, match="platform is 'cuda', expected one of: cpu, "):
        method.from_config(tiny_config(), platform="cuda")

"""Layers on space-to-depth blocks equal those on pixels, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthct_jax.layers.ops import Ops
from synthct_jax.layers.tpu import space_to_depth
from synthct_jax.layers.tpu.ops import Blocks, TpuOps
from synthct_jax.layers.tpu.space_to_depth import BLOCK_AREA, from_blocks, to_blocks
from synthct_jax.model.networks import ResNetGenerator

# The borders of the smallest images mirror the same blocks.
SIZES = [(4, 4), (6, 10), (16, 8)]
XLA = Ops()


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


def test_blocks_are_rows_columns_channels():
    x = jnp.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    blocks = to_blocks(x)
    assert blocks.shape == (2, 2, 3, BLOCK_AREA * 3)
    np.testing.assert_array_equal(blocks[1, 0, 2].reshape(2, 2, 3), x[1, :2, 4:])
    np.testing.assert_array_equal(from_blocks(blocks), x)


def _head(x, kernel):
    return space_to_depth.head(space_to_depth.pad_reflect(to_blocks(x)), kernel)


# In blocks, on pixels, the kernel, and how much larger the input is.
LAYERS = {
    "stem": (
        lambda x, kernel: from_blocks(space_to_depth.stem(x, kernel)),
        XLA.conv,
        (7, 7, 2, 5),
        6,
    ),
    "head": (_head, lambda x, k: XLA.conv(XLA.pad_reflect(x, 3), k), (7, 7, 5, 2), 0),
    "downsampling": (
        lambda x, kernel: space_to_depth.downsample(to_blocks(x), kernel),
        lambda x, kernel: XLA.conv(x, kernel, stride=2, padding=1),
        (3, 3, 5, 3),
        0,
    ),
    "upsampling": (
        lambda x, kernel: from_blocks(space_to_depth.upsample(x, kernel)),
        XLA.conv_transposed,
        (3, 3, 5, 3),
        0,
    ),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layer", LAYERS)
def test_layer_in_blocks_equals_that_on_pixels(layer, size):
    in_blocks, on_pixels, kernel, border = LAYERS[layer]
    x = drawn(2, *(pixels + border for pixels in size), kernel[2])
    assert_same(in_blocks, on_pixels, x, drawn(*kernel))


@pytest.mark.parametrize("slope", [1.0, 0.0])
def test_instance_norm_of_blocks_equals_that_of_pixels(slope):
    x = drawn(2, 8, 12, 5) * 3 + 1

    def ours(x):
        return from_blocks(TpuOps().instance_norm(Blocks(to_blocks(x)), slope).array)

    assert_same(ours, lambda x: XLA.instance_norm(x, slope), x)


def test_gradient_of_padding_is_its_adjoint():
    """The gradient of every pixel counts, also of those that `head` does not read."""
    x = drawn(1, 3, 4, 8)
    y, pull = jax.vjp(space_to_depth.pad_reflect, x)
    weights = drawn(*y.shape, seed=1)
    # Linear: <pad(x), w> = <x, adjoint(w)> for any x.
    for seed in (2, 3, 4):
        other = drawn(*x.shape, seed=seed)
        padded = jnp.vdot(space_to_depth.pad_reflect(other), weights)
        assert padded == pytest.approx(float(jnp.vdot(other, pull(weights)[0])), 1e-4)


@pytest.mark.parametrize(
    "fields",
    [
        dict(downsamplings=1),
        dict(downsamplings=2),
        dict(downsamplings=0),
        dict(upsample="resize"),
        dict(width=128),
    ],
    ids=str,
)
def test_generator_has_the_same_weights_and_images(fields):
    plain = ResNetGenerator(**dict(channels=2, width=8, blocks=1) | fields)
    blocks = plain.copy(ops=TpuOps())
    x = drawn(2, 16, 24, 3)
    params = plain.init(jax.random.key(0), x)
    jax.tree.map(
        np.testing.assert_array_equal, params, blocks.init(jax.random.key(0), x)
    )
    assert_same(blocks.apply, plain.apply, params, x)


def test_generator_of_the_paper_computes_full_resolution_in_blocks(monkeypatch):
    calls = []
    for name in ("stem", "downsample", "upsample", "head"):
        layer = getattr(space_to_depth, name)
        monkeypatch.setattr(
            space_to_depth,
            name,
            lambda *args, name=name, layer=layer: calls.append(name) or layer(*args),
        )
    generator = ResNetGenerator(channels=1, width=64, blocks=1, ops=TpuOps())
    jax.eval_shape(generator.init, jax.random.key(0), drawn(1, 16, 16, 3))
    assert calls == ["stem", "downsample", "upsample", "head"]


def test_bfloat16_is_as_exact_in_blocks_as_in_pixels():
    exact = ResNetGenerator(channels=1, width=16, blocks=1)
    x = drawn(2, 32, 32, 2)
    params = exact.init(jax.random.key(0), x)
    # Weights that use the range of the last tanh.
    params = jax.tree.map(lambda p: 4 * p, params)
    expected = exact.apply(params, x)
    plain, blocks = (
        exact.copy(dtype=jnp.bfloat16, ops=ops).apply(params, x)
        for ops in (XLA, TpuOps())
    )
    assert blocks.dtype == jnp.float32 and expected.std() > 0.1

    def error(images):
        return float(jnp.sqrt(jnp.mean(jnp.square(images - expected))))

    assert 0 < error(blocks) < 1.2 * error(plain) < 0.1

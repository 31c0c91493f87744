"""Operations that are counted in traced programs, against known counts."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from synthct_jax.layers.cpu import onednn
from synthct_jax.layers.ops import Ops
from synthct_jax.performance.flops import count_flops


def shape(*lengths):
    return jax.ShapeDtypeStruct(lengths, jnp.float32)


@pytest.mark.parametrize(
    "layer",
    [
        lambda x, k: Ops().conv(x, k, padding=1),
        lambda x, k: Ops().conv(x, k, stride=2, padding=1),
        Ops().conv_transposed,
    ],
    ids=["plain", "stride 2", "transposed"],
)
def test_count_of_convolutions_and_their_gradients_is_xlas(layer):
    def loss(x, k):
        return jnp.sum(layer(x, k) * weight)

    image, kernel = (2, 8, 8, 32), (3, 3, 32, 48)
    weight = jnp.ones(jax.eval_shape(layer, shape(*image), shape(*kernel)).shape)
    step = jax.jit(jax.value_and_grad(loss, (0, 1)))
    arguments = (shape(*image), shape(*kernel))
    counted = count_flops(step.trace(*arguments).jaxpr)
    # XLA also counts the few elementwise operations.
    expected = step.lower(*arguments).compile().cost_analysis()["flops"]
    assert counted == pytest.approx(expected, rel=0.01)
    assert counted > 1e6


def test_count_of_a_batch_of_matrix_products():
    def products(a, b):
        return jnp.einsum("bij,bjk->bik", a, b)

    traced = jax.jit(products).trace(shape(5, 7, 11), shape(5, 11, 13))
    assert count_flops(traced.jaxpr) == 2 * 5 * 7 * 11 * 13


def test_count_of_products_by_onednn(monkeypatch):
    monkeypatch.setattr(onednn, "LEAST_FLOPS", 0)
    monkeypatch.setattr(onednn, "available", lambda: True)  # traced only
    transposed = partial(onednn.product, transpose_a=True, transpose_b=True)
    traced = jax.jit(transposed).trace(shape(5, 11, 7), shape(5, 13, 11))
    assert "dot_general" not in str(traced.jaxpr)
    assert count_flops(traced.jaxpr) == 2 * 5 * 7 * 11 * 13


def looped(times, *, unroll=1):
    """Return the gradient of `times` layers in a loop, and its argument shapes."""

    def body(x, k):
        return jnp.tanh(Ops().conv(x, k, padding=1)), None

    def network(x, kernels):
        return jnp.sum(lax.scan(body, x, kernels, unroll=unroll)[0])

    step = jax.jit(jax.grad(network, (0, 1)))
    return step, (shape(1, 16, 16, 16), shape(times, 3, 3, 16, 16))


def test_loop_counts_once_per_iteration_unlike_xlas_count():
    loop, arguments = looped(5)
    unrolled, _ = looped(5, unroll=5)
    counted = count_flops(loop.trace(*arguments).jaxpr)
    assert counted == count_flops(unrolled.trace(*arguments).jaxpr)
    xla_counts = [
        step.lower(*arguments).compile().cost_analysis()["flops"]
        for step in (loop, unrolled)
    ]
    assert counted == pytest.approx(xla_counts[1], rel=0.01)
    assert xla_counts[0] < 0.5 * counted


def test_sharded_product_counts_one_shard():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split, whole = jax.P("data"), jax.P()
    product = jax.shard_map(
        jnp.matmul, mesh=mesh, in_specs=(split, whole), out_specs=split
    )
    traced = jax.jit(product).trace(shape(8, 4), shape(4, 4))
    assert count_flops(traced.jaxpr) == 2 * 4 * 4 * 4


def test_conditional_counts_its_most_expensive_branch():
    def either(condition, x):
        return lax.cond(condition, lambda x: x @ x, lambda x: x, x)

    condition = jax.ShapeDtypeStruct((), jnp.bool_)
    traced = jax.jit(either).trace(condition, shape(4, 4))
    assert count_flops(traced.jaxpr) == 2 * 4**3

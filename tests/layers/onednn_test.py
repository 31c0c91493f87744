"""Products by oneDNN: the same function as XLA's, in programs that are not stored."""

import os
import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthct_jax.layers.cpu import onednn
from synthct_jax.runtime import environment

if (sys.platform, platform.machine()) != ("linux", "x86_64"):
    pytest.skip("jaxlib carries oneDNN for x86 Linux", allow_module_level=True)

needs_onednn = pytest.mark.skipif(
    not environment.is_tested_jax(), reason=f"it is off with jax {jax.__version__}"
)
LARGE = (4, 96, 160, 96)  # matrices, m, k, n: 11 million multiplications and additions


def factors(count, m, k, n, dtype=np.float32):
    rng = np.random.default_rng(0)
    return (rng.normal(size=s).astype(dtype) for s in ((count, m, k), (count, k, n)))


def calls_onednn(function, *arguments) -> bool:
    return onednn.TARGET in jax.jit(function).lower(*arguments).as_text()


@needs_onednn
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("leading", [(), (4,), (2, 2)])
def test_product_equals_numpys(transpose_a, transpose_b, leading):
    count, m, k, n = LARGE
    if not leading:
        m, count = m * count, 1
    a, b = factors(count, m, k, n)
    expected = (a.astype(float) @ b.astype(float)).reshape(*leading, m, n)
    a, b = a.mT if transpose_a else a, b.mT if transpose_b else b
    a, b = (jnp.asarray(x.reshape(*leading, *x.shape[1:])) for x in (a, b))

    def product(a, b):
        return onednn.product(a, b, transpose_a=transpose_a, transpose_b=transpose_b)

    assert calls_onednn(product, a, b)
    np.testing.assert_allclose(jax.jit(product)(a, b), expected, atol=1e-4)


@needs_onednn
def test_vmap_adds_a_leading_axis():
    count, m, k, n = LARGE
    a, b = factors(count, 4 * m, k, n)
    assert calls_onednn(jax.vmap(onednn.product), a, b)
    np.testing.assert_allclose(jax.vmap(onednn.product)(a, b), a @ b, atol=1e-4)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("reason", ["small", "float64", "unavailable"])
def test_other_products_are_computed_by_xla(reason, transposed, monkeypatch):
    size = (2, 9, 8, 7) if reason == "small" else LARGE
    if reason == "unavailable":
        monkeypatch.setattr(onednn, "available", lambda: False)
    with jax.enable_x64(reason == "float64"):
        a, b = factors(*size, np.float64 if reason == "float64" else np.float32)
        expected = a @ b
        a, b = (jnp.asarray(x.mT if transposed else x) for x in (a, b))

        def product(a, b):
            return onednn.product(a, b, transpose_a=transposed, transpose_b=transposed)

        assert not calls_onednn(product, a, b)
        np.testing.assert_allclose(jax.jit(product)(a, b), expected, atol=1e-4)


def test_onednn_is_unavailable_if_xla_does_not_know_the_call(monkeypatch):
    onednn.available.cache_clear()
    onednn._call.clear_cache()
    with monkeypatch.context() as patch:
        patch.setattr(onednn, "TARGET", "nobody's")
        assert not onednn.available()
    onednn.available.cache_clear()
    onednn._call.clear_cache()


@needs_onednn
@pytest.mark.parametrize(
    "context",
    [lambda: jax.transfer_guard("disallow"), jax.disable_jit],
    ids=["transfer_guard", "disable_jit"],
)
def test_onednn_is_available_in_any_context_of_the_caller(context):
    onednn.available.cache_clear()
    with context():
        assert onednn.available()


def test_compiled_program_is_dispatched_as_if_unmarked():
    """The mark would cost Python's dispatch at every call."""
    if not onednn.available():
        pytest.skip("no product by oneDNN")
    x = jnp.ones((512, 512))
    program = jax.jit(lambda x: onednn.product(x, x)).lower(x).compile()
    assert onednn.TARGET in program.as_text()
    program = onednn.dispatch_without_mark(program)
    np.testing.assert_array_equal(program(x), np.full((512, 512), 512.0))
    assert program._executable.create_cpp_call(program._params) is not None
    of_another_jax = object()  # without the attributes that this one has
    assert onednn.dispatch_without_mark(of_another_jax) is of_another_jax


STORING = """
import warnings
warnings.simplefilter("error")
import jax, jax.numpy as jnp
from pathlib import Path
from synthct_jax.layers.cpu import onednn

x = jnp.ones((512, 512))
assert onednn.available()

def is_stored(function, name):
    function(x).block_until_ready()
    return any(name in path.name for path in Path({folder!r}).iterdir())

def before(x): return x + 1
def compute_product(x): return onednn.product(x, x)
def compute_eagerly(x): return compute_product(x)
@jax.custom_vjp
def compute_differentiably(x): return compute_product(x)
compute_differentiably.defvjp(
    lambda x: (compute_product(x), x), lambda x, g: (onednn.product(g, x),)
)
def compute_without_jit(x):
    with jax.disable_jit():
        return compute_product(x)
def map_product(x): return jax.vmap(compute_product)(x[None])
def recompute_eagerly(x):
    return jax.grad(lambda x: jax.checkpoint(compute_differentiably)(x).sum())(x)
def scan_product(x):
    return jax.lax.scan(lambda y, _: (compute_product(y), None), x, None, 2)[0]
def after(x): return x + 3

print(is_stored(jax.jit(before), "before"))
for function in (compute_product, map_product, scan_product):
    print(is_stored(jax.jit(function), function.__name__))
for function in (compute_eagerly, compute_without_jit, recompute_eagerly):
    print(is_stored(function, "call"))
jax.jit(compute_product).lower(x + 1).compile()(x)
print(is_stored(lambda x: x, "compute_product"))
print(is_stored(jax.jit(after), "after"))
"""


@needs_onednn
def test_only_programs_with_a_product_are_not_stored(tmp_path):
    """XLA would read out of bounds while it serialises one with a product."""
    done = subprocess.run(
        [sys.executable, "-c", STORING.format(folder=str(tmp_path))],
        env={
            **os.environ,
            "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["True", *["False"] * 7, "True"], done.stderr

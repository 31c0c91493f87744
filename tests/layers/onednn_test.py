"""Products by oneDNN: the same function as XLA's, and none of their programs stored."""

import os
import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthct_jax.layers.cpu import onednn

if (sys.platform, platform.machine()) != ("linux", "x86_64"):
    pytest.skip("jaxlib carries oneDNN for x86 Linux", allow_module_level=True)

LARGE = (4, 96, 160, 96)  # matrices, m, k, n: 11 million multiplications and additions


@pytest.fixture(autouse=True)
def _programs(programs_are_stored_again):
    pass


def factors(count, m, k, n, dtype=np.float32):
    rng = np.random.default_rng(0)
    return (rng.normal(size=s).astype(dtype) for s in ((count, m, k), (count, k, n)))


def asks(function, *arguments) -> bool:
    return onednn.TARGET in jax.jit(function).lower(*arguments).as_text()


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("leading", [(), (4,), (2, 2)])
def test_product_is_numpys(transpose_a, transpose_b, leading):
    count, m, k, n = LARGE
    if not leading:
        m, count = m * count, 1
    a, b = factors(count, m, k, n)
    expected = (a.astype(float) @ b.astype(float)).reshape(*leading, m, n)
    a, b = a.mT if transpose_a else a, b.mT if transpose_b else b
    a, b = (jnp.asarray(x.reshape(*leading, *x.shape[1:])) for x in (a, b))

    def product(a, b):
        return onednn.product(a, b, transpose_a=transpose_a, transpose_b=transpose_b)

    assert asks(product, a, b)
    np.testing.assert_allclose(jax.jit(product)(a, b), expected, atol=1e-4)


def test_vmap_is_one_more_leading_axis():
    count, m, k, n = LARGE
    a, b = factors(count, 4 * m, k, n)
    assert asks(jax.vmap(onednn.product), a, b)
    np.testing.assert_allclose(jax.vmap(onednn.product)(a, b), a @ b, atol=1e-4)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("why", ["small", "float64", "not there"])
def test_else_it_is_xlas(why, transposed, monkeypatch):
    size = (2, 9, 8, 7) if why == "small" else LARGE
    if why == "not there":
        monkeypatch.setattr(onednn, "available", lambda: False)
    with jax.enable_x64(why == "float64"):
        a, b = factors(*size, np.float64 if why == "float64" else np.float32)
        expected = a @ b
        a, b = (jnp.asarray(x.mT if transposed else x) for x in (a, b))

        def product(a, b):
            return onednn.product(a, b, transpose_a=transposed, transpose_b=transposed)

        assert not asks(product, a, b)
        np.testing.assert_allclose(jax.jit(product)(a, b), expected, atol=1e-4)


def test_it_is_not_there_where_xla_does_not_know_it(monkeypatch):
    onednn.available.cache_clear()
    stored = jax.config.jax_persistent_cache_min_compile_time_secs
    monkeypatch.setattr(onednn, "TARGET", "nobody's")
    assert not onednn.available()
    assert jax.config.jax_persistent_cache_min_compile_time_secs == stored


@pytest.mark.parametrize(
    "caller",
    [lambda: jax.transfer_guard("disallow"), jax.disable_jit],
    ids=["transfer_guard", "disable_jit"],
)
def test_it_is_there_whatever_the_caller_has_switched_off(caller):
    onednn.available.cache_clear()
    with caller():
        assert onednn.available()


def test_after_an_error_programs_are_stored_as_before(monkeypatch):
    def fail():
        raise NotImplementedError("no such call")

    onednn.available.cache_clear()
    stored = jax.config.jax_persistent_cache_min_compile_time_secs
    monkeypatch.setattr(onednn, "_tried", fail)
    with pytest.raises(NotImplementedError):
        onednn.available()
    assert jax.config.jax_persistent_cache_min_compile_time_secs == stored


_STORING = """
import warnings
warnings.simplefilter("error")
import jax, jax.numpy as jnp
from pathlib import Path
from synthct_jax.layers.cpu import onednn
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

def stored(function):
    jax.jit(function)(jnp.ones((512, 512))).block_until_ready()
    return any(function.__name__ in p.name for p in Path({folder!r}).iterdir())

def first(x): return x + 1
def second(x): return onednn.product(x, x)
def third(x): return x + 3
print(*map(stored, (first, second, third)))
"""


def test_no_program_is_stored_after_one_that_xla_cannot_store(tmp_path):
    """Not the third either, which could be: XLA would end at the second."""
    done = subprocess.run(
        [sys.executable, "-c", _STORING.format(folder=str(tmp_path))],
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["True", "False", "False"], done.stderr

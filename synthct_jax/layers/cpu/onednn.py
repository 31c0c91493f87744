"""Matrix products by oneDNN, which jaxlib for x86 Linux carries and XLA leaves unused.

XLA's own products on CPUs gain little from a second thread where matrices have some
hundred rows, and lose half where one is read transposed. oneDNN's are near the
machine's peak in both cases (docs/speed.md). A program asks for one by a custom call
of XLA's. That is no interface of JAX: it is tried once, on a small product, before
anything relies on it, and where it is not to be had XLA computes the same function.

What it costs: XLA cannot store a program with such a call. Its writer takes the call
for one of another kind and reads memory that is none of its. So JAX is told to store
no more programs before the first is built, and small products, whose programs take
longer to compile than they save, do not ask.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from synthct_jax.runtime import environment

TARGET = "__onednn$matmul"
LEAST_FLOPS = 2**23  # of a product that is worth it


def product(
    a: jax.Array, b: jax.Array, *, transpose_a: bool = False, transpose_b: bool = False
) -> jax.Array:
    """Product of matrices in the last two axes, (..., m, k) and (..., k, n).

    Has no gradient. Leading axes are the same in both.

    Args:
        transpose_a: `a` is given as (..., k, m).
        transpose_b: `b` is given as (..., n, k).
    """
    m, k = a.shape[:-3:-1] if transpose_a else a.shape[-2:]
    n = b.shape[-2] if transpose_b else b.shape[-1]
    shape = (*a.shape[:-2], m, n)
    if computes(2 * math.prod(shape) * k, a.dtype, b.dtype):
        return _call(a, b, shape, transpose_a, transpose_b)
    a = a.mT if transpose_a else a
    b = b.mT if transpose_b else b
    return a @ b


def computes(flops: int, *dtypes: jnp.dtype) -> bool:
    """Whether `product` leaves one of so many operations to oneDNN."""
    fit = flops >= LEAST_FLOPS and all(dtype == jnp.float32 for dtype in dtypes)
    return fit and available()


@functools.cache
def available() -> bool:
    """Whether this process has them; if so, it stores no more compiled programs."""
    if not environment.release_was_tried():
        return False
    stored = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", math.inf)
    works = False
    try:
        works = _tried()
    except jax.errors.JaxRuntimeError as error:  # a jaxlib built without it
        logging.info("Matrix products are XLA's own: %s", error)
    finally:
        if not works:
            jax.config.update("jax_persistent_cache_min_compile_time_secs", stored)
    return works


def _tried() -> bool:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-8, 9, s).astype(np.float32) for s in ((3, 5, 4), (3, 6, 5)))
    expected = a.mT @ b.mT
    cpu = jax.local_devices(backend="cpu")[0]
    # Whatever the caller has switched off, and no part of what is being traced.
    with (
        jax.ensure_compile_time_eval(),
        jax.disable_jit(False),
        jax.transfer_guard("allow"),
    ):
        a, b = jax.device_put((a, b), cpu)
        found = jax.jit(lambda a, b: _call(a, b, (3, 4, 6), True, True))(a, b)
        return np.array_equal(found, expected)


def _call(a, b, shape, transpose_a, transpose_b):
    a_turned, b_turned = (str(turned).lower() for turned in (transpose_a, transpose_b))
    config = f'"transpose_a": {a_turned}, "transpose_b": {b_turned}'
    return jax.ffi.ffi_call(
        TARGET,
        jax.ShapeDtypeStruct(shape, a.dtype),
        vmap_method="broadcast_all",
        custom_call_api_version=2,
        legacy_backend_config=f'{{"onednn_matmul_config": {{{config}}}}}',
    )(a, b)

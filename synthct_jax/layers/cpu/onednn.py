"""Matrix products by oneDNN, which jaxlib for x86 Linux carries and XLA leaves unused.

XLA's own products on CPUs gain little from a second thread if matrices have some
hundred rows, and take twice as long if one of them is read transposed. oneDNN's are
near the machine's peak in both cases (docs/speed.md). A program asks for one by a
custom call of XLA. That is no interface of JAX, so it is tried once, on a small
product, before anything relies on it; if it is not available, XLA computes the product.

A program with such a call must not be stored in the cache of compiled programs: XLA's
serialiser misreads the call and reads out of bounds. JAX does not store a program with
a host callback. So a product gives its program a callback that is never called, when
the program is lowered; all other programs are stored. Small products, whose programs
take longer to compile than oneDNN saves, are XLA's.
"""

import contextlib
import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from synthct_jax.runtime import environment

TARGET = "__onednn$matmul"
LEAST_FLOPS = 2**23  # of a product that is worth it


def product(
    a: jax.Array, b: jax.Array, *, transpose_a: bool = False, transpose_b: bool = False
) -> jax.Array:
    """Return the batched matrix product (..., m, n), by oneDNN where it pays.

    `computes` decides, and XLA computes all other products. The call of oneDNN cannot
    be differentiated.

    Args:
        a: (..., m, k), or (..., k, m) if `transpose_a`.
        b: (..., k, n), or (..., n, k) if `transpose_b`; leading axes as in `a`.
    """
    m, k = a.shape[:-3:-1] if transpose_a else a.shape[-2:]
    n = b.shape[-2] if transpose_b else b.shape[-1]
    shape = (*a.shape[:-2], m, n)
    if computes(2 * math.prod(shape) * k, a.dtype, b.dtype):
        with jax.disable_jit(False):  # the call and its mark stay in one program
            return _call(a, b, shape, transpose_a, transpose_b)
    a = a.mT if transpose_a else a
    b = b.mT if transpose_b else b
    return a @ b


def computes(flops: int, *dtypes: jnp.dtype) -> bool:
    """Return whether `product` uses oneDNN for a product of this cost and these dtypes.

    It does so for float32 from LEAST_FLOPS on, if oneDNN is available and tuning is
    allowed.
    """
    large = flops >= LEAST_FLOPS and all(dtype == jnp.float32 for dtype in dtypes)
    return large and environment.is_tuning_allowed() and available()


@functools.cache
def available() -> bool:
    """Return whether oneDNN computes a small product correctly in this process."""
    if not environment.is_tested_jax():
        logging.warning(
            "jax %s: oneDNN's matrix products and XLA's flags for CPUs are off, which "
            "were tested with jax %sx",
            *(jax.__version__, environment.TESTED_JAX),
        )
        return False
    try:
        return _computes_small_product()
    # A jaxlib built without it, or a JAX without callbacks to mark programs by.
    except (jax.errors.JaxRuntimeError, AttributeError) as error:
        logging.info("Matrix products are XLA's own: %s", error)
        return False


def _computes_small_product() -> bool:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-8, 9, s).astype(np.float32) for s in ((3, 5, 4), (3, 6, 5)))
    expected = a.mT @ b.mT
    cpu = jax.local_devices(backend="cpu")[0]
    # Works in any context of the caller, and is no part of what is being traced.
    with (
        jax.ensure_compile_time_eval(),
        jax.disable_jit(False),
        jax.transfer_guard("allow"),
    ):
        a, b = jax.device_put((a, b), cpu)
        return np.array_equal(_call(a, b, (3, 4, 6), True, True), expected)


# Never inlined: whoever evaluates a traced program part by part keeps call and mark in
# one program.
@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _call(a, b, shape, transpose_a, transpose_b):
    transposed = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    config = json.dumps({"onednn_matmul_config": transposed})
    return jax.ffi.ffi_call(
        TARGET,
        jax.ShapeDtypeStruct(shape, a.dtype),
        vmap_method="broadcast_all",
        custom_call_api_version=2,
        legacy_backend_config=config,
    )(_forbid_storing.bind(a), b)


def dispatch_without_mark(program: jax.stages.Compiled) -> jax.stages.Compiled:
    """Let C++ dispatch a compiled program that products have marked, as if unmarked.

    JAX dispatches programs with a callback by Python, 4 ms a call for a training state,
    a twentieth of a small network's step. The mark has done its work when the program
    is compiled. A program that does not look as expected is returned as it is.
    """
    with contextlib.suppress(AttributeError):  # private: another JAX may lack them
        run = program._executable.unsafe_call
        if run.has_host_callbacks and available():
            run.has_host_callbacks = False
    return program


def _never_called(*_: object) -> None:
    raise RuntimeError("a mark was called")


def _lower_forbid_storing(context: mlir.LoweringRuleContext, x: object) -> list[object]:
    context.module_context.add_host_callback(_never_called)
    return [x]


# The identity, which marks the program that it is in as one that is never stored.
_forbid_storing = Primitive("forbid_storing")
_forbid_storing.def_impl(lambda x: x)
_forbid_storing.def_abstract_eval(lambda x: x)
mlir.register_lowering(_forbid_storing, _lower_forbid_storing)
batching.defvectorized(_forbid_storing)

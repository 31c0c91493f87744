"""Digests of arrays, computed where the arrays are."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec


def name_leaves(tree: Any) -> dict[str, Any]:
    """Return the leaves of a tree by their path, such as 'to_ct/stem/kernel'."""
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in leaves
    }


def array_digests(tree: Any) -> tuple[dict[str, int], list[str]]:
    """Return a digest of each array by name, and the names of those not finite.

    A digest is a number of 32 bits that changes with any bit of the array and with the
    order of its elements. It does not depend on how the array is sharded.
    """
    arrays = name_leaves(tree)
    sharding = next(iter(arrays.values())).sharding
    if isinstance(sharding, NamedSharding):  # every process reads the result
        sharding = NamedSharding(sharding.mesh, PartitionSpec())
    sums, finite = jax.device_get(
        jax.jit(_digest_arrays, out_shardings=sharding)(list(arrays.values()))
    )
    digests = {name: int(s) for name, s in zip(arrays, sums, strict=True)}
    not_finite = [name for name, ok in zip(arrays, finite, strict=True) if not ok]
    return digests, not_finite


def _digest_arrays(arrays: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
    finite = [jnp.all(jnp.isfinite(x)) for x in arrays]
    return jnp.stack([_digest(x) for x in arrays]), jnp.stack(finite)


def _digest(x: jax.Array) -> jax.Array:
    """Sum, modulo 2^32, the bit patterns times odd weights that differ by position."""
    if x.dtype == jnp.bool_:
        x = x.astype(jnp.uint8)
    unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}
    bits = jax.lax.bitcast_convert_type(x, unsigned[x.dtype.itemsize])
    weight, stride = jnp.ones(x.shape, jnp.uint32), 2
    for axis in reversed(range(x.ndim)):
        position = jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
        weight += position * jnp.uint32(stride % 2**32)
        stride *= x.shape[axis]
    return jnp.sum(bits.astype(jnp.uint32) * weight, dtype=jnp.uint32)

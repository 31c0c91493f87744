"""Gradients of a global batch: where all communication of a training step is.

Each device differentiates the loss of the images (or rows of images) that it has; what
they found is averaged once, at the end, by one all-reduce. Left to itself the compiler
reduces the gradients of every use of a weight, and of every layer of a loop, apart.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from synthct_jax.parallel import sharding

Loss = Callable[[Any, Any, Any], tuple[jax.Array, tuple[dict[str, jax.Array], Any]]]


def gradients(
    loss: Loss,
    params: Any,
    constants: Any,
    batch: Any,
    *,
    parts: int = 1,
    mesh: Mesh | None = None,
) -> tuple[Any, dict[str, jax.Array], Any]:
    """Gradients of the mean loss of a batch, its metrics, and the images it makes.

    Args:
        loss: of (params, constants, batch): the loss, and (scalar metrics, images). All
            scalars are means over images and rows.
        params: by which to differentiate.
        constants: other weights that the loss needs.
        batch: arrays (n, h, w, c), split over `mesh` as `sharding.batch_sharding` says.
        parts: the images of a device are taken in so many parts, one after another:
            the activations of one part are held at a time, and nothing else changes.
        mesh: None, or one of a single device, for all on one device.

    Returns:
        Gradients, metrics, and images (n, ...) in the order of the batch.
    """
    if mesh is None or mesh.size == 1:  # the mean over one device would be a copy
        return _in_parts(loss, params, constants, batch, parts)

    def on_device(params: Any, constants: Any, batch: Any) -> Any:
        found, metrics, images = _in_parts(loss, params, constants, batch, parts)
        found, metrics = jax.lax.pmean((found, metrics), sharding.AXES)
        return found, metrics, images

    everywhere, split = PartitionSpec(), sharding.batch_sharding(mesh).spec
    # Without the check of what varies over devices: with it, weights are taken for the
    # same everywhere, and so each of their gradients is summed where it arises.
    return jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(everywhere, everywhere, split),
        out_specs=(everywhere, everywhere, split),
        check_vma=False,
    )(params, constants, batch)


def _in_parts(loss: Loss, params: Any, constants: Any, batch: Any, parts: int) -> Any:
    differentiate = jax.grad(loss, has_aux=True)
    if parts == 1:
        found, (metrics, images) = differentiate(params, constants, batch)
        return found, metrics, images

    def split(x: jax.Array) -> jax.Array:
        return x.reshape(parts, -1, *x.shape[1:])

    def join(x: jax.Array) -> jax.Array:
        return x.reshape(-1, *x.shape[2:])

    def add(sums: Any, part: Any) -> tuple[Any, Any]:
        found, (metrics, images) = differentiate(params, constants, part)
        return jax.tree.map(jnp.add, sums, (found, metrics)), images

    shares = jax.tree.map(split, batch)
    first = jax.tree.map(lambda x: x[0], shares)
    like, (scalars, _) = jax.eval_shape(differentiate, params, constants, first)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (like, scalars))
    sums, images = jax.lax.scan(add, zeros, shares)
    found, metrics = jax.tree.map(lambda x: x / parts, sums)
    return found, metrics, jax.tree.map(join, images)

"""Gradients of a global batch, with all communication between the devices.

Each device differentiates the loss of the images (or rows of images) that it has. The
gradients are averaged once, at the end, by one all-reduce. Left to itself the compiler
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
    microbatches: int = 1,
    mesh: Mesh | None = None,
) -> tuple[Any, dict[str, jax.Array], Any]:
    """Return the gradients of a batch's mean loss, its metrics, and images it makes.

    Args:
        loss: function of (params, constants, batch) that returns the loss, and (scalar
            metrics, images). All scalars are means over images and rows.
        params: weights by which to differentiate; `constants` are other weights.
        batch: arrays (n, h, w, c), split over `mesh` by image and by row.
        microbatches: number of parts in which the images of a device are taken, one
            after another: the activations of one part are held at a time.
        mesh: devices of the batch; None for a single one.
    """
    if mesh is None or mesh.size == 1:  # the mean over one device would be a copy
        return _differentiate(loss, params, constants, batch, microbatches)

    def on_device(params: Any, constants: Any, batch: Any) -> Any:
        *means, images = _differentiate(loss, params, constants, batch, microbatches)
        if any(mesh.shape[axis] > 1 for axis in sharding.BATCH_AXES):
            means = jax.lax.pmean(means, sharding.BATCH_AXES)
        return *means, images

    everywhere = PartitionSpec()
    split = PartitionSpec(sharding.IMAGE_AXES, sharding.SPACE)
    # Without the check of what varies over devices: with it, weights are taken for the
    # same everywhere, and so each of their gradients is summed where it arises.
    return jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(everywhere, everywhere, split),
        out_specs=(everywhere, everywhere, split),
        check_vma=False,
    )(params, constants, batch)


def _differentiate(
    loss: Loss, params: Any, constants: Any, batch: Any, microbatches: int
) -> tuple[Any, dict[str, jax.Array], Any]:
    """Return gradients, metrics and images of a batch, one microbatch at a time."""
    differentiate = jax.grad(loss, has_aux=True)
    if microbatches == 1:
        grads, (metrics, images) = differentiate(params, constants, batch)
        return grads, metrics, images

    def split(x: jax.Array) -> jax.Array:
        return x.reshape(microbatches, -1, *x.shape[1:])

    def join(x: jax.Array) -> jax.Array:
        return x.reshape(-1, *x.shape[2:])

    def add(sums: Any, microbatch: Any) -> tuple[Any, Any]:
        grads, (metrics, images) = differentiate(params, constants, microbatch)
        return jax.tree.map(jnp.add, sums, (grads, metrics)), images

    shares = jax.tree.map(split, batch)
    first = jax.tree.map(lambda x: x[0], shares)
    grads, (metrics, _) = jax.eval_shape(differentiate, params, constants, first)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (grads, metrics))
    sums, images = jax.lax.scan(add, zeros, shares)
    grads, metrics = jax.tree.map(lambda x: x / microbatches, sums)
    return grads, metrics, jax.tree.map(join, images)

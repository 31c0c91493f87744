"""The mesh of three axes, and the shardings of batches, weights and states.

Batches and replay pools are split over `data` and `fsdp` by image, over `space` by row.
Weights and optimiser states are replicated, except over `fsdp`, where each device keeps
a share of them between steps. Everything else is replicated. A step communicates in
`gradients` and `halo` alone.
"""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from synthct_jax.parallel.halo import SPACE

AXES = ("data", "fsdp", SPACE)
IMAGE_AXES = ("data", "fsdp")  # axes over which images are dealt
_FSDP_ELEMENTS = 2**12  # smaller arrays are replicated all the same


def make_mesh(
    devices: Sequence[jax.Device] | None = None, *, fsdp: int = 1, space: int = 1
) -> Mesh:
    """Return a mesh of all devices of all processes, or of those given.

    Neighbours along `space` and `fsdp` are devices of one process where they can be,
    and processes follow each other along `data`: the share of the batch that a process
    reads is the share its devices have.
    """
    devices = sorted(
        jax.devices() if devices is None else devices,
        key=lambda device: (device.process_index, device.id),
    )
    grid = np.array(devices).reshape(-1, fsdp, space)
    # Auto: XLA propagates shardings. The default, Explicit, refuses convolutions.
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of arrays that every device holds as a whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Return the sharding of images (n, h, w, c)."""
    return NamedSharding(mesh, PartitionSpec(IMAGE_AXES, SPACE))


def weight_sharding(mesh: Mesh, shape: tuple[int, ...]) -> NamedSharding:
    """Split the longest axis that divides over `fsdp`, the last of equals."""
    shards = mesh.shape["fsdp"]
    axes = [axis for axis, length in enumerate(shape) if length % shards == 0]
    if shards == 1 or not axes or np.prod(shape) < _FSDP_ELEMENTS:
        return replicated(mesh)
    split = max(axes, key=lambda axis: (shape[axis], axis))
    spec = ["fsdp" if axis == split else None for axis in range(len(shape))]
    return NamedSharding(mesh, PartitionSpec(*spec))


def share_of_process(mesh: Mesh) -> tuple[int, int]:
    """Return the share of every batch that this process reads, and of how many.

    Processes whose devices have rows of the same images read the same share. A process
    whose devices' images are no whole share reads all.
    """
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    grid = mesh.devices.reshape(shards, -1)
    own = [
        position
        for position, devices in enumerate(grid)
        if any(device.process_index == jax.process_index() for device in devices)
    ]
    if own[0] % len(own) or shards % len(own):
        return 0, 1
    return own[0] // len(own), shards // len(own)


def to_global(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Put this process' share of a batch into global arrays."""
    sharding = batch_sharding(mesh)
    share, count = share_of_process(mesh)

    def on_devices(array: np.ndarray) -> jax.Array:
        first = share * len(array)

        def shard(index: tuple[slice, ...]) -> np.ndarray:
            images, *rest = index
            start, stop, _ = images.indices(count * len(array))
            return array[(slice(start - first, stop - first), *rest)]

        shape = (count * len(array), *array.shape[1:])
        return jax.make_array_from_callback(shape, sharding, shard)

    # The only copy to the devices that a step intends.
    with jax.transfer_guard("allow"):
        return {name: on_devices(array) for name, array in batch.items()}

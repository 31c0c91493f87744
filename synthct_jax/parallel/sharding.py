"""The mesh of four axes, and the shardings of batches, weights and states.

The members of an ensemble are split over `seeds`, and communicate nothing. Batches and
replay pools are split over `data` and `fsdp` by image, over `space` by row.
Weights and optimiser states are replicated, except over `fsdp`, where each device keeps
a share of them between steps. Everything else is replicated. A step communicates in
`gradients` and `halo` alone.
"""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from synthct_jax.parallel.halo import SPACE

SEEDS = "seeds"
IMAGE_AXES = ("data", "fsdp")  # axes over which the images of a batch are split
BATCH_AXES = (*IMAGE_AXES, SPACE)  # axes over which a member's batch is split
AXES = (SEEDS, *BATCH_AXES)
_FSDP_ELEMENTS = 2**12  # smaller arrays are replicated all the same


def make_mesh(
    devices: Sequence[jax.Device] | None = None,
    *,
    seeds: int = 1,
    fsdp: int = 1,
    space: int = 1,
) -> Mesh:
    """Return a mesh of all devices of all processes, or of those given.

    Neighbours along `space` and `fsdp` are devices of one process where they can be,
    and processes follow each other along `seeds` and `data`: the share of the batch
    that a process reads is the share its devices have.
    """
    devices = sorted(
        jax.devices() if devices is None else devices,
        key=lambda device: (device.process_index, device.id),
    )
    grid = np.array(devices).reshape(seeds, -1, fsdp, space)
    # Auto: XLA propagates shardings. The default, Explicit, refuses convolutions.
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of arrays that every device holds as a whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh, *, members: bool = False) -> NamedSharding:
    """Return the sharding of images (n, h, w, c); of members' images with an axis more.

    The first axis of the latter is that of the members.
    """
    spec = PartitionSpec(IMAGE_AXES, SPACE)
    return NamedSharding(mesh, PartitionSpec(SEEDS, *spec) if members else spec)


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
    """Return the share of a member's batches that this process reads, and of how many.

    Processes whose devices have rows of the same images read the same share. A process
    whose devices' images are no whole share reads all.
    """
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    grid = np.moveaxis(mesh.devices, 0, -1).reshape(shards, -1)
    own = _own(grid)
    if own[0] % len(own) or shards % len(own) or own[-1] - own[0] >= len(own):
        return 0, 1
    return own[0] // len(own), shards // len(own)


def members_of_process(mesh: Mesh, count: int) -> range:
    """Return which of `count` members have a part on a device of this process."""
    own, of_group = _own(mesh.devices), count // mesh.shape[SEEDS]
    return range(own[0] * of_group, (own[-1] + 1) * of_group)


def member_seed(seed: int, member: int) -> int:
    """Return the seed of a member; they follow each other, within 32 bits."""
    return (seed + member) % 2**32


def order_seed(seed: int, roll_backs: int) -> int:
    """Return the seed of the data order after so many roll-backs of a training."""
    if not roll_backs:
        return seed
    return int(np.random.SeedSequence((seed, roll_backs, 2)).generate_state(1)[0])


def _own(grid: np.ndarray) -> list[int]:
    """Return the positions along the first axis where this process has a device."""
    process = jax.process_index()
    return [
        position
        for position, devices in enumerate(grid)
        if any(device.process_index == process for device in devices.flat)
    ]


def to_global(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Put this process' share of a batch into global arrays.

    Args:
        batch: (n, h, w, c), the share of `share_of_process`; or (members, n, h, w, c),
            those of `members_of_process`.
    """
    share, shares = share_of_process(mesh)
    own = _own(mesh.devices)

    def on_devices(array: np.ndarray) -> jax.Array:
        members = array.ndim == 5
        sharding = batch_sharding(mesh, members=members)
        first, shape = [0] * array.ndim, list(array.shape)
        first[members] = share * shape[members]
        shape[members] *= shares
        if members:
            of_group = len(array) // (own[-1] + 1 - own[0])
            first[0], shape[0] = own[0] * of_group, mesh.shape[SEEDS] * of_group

        def shard(index: tuple[slice, ...]) -> np.ndarray:
            ends = [i.indices(n)[:2] for i, n in zip(index, shape, strict=True)]
            offsets = zip(ends, first, strict=True)
            return array[tuple(slice(i - f, j - f) for (i, j), f in offsets)]

        return jax.make_array_from_callback(tuple(shape), sharding, shard)

    # The only copy to the devices that a step intends.
    with jax.transfer_guard("allow"):
        return {name: on_devices(array) for name, array in batch.items()}

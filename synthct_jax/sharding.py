"""Where arrays live: one mesh, and the two shardings that everything has.

Batches and replay pools are split along their first axis over `data`; everything else
is replicated. The mean over the global batch becomes the all-reduce: no collective is
written by hand.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from synthct_jax.image_pool import ImagePool
from synthct_jax.train_state import TrainState


def make_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """A mesh of all devices of all processes, or of those given, along `data`."""
    devices = jax.devices() if devices is None else devices
    # Auto: XLA propagates shardings. The default, Explicit, refuses convolutions.
    return Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec("data"))


def state_sharding(mesh: Mesh, state: TrainState) -> TrainState:
    """The sharding of every leaf of a (possibly abstract) state."""
    everywhere, split = replicated(mesh), batch_sharding(mesh)
    shardings = jax.tree.map(lambda _: everywhere, state)
    pools = {name: ImagePool(images=split, filled=everywhere) for name in state.pools}
    return shardings.replace(pools=pools)


def to_global(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, Any]:
    """Global arrays from this process' share of a batch.

    Raises:
      ValueError: the global batch does not divide over the devices.
    """
    local_devices = len(mesh.local_devices)
    for name, array in batch.items():
        if len(array) % local_devices:
            raise ValueError(
                f"a process' share of {name} is {len(array)} images, which does not "
                f"divide over its {local_devices} devices: change train.global_batch"
            )
    sharding = batch_sharding(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, array)
        for name, array in batch.items()
    }

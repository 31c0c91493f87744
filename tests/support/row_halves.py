"""A network on two devices that have half of the rows each, on every platform."""

import jax
from jax.sharding import PartitionSpec

from synthct_jax.layers.cpu.ops import CpuOps
from synthct_jax.layers.ops import Ops
from synthct_jax.layers.tpu.ops import TpuOps
from synthct_jax.model.networks import ResNetGenerator, for_shard_of
from synthct_jax.parallel.sharding import make_mesh

PLATFORMS = {"xla": Ops(), "cpu": CpuOps(), "tpu": TpuOps()}


def apply_on_halves(network: ResNetGenerator, platform: str):
    """Return `network.apply` computed by a platform's layers on halves of the rows."""
    mesh = make_mesh(jax.devices()[:2], space=2)
    rows = PartitionSpec(None, "space")
    return jax.shard_map(
        for_shard_of(mesh, network.copy(ops=PLATFORMS[platform])).apply,
        mesh=mesh,
        in_specs=(PartitionSpec(), rows),
        out_specs=rows,
        check_vma=False,
    )

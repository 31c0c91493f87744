"""The choice of the operations that a platform computes networks by."""

import jax
from jax.sharding import Mesh

from input_pipeline.ranges import check_choice
from synthct_jax.layers.cpu.ops import CpuOps
from synthct_jax.layers.ops import Ops
from synthct_jax.layers.tpu.ops import TpuOps

# GPUs were not measured: XLA's own programs.
_OPS = {"cpu": CpuOps, "gpu": Ops, "tpu": TpuOps, "any": Ops}


def choose_ops(
    *, platform: str | None = None, mesh: Mesh | None = None, remat: bool = False
) -> Ops:
    """Return the operations for a platform; each runs on every platform.

    The platform 'any' computes layers as they are defined; None is that of the mesh, or
    without a mesh of the default device.
    """
    if platform is None:
        device = mesh.devices.flat[0] if mesh is not None else None
        platform = jax.default_backend() if device is None else device.platform
        platform = platform if platform in _OPS else "any"
    check_choice("platform", platform, _OPS)
    return _OPS[platform](remat=remat)

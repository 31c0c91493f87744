"""What is trained: the CycleGAN, or the supervised network that bounds it."""

from typing import Any

from jax.sharding import Mesh

from synthct_jax.model.cyclegan import CycleGan
from synthct_jax.model.supervised import Supervised

Method = CycleGan | Supervised
_METHODS = {"cyclegan": CycleGan, "supervised": Supervised}


def from_config(
    config: Any, *, mesh: Mesh | None = None, platform: str | None = None
) -> Method:
    """Networks and training step of a configuration; see `CycleGan.from_config`.

    Raises:
        ValueError: a field has a value that nothing is defined for.
    """
    name = config.get("method", "cyclegan")  # older checkpoints do not say
    if name not in _METHODS:
        raise ValueError(
            f"config.method is {name!r}, expected one of: {', '.join(_METHODS)}"
        )
    return _METHODS[name].from_config(config, mesh=mesh, platform=platform)

"""The methods that can be trained: the CycleGAN and the supervised network."""

from typing import Any

from jax.sharding import Mesh

from input_pipeline.ranges import check_choice
from synthct_jax.model.cyclegan import CycleGan
from synthct_jax.model.method import Method
from synthct_jax.model.supervised import Supervised

_METHODS = {"cyclegan": CycleGan, "supervised": Supervised}


def from_config(
    config: Any, *, mesh: Mesh | None = None, platform: str | None = None
) -> Method:
    """Return the method of a configuration.

    Args:
        mesh: devices to train on; None for the device that JAX takes by default.
        platform: see `choose_ops`.

    Raises:
        ValueError: a field has a value that nothing is defined for.
    """
    check_choice("config.method", config.method, _METHODS)
    return _METHODS[config.method].from_config(config, mesh=mesh, platform=platform)

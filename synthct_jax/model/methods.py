"""The methods that can be trained: CycleGAN, networks taught by pairs or a teacher."""

from typing import Any

from jax.sharding import Mesh

from input_pipeline.ranges import check_choice
from synthct_jax.model.cyclegan import CycleGan
from synthct_jax.model.distilled import Distilled
from synthct_jax.model.ensemble import Ensemble, Trainable
from synthct_jax.model.supervised import Supervised

METHODS = {"cyclegan": CycleGan, "supervised": Supervised, "distilled": Distilled}


def from_config(
    config: Any, *, mesh: Mesh | None = None, platform: str | None = None
) -> Trainable:
    """Return the method of a configuration.

    Args:
        mesh: devices to train on; None for the device that JAX takes by default.
        platform: see `choose_ops`.

    Raises:
        ValueError: a field has a value that nothing is defined for.
    """
    check_choice("method", config.method, METHODS)
    method = METHODS[config.method].from_config(config, mesh=mesh, platform=platform)
    seeds = config.mesh.seeds
    return method if seeds == 1 else Ensemble(member=method, count=seeds)

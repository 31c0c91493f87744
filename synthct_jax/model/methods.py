"""The methods that can be trained: the CycleGAN, and the supervised network beside it.

A method has networks, losses and optimisers; `Method` is all that training, inference
and evaluation know of it.
"""

from collections.abc import Callable
from typing import Any, Protocol

import jax
from jax.sharding import Mesh

from synthct_jax.model.cyclegan import CycleGan
from synthct_jax.model.networks import ResNetGenerator
from synthct_jax.model.supervised import Supervised
from synthct_jax.model.train_state import Batch, Metrics, Params, TrainState


class Method(Protocol):
    """Networks of one configuration, and the training step that they make."""

    mr_channels: int
    to_ct: ResNetGenerator  # the network of `translate`
    simulated: float  # weight of simulated pairs beside the batch's images; 0: none
    # Synthetic MR (n, h, w, c) of weights of `to_mr` and CT (n, h, w, 1).
    translate_back: Callable[[Params, jax.Array], jax.Array] | None

    @property
    def size_multiple(self) -> int:
        """Number that divides the rows and columns of every image."""

    def init(self, key: jax.Array, *, batch: int, size: int) -> TrainState:
        """Return a new state, for global batches of images of size x size pixels."""

    def translate(self, params: Params, mr: jax.Array) -> jax.Array:
        """Return synthetic CT (n, h, w, 1) of MR (n, h, w, c); `params` of `to_ct`."""

    def train_step(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """Return the state after one more step, and its losses. Pure."""


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
    name = config.method
    if name not in _METHODS:
        raise ValueError(
            f"config.method is {name!r}, expected one of: {', '.join(_METHODS)}"
        )
    return _METHODS[name].from_config(config, mesh=mesh, platform=platform)

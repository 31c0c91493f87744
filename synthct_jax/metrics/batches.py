"""Volumes of any number of slices through functions that are compiled once."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

SLICES = 16  # at a time: what is on the device does not grow with the volume


def over_slices(
    function: Callable[..., Any], *volumes: np.ndarray, slices: int = SLICES
) -> Any:
    """What `function` finds in each slice.

    The last batch is filled up by repeating its last slice, and what is found in the
    repeated ones is dropped: a number of slices that does not divide changes nothing.

    Args:
        function: jitted, of arrays (n, ...), to a pytree of arrays (n, ...) that have
            for each slice what comes from that slice alone.
        volumes: arrays of equally many slices.
        slices: n, of each call.

    Returns:
        The pytree, of numpy arrays (slices, ...).

    Raises:
        ValueError: numbers of slices differ, or there are none.
    """
    lengths = {len(volume) for volume in volumes}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(
            f"volumes are {', '.join(str(v.shape) for v in volumes)}, expected equally "
            "many slices, one or more"
        )
    (length,) = lengths
    found = []
    for start in range(0, length, slices):
        parts = [volume[start : start + slices] for volume in volumes]
        count = len(parts[0])
        filled = [
            np.pad(
                part, [(0, slices - count)] + [(0, 0)] * (part.ndim - 1), mode="edge"
            )
            for part in parts
        ]
        result = jax.device_get(function(*filled))
        found.append(jax.tree.map(lambda array: array[:count], result))  # noqa: B023
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *found)

"""Functions that are compiled once, applied to volumes with any number of slices."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

SLICES = 16  # per batch, so that device memory does not grow with the volume


def over_slices(
    function: Callable[..., Any], *volumes: np.ndarray, slices: int = SLICES
) -> Any:
    """Apply a function to volumes, batch by batch of slices.

    The last batch is padded by repeating its last slice; the results of the repeats are
    dropped.

    Args:
        function: jitted function of arrays (n, ...) that returns a pytree of arrays
            (n, ...). The result of each slice depends on that slice alone.
        volumes: arrays with equally many slices.
        slices: batch size n.

    Returns:
        The pytree, with numpy arrays (slices, ...).

    Raises:
        ValueError: the numbers of slices differ, or there are none.
    """
    lengths = {len(volume) for volume in volumes}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(
            f"volumes are {', '.join(str(v.shape) for v in volumes)}, expected equally "
            "many slices, one or more"
        )
    (length,) = lengths
    padding = np.arange(slices)
    results = []
    for start in range(0, length, slices):
        batches = [volume[start : start + slices] for volume in volumes]
        count = len(batches[0])
        padded = [batch.take(padding, 0, mode="clip") for batch in batches]
        result = jax.device_get(function(*padded))
        results.append(jax.tree.map(lambda array: array[:count], result))  # noqa: B023
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *results)

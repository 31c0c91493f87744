"""How CT changes from slice to slice: a network sees each slice alone."""

import jax
import jax.numpy as jnp
import numpy as np

from synthct_jax.metrics.batches import over_slices

RANGE_HU = (-1024.0, 1536.0)
"""HU are clipped to it."""


def slice_jumps(hu: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Mean |difference| of neighbouring slices in HU, over the union of their bodies.

    A repeated slice has a jump of 0, a slice that flickers two large ones. Differences
    grow with the distance between slices: compare volumes of one slice spacing. The
    measure is that of video's frame difference, in the body.

    Args:
        hu: (slices, rows, columns).
        body: bool of that shape.

    Returns:
        (slices - 1,) float64; nan where neither slice has a body.

    Raises:
        ValueError: shapes differ or are no volumes.
    """
    if hu.ndim != 3 or hu.shape != body.shape:
        raise ValueError(
            f"HU are {hu.shape} and the body {body.shape}, expected (slices, rows, "
            "columns) of both"
        )
    if len(hu) < 2:
        return np.zeros(0)
    hu = hu.astype(np.float32, copy=False)
    sums, counts = over_slices(_differences, hu[:-1], hu[1:], body[:-1], body[1:])
    with np.errstate(invalid="ignore"):
        return sums.astype(np.float64) / counts


@jax.jit
def _differences(
    here: jax.Array, there: jax.Array, body_here: jax.Array, body_there: jax.Array
) -> tuple[jax.Array, jax.Array]:
    where = body_here | body_there
    difference = jnp.abs(jnp.clip(here, *RANGE_HU) - jnp.clip(there, *RANGE_HU))
    return (
        jnp.sum(jnp.where(where, difference, 0), axis=(1, 2)),
        jnp.sum(where, axis=(1, 2)),
    )


def jump_statistics(jumps: np.ndarray) -> dict[str, float]:
    """Summaries of one volume's jumps that do not depend on the patient's size.

    Args:
        jumps: (slices - 1,) of `slice_jumps`.

    Returns:
        median: in HU.
        least: smallest jump over the mean of its neighbours'; 0 where a slice is
            repeated.
        most: largest jump over the mean of its neighbours'.
        All nan where there are fewer than three jumps.
    """
    jumps = np.asarray(jumps, np.float64)
    jumps = jumps[np.isfinite(jumps)]
    if len(jumps) < 3:
        return dict.fromkeys(("median", "least", "most"), float("nan"))
    padded = np.pad(jumps, 1, mode="reflect")
    around = np.maximum((padded[:-2] + padded[2:]) / 2, 1e-6)
    relative = jumps / around
    return {
        "median": float(np.median(jumps)),
        "least": float(relative.min()),
        "most": float(relative.max()),
    }

"""Changes of CT from slice to slice, since a network translates each slice alone."""

import jax
import jax.numpy as jnp
import numpy as np

from synthct_jax.metrics.batches import over_slices

RANGE_HU = (-1024.0, 1536.0)
"""Range to which HU are clipped."""


def slice_differences(hu: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Return the mean absolute difference of neighbouring slices, in HU.

    The mean is over the union of the bodies in both slices. It is the frame difference
    of videos, within the body: 0 where a slice is repeated, large on both sides of a
    slice that flickers. Differences grow with the distance between slices: compare
    volumes of one slice spacing. The result is (slices - 1,) float64; nan where neither
    slice has a body.

    Raises:
        ValueError: the shapes differ, or are not those of volumes.
    """
    if hu.ndim != 3 or hu.shape != body.shape:
        raise ValueError(
            f"HU are {hu.shape} and the body {body.shape}, expected (slices, rows, "
            "columns) of both"
        )
    if len(hu) < 2:
        return np.zeros(0)
    hu = hu.astype(np.float32, copy=False)
    sums, counts = over_slices(_difference_sums, hu[:-1], hu[1:], body[:-1], body[1:])
    with np.errstate(invalid="ignore"):
        return sums.astype(np.float64) / counts


@jax.jit
def _difference_sums(
    hu: jax.Array, next_hu: jax.Array, body: jax.Array, next_body: jax.Array
) -> tuple[jax.Array, jax.Array]:
    union = body | next_body
    difference = jnp.abs(jnp.clip(hu, *RANGE_HU) - jnp.clip(next_hu, *RANGE_HU))
    sums = jnp.sum(jnp.where(union, difference, 0), axis=(1, 2))
    return sums, jnp.sum(union, axis=(1, 2))


def slice_difference_statistics(differences: np.ndarray) -> dict[str, float]:
    """Summarise one volume's `slice_differences`; those not finite are left out.

    Returns:
        'median' in HU; 'smallest' and 'largest', the extremes of the ratio of a
        difference to the mean of its two neighbours. 'smallest' is 0 where a slice is
        repeated, 'largest' is high where a slice flickers. All are nan with fewer than
        three differences.
    """
    differences = differences[np.isfinite(differences)]
    if len(differences) < 3:
        return dict.fromkeys(("median", "smallest", "largest"), float("nan"))
    padded = np.pad(differences, 1, mode="reflect")
    neighbours = np.maximum((padded[:-2] + padded[2:]) / 2, 1e-6)
    ratios = differences / neighbours
    return {
        "median": float(np.median(differences)),
        "smallest": float(ratios.min()),
        "largest": float(ratios.max()),
    }

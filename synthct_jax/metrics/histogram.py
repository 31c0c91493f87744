"""Histograms of HU, and the distances between those of two sets of images."""

import jax
import jax.numpy as jnp
import numpy as np

from synthct_jax.metrics.batches import over_slices
from synthct_jax.metrics.tissues import BANDS

RANGE_HU = (-1024, 1536)
STEP_HU = 20
_EDGES = np.arange(RANGE_HU[0], RANGE_HU[1] + 1, STEP_HU, dtype=np.float64)
CENTRES_HU = (_EDGES[:-1] + _EDGES[1:]) / 2

# Jeffreys' prior, added to the counts of every bin so that a bin that is empty in one
# set only does not make the divergence infinite.
_PSEUDO_COUNT = 0.5


def count_hu(hu: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Count the voxels of the mask in each bin, (bins,) int64.

    Bins are STEP_HU wide over RANGE_HU and include their lower edges. Values beyond the
    range count in the outermost bins. HU are finite, and counted as float32.

    Raises:
        ValueError: the shapes differ, or the first axis is empty.
    """
    if hu.shape != mask.shape:
        raise ValueError(f"shapes differ: HU {hu.shape}, mask {mask.shape}")
    counts = over_slices(_count_slices, hu.astype(np.float32, copy=False), mask)
    return counts.sum(axis=0, dtype=np.int64)


@jax.jit
def _count_slices(hu: jax.Array, mask: jax.Array) -> jax.Array:
    edges = jnp.asarray(_EDGES, jnp.float32)
    last = len(_EDGES) - 2
    bins = jnp.clip(jnp.floor((hu - RANGE_HU[0]) / STEP_HU), 0, last).astype(jnp.int32)
    # Difference and quotient are rounded, so compare with the edges themselves.
    bins = bins - (hu < edges[bins]) + (hu >= edges[bins + 1])
    bins = jnp.where(mask, jnp.clip(bins, 0, last), last + 1).reshape(len(hu), -1)
    return jax.vmap(lambda row: jnp.bincount(row, length=last + 2))(bins)[:, :-1]


def of_band(counts: np.ndarray, tissue: str) -> np.ndarray:
    """Return the bins of one tissue of `tissues.BANDS`, of counts by `count_hu`.

    A bin belongs to the band in which its centre is, so limits are met within half a
    bin.
    """
    low, high = BANDS[tissue]
    return counts[(low < CENTRES_HU) & (high > CENTRES_HU)]


def share(counts: np.ndarray, tissue: str) -> float:
    """Return the share of one tissue in all voxels, 0 to 1."""
    return float(of_band(counts, tissue).sum() / max(counts.sum(), 1))


def density(counts: np.ndarray) -> np.ndarray:
    """Return the share of the voxels per HU, (bins,), whose integral is 1."""
    return counts / max(counts.sum(), 1) / STEP_HU


def kl_divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Return the Kullback-Leibler divergence of p from q, sum of p log(p / q), in nats.

    Half a count is added to each bin of both (Kullback & Leibler, Ann Math Stat 1951;
    22:79).

    Raises:
        ValueError: the numbers of bins differ, or a histogram is empty.
    """
    p, q = _check_counts(p, q)
    p, q = ((x + _PSEUDO_COUNT) / (x + _PSEUDO_COUNT).sum() for x in (p, q))
    return max(float(p @ np.log(p / q)), 0.0)


def wasserstein(p: np.ndarray, q: np.ndarray) -> float:
    """Return the Wasserstein-1 distance: the mean way of a voxel from p to q, in HU.

    It is the area between the cumulative distributions (Vallender, Theory Probab Appl
    1974; 18:784), with voxels at the centres of their bins. Values beyond RANGE_HU are
    in the outermost bins. Counts are in the same bins: whole histograms, or one band.

    Raises:
        ValueError: the numbers of bins differ, or a histogram is empty.
    """
    p, q = (counts / counts.sum() for counts in _check_counts(p, q))
    return float(STEP_HU * np.abs(np.cumsum(p - q)).sum())


def _check_counts(p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two histograms as float64; raises as `wasserstein` does."""
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    if p.shape != q.shape:
        raise ValueError(f"numbers of bins differ: {p.shape} and {q.shape}")
    if p.ndim != 1 or not (p.sum() > 0 and q.sum() > 0):
        raise ValueError("a histogram is empty: no voxels were counted")
    return p, q

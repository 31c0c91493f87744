"""How the distributions of HU of two sets of images differ, whatever their anatomy."""

import jax
import jax.numpy as jnp
import numpy as np

from synthct_jax.metrics.batches import over_slices
from synthct_jax.metrics.tissues import BANDS

RANGE_HU = (-1024, 1536)
STEP_HU = 20
_EDGES = np.arange(RANGE_HU[0], RANGE_HU[1] + 1, STEP_HU, dtype=np.float64)
CENTRES_HU = (_EDGES[:-1] + _EDGES[1:]) / 2

# Added to the counts of every bin (Jeffreys), so that a bin that is empty in one set
# only does not make the divergence infinite.
_PSEUDO_COUNT = 0.5


def count_hu(hu: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """How many voxels of the mask are in each bin: counts add up over volumes.

    Bins are STEP_HU wide over RANGE_HU, each with its lower edge; what is beyond counts
    in the outermost bins.

    Args:
        hu: finite HU, of any shape; counted as float32.
        mask: bool of that shape.

    Returns:
        (bins,) int64.

    Raises:
        ValueError: shapes differ, or there is nothing along the first axis.
    """
    if hu.shape != mask.shape:
        raise ValueError(f"shapes differ: HU {hu.shape}, mask {mask.shape}")
    found = over_slices(_count_slices, hu.astype(np.float32, copy=False), mask)
    return found.sum(axis=0, dtype=np.int64)


@jax.jit
def _count_slices(hu: jax.Array, mask: jax.Array) -> jax.Array:
    edges = jnp.asarray(_EDGES, jnp.float32)
    last = len(_EDGES) - 2
    bins = jnp.clip(jnp.floor((hu - RANGE_HU[0]) / STEP_HU), 0, last).astype(jnp.int32)
    # The difference and the quotient are rounded: compare with the edges themselves.
    bins = bins - (hu < edges[bins]) + (hu >= edges[bins + 1])
    bins = jnp.where(mask, jnp.clip(bins, 0, last), last + 1).reshape(len(hu), -1)
    return jax.vmap(lambda one: jnp.bincount(one, length=last + 2))(bins)[:, :-1]


def of_band(counts: np.ndarray, tissue: str) -> np.ndarray:
    """Return the bins of one tissue of `tissues.BANDS`.

    A bin belongs to the band in which its centre is, so limits are met within half a
    bin.

    Args:
        counts: (bins,) of `count_hu`.
        tissue: its name.
    """
    low, high = BANDS[tissue]
    return counts[(low < CENTRES_HU) & (high > CENTRES_HU)]


def share(counts: np.ndarray, tissue: str) -> float:
    """Return the share of one tissue in all voxels, 0 to 1; arguments of `of_band`."""
    return float(of_band(counts, tissue).sum() / max(counts.sum(), 1))


def density(counts: np.ndarray) -> np.ndarray:
    """Share of the voxels for each HU, (bins,) float64; its integral is 1."""
    return counts / max(counts.sum(), 1) / STEP_HU


def kl_divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Kullback-Leibler divergence of p from q in nats, sum of p log(p / q).

    Kullback & Leibler, Ann Math Stat 1951; 22:79.

    Args:
        p, q: counts of the same bins. Half a count is added to each bin of both.

    Raises:
        ValueError: shapes differ, or no counts at all.
    """
    p, q = _probabilities(p), _probabilities(q)
    if p.shape != q.shape:
        raise ValueError(f"numbers of bins differ: {p.shape} and {q.shape}")
    return max(float(p @ np.log(p / q)), 0.0)


def wasserstein(p: np.ndarray, q: np.ndarray) -> float:
    """Wasserstein-1 distance in HU: how far each voxel has to move, on average.

    The area between the cumulative distributions (Vallender, Theory Probab Appl 1974;
    18:784), voxels being at the centres of their bins. What is beyond RANGE_HU is in
    the outermost bins.

    Args:
        p, q: counts of the same bins, of synthetic and of real CT; whole histograms,
            or of one band (`of_band`).

    Raises:
        ValueError: shapes differ, or no counts at all.
    """
    p, q = _shares(p, q)
    return float(STEP_HU * np.abs(np.cumsum(p - q)).sum())


def _shares(p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the counts, without pseudo-counts."""
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    if p.shape != q.shape:
        raise ValueError(f"numbers of bins differ: {p.shape} and {q.shape}")
    if p.ndim != 1 or not (p.sum() > 0 and q.sum() > 0):
        raise ValueError("a histogram is empty: no voxels were counted")
    return p / p.sum(), q / q.sum()


def _probabilities(counts: np.ndarray) -> np.ndarray:
    counts = np.asarray(counts, np.float64)
    if counts.ndim != 1 or not counts.sum() > 0:
        raise ValueError("a histogram is empty: no voxels were counted")
    counts = counts + _PSEUDO_COUNT
    return counts / counts.sum()

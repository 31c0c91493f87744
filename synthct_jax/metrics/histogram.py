"""How the distributions of HU of two sets of images differ, whatever their anatomy."""

import numpy as np

RANGE_HU = (-1024, 1536)
STEP_HU = 20
_EDGES = np.arange(RANGE_HU[0], RANGE_HU[1] + 1, STEP_HU, dtype=np.float64)
CENTRES_HU = (_EDGES[:-1] + _EDGES[1:]) / 2

# Added to the counts of every bin (Jeffreys), so that a bin that is empty in one set
# only does not make the divergence infinite.
_PSEUDO_COUNT = 0.5


def count_hu(hu: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """How many voxels of the mask are in each bin: counts add up over volumes.

    Bins are STEP_HU wide over RANGE_HU; what is beyond counts in the outermost bins.

    Args:
        hu: of any shape.
        mask: bool of that shape.

    Returns:
        (bins,) int64.
    """
    values = np.clip(hu[mask], *RANGE_HU)
    return np.histogram(values, _EDGES)[0]


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


def jensen_shannon_divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Mean divergence of p and q from their mean, in nats: 0 to log 2, symmetric.

    Lin, IEEE Trans Inf Theory 1991; 37:145. Arguments and errors as of `kl_divergence`.
    """
    p, q = _probabilities(p), _probabilities(q)
    if p.shape != q.shape:
        raise ValueError(f"numbers of bins differ: {p.shape} and {q.shape}")
    middle = (p + q) / 2
    return max(float(p @ np.log(p / middle) + q @ np.log(q / middle)) / 2, 0.0)


def _probabilities(counts: np.ndarray) -> np.ndarray:
    counts = np.asarray(counts, np.float64)
    if counts.ndim != 1 or not counts.sum() > 0:
        raise ValueError("a histogram is empty: no voxels were counted")
    counts = counts + _PSEUDO_COUNT
    return counts / counts.sum()

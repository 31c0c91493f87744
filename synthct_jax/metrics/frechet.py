"""Frechet distance between two sets of feature vectors.

It is called FID only where the features are those of the Inception network; ours are
named in the metric's name (`haar_features.NAME`).
"""

import numpy as np


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Frechet distance between Gaussians of the means and covariances of sets.

    Dowson & Landau, J Multivariate Anal 1982; 12:450; for images Heusel et al., NeurIPS
    2017. It is biased upwards, the more so the fewer samples there are: give n with it,
    and compare only what has the same n.

    The trace of the root of the product of covariances A'A and B'B is the sum of the
    singular values of A B', A and B being the centred samples over sqrt(n - 1). That
    needs no root of a nearly singular matrix, nor a covariance where samples are fewer
    than features.

    Args:
        a, b: (samples, features).

    Raises:
        ValueError: numbers of features differ, or fewer than two samples in a set.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(
            f"features are {a.shape} and {b.shape}, expected (samples, features) with "
            "equally many features"
        )
    if min(len(a), len(b)) < 2:
        raise ValueError(
            f"{len(a)} and {len(b)} samples, expected two or more in both sets"
        )
    means = a.mean(axis=0) - b.mean(axis=0)
    roots = [_root_of_covariance(x) for x in (a, b)]
    common = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    spread = sum(np.square(root).sum() for root in roots)
    return max(float(means @ means + spread - 2 * common), 0.0)


def _root_of_covariance(samples: np.ndarray) -> np.ndarray:
    """R of at most as many rows as features, with R'R the covariance."""
    centred = (samples - samples.mean(axis=0)) / np.sqrt(len(samples) - 1)
    rows, columns = centred.shape
    return np.linalg.qr(centred, mode="r") if rows > columns else centred

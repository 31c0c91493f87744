"""Features of CT slices for a Frechet distance that needs no download.

No learned network: what each number means is known, and the same slice gives the same
features wherever and whenever. They see the amount of lung, soft tissue and bone, where
in the slice it is, and how much structure there is at each scale and how diagonal that
is (Haar wavelets: Mallat, IEEE Trans Pattern Anal 1989; 11:674; their energies as
texture features: Laine & Fan, IEEE Trans Pattern Anal 1993; 15:1186).

A change of anything here makes other numbers: it needs another VERSION.
"""

import jax
import jax.numpy as jnp
import numpy as np

from synthct_jax.metrics.batches import over_slices

VERSION = 1
NAME = f"frechet_haar_v{VERSION}"
"""Of the Frechet distance between these features."""

# Ranges of HU that become the planes [0, 1]: air to fat, soft tissue, bone.
_WINDOWS = ((-1024.0, -200.0), (-200.0, 250.0), (250.0, 1500.0))
_SCALES = 4
_GRID = 4
# Bands of the histogram of what is denser than -200 HU: whatever the patient's size.
_BANDS = (*np.arange(-200.0, 251.0, 50.0), np.inf)
# The least energy that counts, below the noise of a CT, lest empty planes decide.
_FLOOR = 1e-3
_LEAST_SHARE = 0.01  # of a band
# Real people differ by about 0.1 in means, by about 0.2 in logarithms: weighted so that
# size and place of the patient do not drown structure, measured by planted faults.
_AMOUNT_WEIGHT = 3.0
_PLACE_WEIGHT = 1.5

DIMENSION = len(_WINDOWS) * (2 + 2 * _SCALES) + (len(_BANDS) - 1) + 2 * _GRID**2


def haar_features(hu: np.ndarray) -> np.ndarray:
    """One vector a slice.

    For each of three windows of HU: mean and standard deviation, and for scales of 2,
    4, 8 and 16 pixels the logarithm of the mean absolute Haar detail, of edges
    (horizontal and vertical) and of diagonals. Then logarithms of the shares of ten
    bands of HU from -200 up, and the means of the first two windows in each of 4 x 4
    fields of the slice.

    Args:
        hu: (slices, rows, columns), any number of rows and columns from 16 up; they are
            filled up with air to a multiple of 16.

    Returns:
        (slices, DIMENSION) float64.

    Computed in float32, which is right to about 1e-6.

    Raises:
        ValueError: another shape, or no slices.
    """
    unit = 2**_SCALES
    if hu.ndim != 3 or min(hu.shape[1:]) < unit:
        raise ValueError(
            f"images are {hu.shape}, expected (slices, rows, columns) with {unit} rows "
            "and columns or more"
        )
    return over_slices(_of_slices, hu.astype(np.float32)).astype(np.float64)


@jax.jit
def _of_slices(hu: jax.Array) -> jax.Array:
    n = len(hu)
    fill = [(0, -length % 2**_SCALES) for length in hu.shape[1:]]
    images = jnp.pad(hu, [(0, 0), *fill], constant_values=_WINDOWS[0][0])
    # All windows of a slice, one after another: the planes are compiled once.
    low, high = jnp.asarray(_WINDOWS).T[:, :, None, None]
    planes = (jnp.clip(images[:, None], low, high) - low) / (high - low)
    fields = _field_means(planes[:, :2].reshape(-1, *images.shape[1:]))
    planes = planes.reshape(-1, *images.shape[1:])
    amounts = [planes.mean((1, 2)), planes.std((1, 2))]
    features = [_AMOUNT_WEIGHT * jnp.stack(amounts, axis=1), _energies(planes)]
    parts = [
        jnp.concatenate(features, axis=1),
        _log_shares(images),
        _PLACE_WEIGHT * fields,
    ]
    return jnp.concatenate([part.reshape(n, -1) for part in parts], axis=1)


def _energies(planes: jax.Array) -> jax.Array:
    energies = []
    for _ in range(_SCALES):
        a, b = planes[:, 0::2, 0::2], planes[:, 0::2, 1::2]
        c, d = planes[:, 1::2, 0::2], planes[:, 1::2, 1::2]
        edges = jnp.abs(a - b + c - d) + jnp.abs(a + b - c - d)
        diagonals = jnp.abs(a - b - c + d)
        energies += [edges.mean((1, 2)) / 8, diagonals.mean((1, 2)) / 4]
        planes = (a + b + c + d) / 4
    return jnp.log(_FLOOR + jnp.stack(energies, axis=1))


def _log_shares(images: jax.Array) -> jax.Array:
    flat = images.reshape(len(images), -1)
    # The number of the band, 0 below the first.
    band = sum((flat >= hu).astype(jnp.int32) for hu in _BANDS[:-1])
    counts = jax.vmap(lambda one: jnp.bincount(one, length=len(_BANDS)))(band)[:, 1:]
    total = jnp.maximum(counts.sum(axis=1, keepdims=True), 1)
    return jnp.log(_LEAST_SHARE + counts / total)


def _field_means(planes: jax.Array) -> jax.Array:
    n, rows, columns = planes.shape
    fields = planes.reshape(n, _GRID, rows // _GRID, _GRID, columns // _GRID)
    return fields.mean((2, 4))

"""Features of CT slices for a Frechet distance that needs no download.

There is no learned network: the meaning of each number is known, and a slice has the
same features on every machine. They show the amount of lung, soft tissue and bone,
their place in the slice, and the amount of edges and diagonals at each scale (Haar
wavelets: Mallat, IEEE Trans Pattern Anal 1989; 11:674; their energies as texture
features: Laine & Fan, IEEE Trans Pattern Anal 1993; 15:1186). Means and deviations are
multiplied by _AMOUNT_WEIGHT, means of places by _PLACE_WEIGHT.

Any change here changes the numbers and needs another VERSION. The windows and bands are
therefore the features' own, not those of `tissues`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from synthct_jax.metrics.batches import over_slices

VERSION = 1
NAME = f"frechet_haar_v{VERSION}"
"""Name of the Frechet distance between these features."""

# Ranges of HU that are scaled to [0, 1], one plane each: air to fat, soft tissue, bone.
_WINDOWS = ((-1024.0, -200.0), (-200.0, 250.0), (250.0, 1500.0))
_SCALES = 4
_GRID = 4
# Edges of the histogram bands. Only voxels denser than -200 HU count, so that shares do
# not depend on the patient's size.
_BANDS = (*np.arange(-200.0, 251.0, 50.0), np.inf)
# Added before logarithms are taken, so that empty planes and bands do not dominate. The
# energy is below the noise of a CT.
_MIN_ENERGY = 1e-3
_MIN_SHARE = 0.01
# Means of real subjects differ by about 0.1, logarithms by about 0.2. The weights keep
# size and place of the patient from hiding structure, as measured by planted faults.
_AMOUNT_WEIGHT = 3.0
_PLACE_WEIGHT = 1.5

DIMENSION = len(_WINDOWS) * (2 + 2 * _SCALES) + (len(_BANDS) - 1) + 2 * _GRID**2


def haar_features(hu: np.ndarray) -> np.ndarray:
    """Return the features of each slice.

    For each of three windows of HU these are mean and standard deviation, and for
    scales of 2, 4, 8 and 16 pixels the logarithm of the mean absolute Haar detail of
    edges (horizontal and vertical) and of diagonals. They are followed by the
    logarithms of the shares of ten bands of HU from -200 up, and by the means of the
    first two windows in each of 4 x 4 fields of the slice.

    HU are (slices, rows, columns), with 16 or more rows and columns, which are padded
    with air to a multiple of 16. Features are (slices, DIMENSION) float64, computed in
    float32 (relative error about 1e-6).

    Raises:
        ValueError: the shape is another, or there are no slices.
    """
    unit = 2**_SCALES
    if hu.ndim != 3 or min(hu.shape[1:]) < unit:
        raise ValueError(
            f"images are {hu.shape}, expected (slices, rows, columns) with {unit} rows "
            "and columns or more"
        )
    return over_slices(_slice_features, hu.astype(np.float32)).astype(np.float64)


@jax.jit
def _slice_features(hu: jax.Array) -> jax.Array:
    n = len(hu)
    fill = [(0, -length % 2**_SCALES) for length in hu.shape[1:]]
    images = jnp.pad(hu, [(0, 0), *fill], constant_values=_WINDOWS[0][0])
    # The windows of a slice are planes of one batch, so that they are compiled once.
    low, high = jnp.asarray(_WINDOWS).T[:, :, None, None]
    planes = (jnp.clip(images[:, None], low, high) - low) / (high - low)
    fields = _field_means(planes[:, :2].reshape(-1, *images.shape[1:]))
    planes = planes.reshape(-1, *images.shape[1:])
    amounts = jnp.stack([planes.mean((1, 2)), planes.std((1, 2))], axis=1)
    of_planes = jnp.concatenate([_AMOUNT_WEIGHT * amounts, _energies(planes)], axis=1)
    groups = [of_planes, _log_shares(images), _PLACE_WEIGHT * fields]
    return jnp.concatenate([group.reshape(n, -1) for group in groups], axis=1)


def _energies(planes: jax.Array) -> jax.Array:
    """Return log energies of edges and diagonals at each scale, (n, 2 _SCALES)."""
    energies = []
    for _ in range(_SCALES):
        a, b = planes[:, 0::2, 0::2], planes[:, 0::2, 1::2]
        c, d = planes[:, 1::2, 0::2], planes[:, 1::2, 1::2]
        edges = jnp.abs(a - b + c - d) + jnp.abs(a + b - c - d)
        diagonals = jnp.abs(a - b - c + d)
        energies += [edges.mean((1, 2)) / 8, diagonals.mean((1, 2)) / 4]
        planes = (a + b + c + d) / 4
    return jnp.log(_MIN_ENERGY + jnp.stack(energies, axis=1))


def _log_shares(images: jax.Array) -> jax.Array:
    """Return the log share of each band of HU, (n, bands)."""
    flat = images.reshape(len(images), -1)
    # Number of the band, 0 below the first.
    band = sum((flat >= hu).astype(jnp.int32) for hu in _BANDS[:-1])
    counts = jax.vmap(lambda row: jnp.bincount(row, length=len(_BANDS)))(band)[:, 1:]
    total = jnp.maximum(counts.sum(axis=1, keepdims=True), 1)
    return jnp.log(_MIN_SHARE + counts / total)


def _field_means(planes: jax.Array) -> jax.Array:
    """Return the mean of each of _GRID x _GRID fields, (n, _GRID, _GRID)."""
    n, rows, columns = planes.shape
    fields = planes.reshape(n, _GRID, rows // _GRID, _GRID, columns // _GRID)
    return fields.mean((2, 4))

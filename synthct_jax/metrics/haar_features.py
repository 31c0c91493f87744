"""Features of CT slices for a Frechet distance that needs no download.

No learned network: what each number means is known, and the same slice gives the same
features wherever and whenever. They see the amount of lung, soft tissue and bone, where
in the slice it is, and how much structure there is at each scale and how diagonal that
is (Haar wavelets: Mallat, IEEE Trans Pattern Anal 1989; 11:674; their energies as
texture features: Laine & Fan, IEEE Trans Pattern Anal 1993; 15:1186).

A change of anything here makes other numbers: it needs another VERSION.
"""

import numpy as np

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

    Raises:
        ValueError: another shape.
    """
    unit = 2**_SCALES
    if hu.ndim != 3 or min(hu.shape[1:]) < unit:
        raise ValueError(
            f"images are {hu.shape}, expected (slices, rows, columns) with {unit} rows "
            "and columns or more"
        )
    # Slice by slice: memory does not grow with the volume.
    return np.array([_of_slice(image) for image in hu]).reshape(len(hu), DIMENSION)


def _of_slice(image: np.ndarray) -> np.ndarray:
    unit = 2**_SCALES
    fill = [(0, -length % unit) for length in image.shape]
    image = np.pad(image.astype(np.float64), fill, constant_values=_WINDOWS[0][0])
    features, places = [], []
    for low, high in _WINDOWS:
        plane = (np.clip(image, low, high) - low) / (high - low)
        features += [_AMOUNT_WEIGHT * plane.mean(), _AMOUNT_WEIGHT * plane.std()]
        features += _energies(plane)
        places.append(_PLACE_WEIGHT * _field_means(plane))
    return np.concatenate([features, _log_shares(image), *places[:2]])


def _energies(plane: np.ndarray) -> list[float]:
    energies = []
    for _ in range(_SCALES):
        a, b = plane[0::2, 0::2], plane[0::2, 1::2]
        c, d = plane[1::2, 0::2], plane[1::2, 1::2]
        edges = np.abs(a - b + c - d) + np.abs(a + b - c - d)
        diagonals = np.abs(a - b - c + d)
        energies += [
            float(np.log(_FLOOR + edges.mean() / 8)),
            float(np.log(_FLOOR + diagonals.mean() / 4)),
        ]
        plane = (a + b + c + d) / 4
    return energies


def _log_shares(image: np.ndarray) -> np.ndarray:
    counts = np.histogram(image, _BANDS)[0]
    return np.log(_LEAST_SHARE + counts / max(counts.sum(), 1))


def _field_means(plane: np.ndarray) -> np.ndarray:
    rows, columns = plane.shape
    fields = plane.reshape(_GRID, rows // _GRID, _GRID, columns // _GRID)
    return fields.mean(axis=(1, 3)).ravel()

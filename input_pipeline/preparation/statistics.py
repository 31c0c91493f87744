"""Exact statistics of stored values inside the body, from counts of each value."""

from collections.abc import Iterable

import numpy as np

PERCENTILES = (0.5, 5, 25, 50, 75, 95, 99.5)
_OFFSET = 32768
_VALUES = 65536


def count_values(stored: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Count each int16 value of slices (s, r, c, channels): (channels, 65536)."""
    body = stored[mask].astype(np.int64) + _OFFSET
    return np.stack([np.bincount(values, minlength=_VALUES) for values in body.T])


def summarise(volumes: Iterable[np.ndarray], *, slices: int, pixels: int) -> dict:
    """Return the statistics of one split of one domain for prepared.json.

    Args:
        volumes: `count_values` of each of its volumes, at least one.
        slices, pixels: numbers of all its volumes, body or not.
    """
    counts, quartiles = 0, []
    for of_volume in volumes:
        counts = counts + of_volume
        quartiles.append([_percentile(c, 75) for c in of_volume])
    return {
        "slices": slices,
        "body_fraction": round(int(counts[0].sum()) / pixels, 4),
        "percentiles": [
            {f"{p:g}": _percentile(c, p) for p in PERCENTILES} for c in counts
        ],
        "upper_quartiles": [
            [min(of_channel), max(of_channel)]
            for of_channel in zip(*quartiles, strict=True)
        ],
    }


def _percentile(counts: np.ndarray, percent: float) -> int:
    return int(np.searchsorted(counts.cumsum(), counts.sum() * percent / 100)) - _OFFSET

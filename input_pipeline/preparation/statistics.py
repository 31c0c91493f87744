"""Exact statistics of stored values inside the body, from counts of each value."""

import numpy as np

from input_pipeline.intensity import AIR_HU

PERCENTILES = (0.5, 5, 25, 50, 75, 95, 99.5)
HISTOGRAM_STEP_HU = 10
_OFFSET = 32768
_VALUES = 65536


def count_values(stored: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Count each int16 value of slices (s, r, c, channels): (channels, 65536)."""
    body = stored[mask].astype(np.int64) + _OFFSET
    return np.stack([np.bincount(values, minlength=_VALUES) for values in body.T])


def summarise(counts: np.ndarray, *, slices: int, pixels: int, modality: str) -> dict:
    """Return the statistics of one split of one domain for prepared.json.

    Args:
        counts: (channels, 65536), of all its volumes.
        slices, pixels: numbers of all its volumes, body or not.
    """
    body = int(counts[0].sum())
    values = np.arange(_VALUES) - _OFFSET
    summary = {
        "slices": slices,
        "body_fraction": round(body / pixels, 4),
        "mean": [round(float(c @ values) / max(body, 1), 2) for c in counts],
        "percentiles": [
            {
                f"{p:g}": int(values[np.searchsorted(c.cumsum(), body * p / 100)])
                for p in PERCENTILES
            }
            for c in counts
        ],
    }
    if modality == "CT":
        start, stop = AIR_HU, 3076
        within = counts[0, start + _OFFSET : stop + _OFFSET]
        bins = within.reshape(-1, HISTOGRAM_STEP_HU).sum(axis=1)
        summary["histogram"] = {
            "start": start,
            "step": HISTOGRAM_STEP_HU,
            "counts": bins.tolist(),
        }
    return summary

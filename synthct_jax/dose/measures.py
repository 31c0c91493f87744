"""Measures of two doses on one grid: volume histograms, gamma, the range of a field.

Doses are in % of the prescribed dose, (slices, rows, columns).
"""

import functools
import math

import numpy as np
import scipy.ndimage

THRESHOLD = 10.0
"""Dose of the reference, in % of the prescribed, below which gamma is not evaluated."""

CRITERIA = ((1.0, 1.0), (2.0, 2.0), (3.0, 3.0))
"""Criteria of gamma: % of the prescribed dose, and mm."""

RANGE_LEVEL = 0.8
"""Share of a line's highest dose whose last passage is the range of protons there."""

_STEPS = 10  # of the search for gamma, in the distance to agreement
_SAMPLE_MM = 0.5
_REACH_MM = 400.0  # from the isocentre
_LINES_MM = np.arange(-8.0, 9.0, 4.0)  # from the axis, across it and along the patient

SETTINGS = (THRESHOLD, CRITERIA, RANGE_LEVEL, _STEPS, _SAMPLE_MM, _REACH_MM, *_LINES_MM)
"""All constants that numbers depend on."""


def dose_at_volume(dose: np.ndarray, mask: np.ndarray, percent: float) -> float:
    """Return the dose that `percent` of a structure's volume receive at least.

    D2 % is the dose near the maximum, D98 % that near the minimum (ICRU Report 83).
    NaN of an empty structure.
    """
    values = dose[mask]
    return float(np.percentile(values, 100 - percent)) if values.size else math.nan


def statistics(dose: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Return the mean dose of a structure and its D2 %, D50 % and D98 %."""
    values = dose[mask]
    shares = {f"d{percent}": percent for percent in (2, 50, 98)}
    return {
        "mean": float(values.mean(dtype=np.float64)) if values.size else math.nan,
        **{name: dose_at_volume(dose, mask, share) for name, share in shares.items()},
    }


def volume_histogram(
    dose: np.ndarray, mask: np.ndarray, levels: np.ndarray
) -> np.ndarray:
    """Return the % of a structure's volume that receives each level of dose or more."""
    values = np.sort(dose[mask])
    return 100 * (1 - np.searchsorted(values, levels) / max(values.size, 1))


def gamma_pass_rate(
    reference: np.ndarray,
    evaluated: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    percent: float,
    distance_mm: float,
) -> float:
    """Return the % of voxels with a gamma of 1 or less (Low et al., Med Phys 1998).

    Gamma is global: differences count relative to the prescribed dose. Voxels of the
    reference below THRESHOLD are left out; NaN without any. The evaluated dose is
    interpolated linearly, on steps of a tenth of the distance.
    """
    points = np.argwhere(reference >= THRESHOLD)
    total, expected = len(points), reference[reference >= THRESHOLD]
    if not total:
        return math.nan
    for offset, share in zip(*_search_offsets(), strict=True):
        places = points + offset * distance_mm / np.asarray(spacing_mm)
        dose = scipy.ndimage.map_coordinates(
            evaluated, places.T, order=1, mode="nearest"
        )
        # Not "> 1": NaN is farther apart than any number.
        apart = ~(((dose - expected) / percent) ** 2 + share <= 1)
        points, expected = points[apart], expected[apart]
        if not len(points):
            break
    return 100 * (1 - len(points) / total)


@functools.cache
def _search_offsets() -> tuple[np.ndarray, np.ndarray]:
    """Return the offsets of a unit ball, nearest first, and their squared lengths."""
    steps = np.arange(-_STEPS, _STEPS + 1) / _STEPS
    offsets = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    squares = (offsets**2).sum(axis=1)
    order = np.argsort(squares, kind="stable")[: np.count_nonzero(squares <= 1)]
    return offsets[order], squares[order]


def field_ranges_mm(
    dose: np.ndarray,
    body: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    isocentre: np.ndarray,
    gantry_degrees: float,
) -> np.ndarray:
    """Return the range of a proton field on lines along its axis, in mm.

    It is the depth below the surface of the body at which the dose falls to RANGE_LEVEL
    of the line's highest for the last time. Lines are parallel to the axis, at most 8
    mm from it.

    Args:
        dose: of the field alone.
        isocentre: in voxels.

    Returns:
        (lines,), NaN where a line has no dose or does not meet the body.
    """
    angle = math.radians(gantry_degrees)
    along = np.array([0.0, math.cos(angle), -math.sin(angle)])
    across = np.array([0.0, math.sin(angle), math.cos(angle)])
    patient = np.array([1.0, 0.0, 0.0])
    depths = np.arange(-_REACH_MM, _REACH_MM, _SAMPLE_MM)
    ranges = []
    for u in _LINES_MM:
        for v in _LINES_MM:
            if math.hypot(u, v) > _LINES_MM[-1]:
                continue
            start = u * across + v * patient
            places = start[:, None] + along[:, None] * depths
            places = isocentre[:, None] + places / np.array(spacing_mm)[:, None]
            ranges.append(_range_on_line(dose, body, places) * _SAMPLE_MM)
    return np.array(ranges)


def _range_on_line(dose: np.ndarray, body: np.ndarray, places: np.ndarray) -> float:
    """Return the samples from the surface of the body to the distal level of dose."""
    inside = scipy.ndimage.map_coordinates(body.astype(np.float32), places, order=1)
    profile = scipy.ndimage.map_coordinates(dose, places, order=1)
    level = RANGE_LEVEL * profile.max()
    surface, above = np.flatnonzero(inside > 0.5), np.flatnonzero(profile >= level)
    if not level > 0 or not len(surface) or above[-1] + 1 == len(profile):
        return math.nan
    last = above[-1]
    beyond = (profile[last] - level) / (profile[last] - profile[last + 1])
    return float(last + beyond - surface[0])

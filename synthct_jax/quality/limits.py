"""Limits of features, from those of healthy people.

A feature's limits are its range over the volumes, widened about its median by a factor
that all features share. The factor of a warning is the least with which at most 5 % of
the volumes get one, each judged by limits of the others. That of a refusal is twice
the farthest that any volume comes in an input feature: no healthy one is halfway there.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthct_jax.quality.features import INPUT, Feature

FALSE_ALARMS = 0.05
FEWEST_VOLUMES = 10
_REFUSE = 2.0
_NARROW = 0.5  # a side of the range is at least this part of the other side

Range = tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureLimits:
    """Usual values of a feature.

    Attributes:
        warn: outside of it a value is unusual.
        refuse: outside of it a scan is not translated; None for an output feature.
    """

    warn: Range
    refuse: Range | None


def fit_limits(
    volumes: Sequence[Mapping[str, float]], table: Mapping[str, Feature]
) -> dict[str, Any]:
    """Return the limits of each feature, JSON.

    Features that are the same in all volumes, or missing in one, get none.

    Args:
        volumes: values by feature, of one volume each.

    Returns:
        'limits': for each feature 'warn' and, of the input, 'refuse', low and high;
        'factors' of both; 'alarms': the share of volumes that get a warning when they
        are left out.

    Raises:
        ValueError: there are fewer than 10 volumes.
    """
    if len(volumes) < FEWEST_VOLUMES:
        raise ValueError(
            f"limits need {FEWEST_VOLUMES} volumes or more, there are {len(volumes)}"
        )
    names = [
        name
        for name in table
        if all(name in values for values in volumes)
        if len({values[name] for values in volumes}) > 1
    ]
    values = np.array([[v[name] for name in names] for v in volumes])
    excess = np.array(
        [
            _excess(value, *_range_of(np.delete(values, index, axis=0)))
            for index, value in enumerate(values)
        ]
    )
    farthest = np.sort(excess.max(axis=1))[::-1]
    warn = max(farthest[math.floor(FALSE_ALARMS * len(volumes))], 1.0)
    is_input = np.array([table[name].stage == INPUT for name in names])
    refuse = _REFUSE * max(excess[:, is_input].max(initial=0), warn)
    middle, below, above = _range_of(values)

    def widened(index: int, factor: float) -> list[float]:
        ends = (
            middle[index] - factor * below[index],
            middle[index] + (factor * above[index]),
        )
        return [float(f"{end:.4g}") for end in ends]

    limits = {}
    for index, name in enumerate(names):
        limits[name] = {"warn": widened(index, warn)}
        if is_input[index]:
            limits[name]["refuse"] = widened(index, refuse)
    return {
        "limits": limits,
        "factors": {"warn": round(float(warn), 3), "refuse": round(float(refuse), 3)},
        "alarms": round(float((farthest > warn).mean()), 4),
    }


def _range_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the median of each column, and the distances of its least and greatest."""
    middle = np.median(values, axis=0)
    below, above = middle - values.min(axis=0), values.max(axis=0) - middle
    return (
        middle,
        np.maximum(below, _NARROW * above),
        np.maximum(above, _NARROW * below),
    )


def _excess(
    value: np.ndarray, middle: np.ndarray, below: np.ndarray, above: np.ndarray
) -> np.ndarray:
    """Return the distance from the median, 1 at the ends of the range."""
    side = np.where(value < middle, below, above)
    distance = np.abs(value - middle)
    return np.where(distance > 0, distance / np.maximum(side, 1e-12), 0)


def read_limits(quality: Mapping[str, Any]) -> dict[str, FeatureLimits]:
    """Return the limits in what `fit_limits` has returned, perhaps read from JSON."""
    return {
        name: FeatureLimits(
            warn=tuple(limits["warn"]),
            refuse=tuple(limits["refuse"]) if "refuse" in limits else None,
        )
        for name, limits in quality["limits"].items()
    }

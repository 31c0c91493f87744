"""Limits of features, from those of healthy people.

A feature's limits lie k standard deviations beyond its range over the volumes, on both
sides. They are of the logarithm or the logit of a feature that spreads so, and none
lies outside the feature's domain. All features share k. That of a warning is the least
with which at most 5 % of the volumes get one, each judged by the limits of the others;
those with a fault by definition come on top. That of a refusal is 1.5 times the
distance, in deviations, of the farthest volume in a feature of the input, and at least
one more than that of a warning.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthct_jax.quality.features import (
    AMOUNT,
    CHOSEN,
    CORRELATION,
    EXCESS,
    INPUT,
    LINEAR,
    LOG,
    RARE,
    SHARE,
    Feature,
    is_measured,
)

FALSE_ALARMS = 0.05
FEWEST_VOLUMES = 10
_REFUSE, _APART = 1.5, 1.0
_LEAST_SHARE = 0.1  # %, and distance from 100 %
_LEAST = 1e-3  # of what spreads by factors
_NEXT_TO_NONE = 2.0  # % of a rare fault
# Standard deviations below which a difference would not matter, by spread, and by unit
# of what spreads evenly: chosen.
_NARROWEST = {LOG: 0.02, EXCESS: 0.02, SHARE: 0.2, RARE: 0.6}
_NARROWEST |= {AMOUNT: 1.0, CORRELATION: 0.02, "mm": 0.2, "HU": 2.0}

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

    Features that are CHOSEN, or undefined in a volume, get none.

    Args:
        volumes: values by feature, of one volume each.

    Returns:
        'limits': for each feature 'warn' and, of the input, 'refuse', low and high;
        'deviations': how many lie between the range and them; 'alarms': the share of
        volumes that get a warning when they are left out.

    Raises:
        ValueError: there are fewer than 10 volumes.
    """
    if len(volumes) < FEWEST_VOLUMES:
        raise ValueError(
            f"limits need {FEWEST_VOLUMES} volumes or more, there are {len(volumes)}"
        )
    judged = {
        name: feature
        for name, feature in table.items()
        if feature.spread != CHOSEN and is_measured(name, volumes)
    }
    even = np.array(
        [[_to_even(v[n], f.spread) for n, f in judged.items()] for v in volumes]
    )
    distances = np.array(
        [
            _distance(value, np.delete(even, index, axis=0), judged)
            for index, value in enumerate(even)
        ]
    )
    farthest = distances.max(axis=1)
    warn = float(np.sort(farthest)[::-1][math.floor(FALSE_ALARMS * len(volumes))])
    has_fault = [
        any(v[n] > f.largest_usual for n, f in judged.items()) for v in volumes
    ]
    of_input = [feature.stage == INPUT for feature in judged.values()]
    farthest_input = float(distances[:, of_input].max(initial=0))
    refuse = max(_REFUSE * farthest_input, warn + _APART)
    limits = {}
    ends = zip(
        even.min(axis=0), even.max(axis=0), _deviations(even, judged), strict=True
    )
    for (name, feature), (low, high, width) in zip(judged.items(), ends, strict=True):
        numbers = {"warn": warn}
        if feature.stage == INPUT:
            numbers["refuse"] = refuse
        limits[name] = {
            verdict: _from_even(
                low - number * width, high + number * width, feature.spread
            )
            for verdict, number in numbers.items()
        }
        usual = limits[name]["warn"]
        usual[1] = min(usual[1], feature.largest_usual)
        limits[name] = {
            verdict: list(_clip(limits_of, feature))
            for verdict, limits_of in limits[name].items()
        }
    return {
        "limits": limits,
        "deviations": {"warn": round(warn, 2), "refuse": round(refuse, 2)},
        "alarms": round(float(((farthest > warn) | has_fault).mean()), 4),
    }


def _distance(
    value: np.ndarray, others: np.ndarray, judged: Mapping[str, Feature]
) -> np.ndarray:
    """Return the distance of each feature from the range of others, in deviations."""
    is_one_sided = [
        feature.spread in (EXCESS, AMOUNT, RARE) for feature in judged.values()
    ]
    below = np.where(is_one_sided, 0, others.min(axis=0) - value)
    outside = np.maximum(below, value - others.max(axis=0))
    return np.maximum(outside, 0) / _deviations(others, judged)


def _deviations(values: np.ndarray, judged: Mapping[str, Feature]) -> np.ndarray:
    floors = [
        _NARROWEST.get(f.unit if f.spread == LINEAR else f.spread, 1e-6)
        for f in judged.values()
    ]
    return np.maximum(values.std(axis=0, ddof=1), floors)


def _to_even(value: float, spread: str) -> float:
    """Return a value on a scale on which healthy people spread evenly."""
    if spread in (LOG, EXCESS):
        return math.log(max(value, _LEAST))
    if spread == SHARE:
        share = min(max(value, _LEAST_SHARE), 100 - _LEAST_SHARE)
        return math.log(share / (100 - share))
    return math.log(value + _NEXT_TO_NONE) if spread == RARE else value


def _from_even(low: float, high: float, spread: str) -> list[float]:
    """Return the ends of a range on the feature's own scale.

    An end so far out that no fault lies beyond becomes 0, or 100 %.
    """
    if spread == RARE:
        low, high = 0.0, min(math.exp(high) - _NEXT_TO_NONE, 100.0)
    elif spread in (LOG, EXCESS):
        low, high = math.exp(low), math.exp(high)
        low = 0.0 if spread == EXCESS or low < _LEAST else low
    elif spread == AMOUNT:
        low = 0.0
    elif spread == CORRELATION:
        low, high = max(low, -1.0), min(high, 1.0)
    elif spread == SHARE:
        low, high = (100 / (1 + math.exp(-end)) for end in (low, high))
        low = 0.0 if low < _LEAST_SHARE else low
        high = 100.0 if high > 100 - _LEAST_SHARE else high
    return [float(f"{low:.4g}"), float(f"{high:.4g}")]


def _clip(limits: Sequence[float], feature: Feature) -> Range:
    """Return limits of which none lies outside the domain of a feature."""
    least, greatest = feature.domain
    return max(limits[0], least), min(limits[1], greatest)


def read_limits(
    quality: Mapping[str, Any], table: Mapping[str, Feature]
) -> dict[str, FeatureLimits]:
    """Return the limits in what `fit_limits` has returned, perhaps read from JSON.

    Those of an earlier version may lie outside the domain of a feature: they are moved
    into it. Limits of features that are not in the table are left out.
    """
    return {
        name: FeatureLimits(
            warn=_clip(limits["warn"], table[name]),
            refuse=_clip(limits["refuse"], table[name]) if "refuse" in limits else None,
        )
        for name, limits in quality["limits"].items()
        if name in table
    }

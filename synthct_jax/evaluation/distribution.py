"""Comparison of synthetic with real CT as distributions, beside real with real CT.

Real CT of different subjects differ, too. Every metric is therefore computed between
random halves of the real subjects: its value is that of synthetic CT of one half
against real CT of the other half, and the real-vs-real value is that of *real* CT of
the first half against the same; both are means over the same halves. A value within the
range of real-vs-real values is no larger than differences between subjects.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from synthct_jax.evaluation import metric_definitions
from synthct_jax.evaluation.volume_summary import Volumes, VolumeSummary, mean_of_finite
from synthct_jax.metrics.intervals import LEVEL, Interval, value_range

DIVISIONS = 50  # random divisions of the subjects
RESAMPLES = 200  # of subjects, for intervals
DIVISIONS_PER_RESAMPLE = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distance:
    """A distribution metric of synthetic CT.

    Attributes:
        interval: mean over the halves, or the value between all where there are too few
            to halve; with the 95 % interval by bootstrap over subjects, which one or
            two subjects on either side do not have; n counts the synthetic subjects.
        real_vs_real: the metric between real CT: mean and extremes over the halves; n
            counts all real subjects. None for a single one.
    """

    interval: Interval
    real_vs_real: Interval | None


class Division(NamedTuple):
    """A division of the subjects into halves: indices of CT on both sides.

    Attributes:
        synthetic: synthetic CT of the first half.
        first_real: real CT of the first half, which stand for synthetic ones.
        second_real: real CT of the second half.
    """

    synthetic: np.ndarray
    first_real: np.ndarray
    second_real: np.ndarray


class Reference:
    """Real CT to compare with. What is computed between them is computed once."""

    def __init__(self, real: Sequence[VolumeSummary]):
        """Raises ValueError without real CT."""
        if not real:
            raise ValueError("there is no real CT to compare with")
        self.real = list(real)
        self.names = np.array([volume.name for volume in real])
        self._volumes = Volumes([], self.real)
        self._metrics: dict[bytes, dict[str, float]] = {}

    def divisions(self, synthetic: Sequence[VolumeSummary]) -> list[Division]:
        """Return random divisions of the subjects; [] for a single real one.

        Synthetic and real CT of the same subject are recognised by the name: nobody is
        on both sides.
        """
        names = np.array([volume.name for volume in synthetic])
        rng = np.random.default_rng(0)
        divisions = [_divide(names, self.names, rng) for _ in range(DIVISIONS)]
        return [division for division in divisions if division is not None]

    def between_real(self, division: Division) -> dict[str, float]:
        """Return all metrics of real CT of the first half against the second."""
        first, second = division.first_real, division.second_real
        key = first.tobytes() + b"|" + second.tobytes()
        if key not in self._metrics:
            self._metrics[key] = self._volumes.metrics(first, second)
        return self._metrics[key]


def compare(
    synthetic: Sequence[VolumeSummary], reference: Reference, *, intervals: bool = True
) -> dict[str, Distance]:
    """Return every metric of `metric_definitions.DISTRIBUTION` that can be computed.

    A metric that is not defined between the real CT of a division (none of them has a
    tissue) is left out there. Intervals take most of the time.

    Raises:
        ValueError: there is no synthetic CT.
    """
    if not synthetic:
        raise ValueError("there is no synthetic CT to compare")
    volumes = Volumes(synthetic, reference.real)
    divisions = reference.divisions(synthetic)
    real_vs_real = [reference.between_real(division) for division in divisions]
    values = [
        volumes.metrics(division.synthetic, volumes.real[division.second_real])
        for division in divisions
    ] or [volumes.metrics(volumes.synthetic, volumes.real)]
    names = [name for name in values[0] if _is_comparable(name, volumes)]
    resampled = _resample(volumes, names) if intervals else []
    distances = {}
    for name in names:
        pairs = zip(values, real_vs_real or values, strict=True)
        value = mean_of_finite([v[name] for v, r in pairs if np.isfinite(r[name])])
        limits = metric_definitions.named(name).limits
        low, high = _ends(value, [m[name] for m in resampled], limits)
        distances[name] = Distance(
            interval=Interval(value=value, low=low, high=high, n=len(synthetic)),
            real_vs_real=value_range(
                [metrics[name] for metrics in real_vs_real], len(set(reference.names))
            ),
        )
    return distances


def sample_sizes(
    synthetic: Sequence[VolumeSummary], reference: Reference
) -> dict[str, list[int] | int | None]:
    """Return how many subjects and slices `compare` compares.

    Numbers are means over the random divisions; all are counted if the real CT cannot
    be divided.

    Returns:
        'synthetic' and 'real': [subjects, slices]. 'first_real': number of real
        subjects in the first half; None if there is no division.
    """
    divisions = reference.divisions(synthetic)
    sides = {
        "synthetic": (synthetic, [division.synthetic for division in divisions]),
        "real": (reference.real, [division.second_real for division in divisions]),
    }
    sizes: dict[str, list[int] | int | None] = {}
    for side, (volumes, choices) in sides.items():
        slices = np.array([volume.slices for volume in volumes])
        choices = choices or [np.arange(len(volumes))]
        sizes[side] = [
            round(float(np.mean([len(chosen) for chosen in choices]))),
            round(float(np.mean([slices[chosen].sum() for chosen in choices]))),
        ]
    first = [len(division.first_real) for division in divisions]
    return sizes | {"first_real": round(float(np.mean(first))) if first else None}


def _divide(
    synthetic: np.ndarray, real: np.ndarray, rng: np.random.Generator
) -> Division | None:
    """Divide subjects at random: half of the real ones to the second side.

    The first sides have equally many subjects, the same ones as far as possible. CT of
    one name stay together. Returns None where a side would be empty.
    """
    subjects = rng.permutation(np.unique(real))
    second, rest = subjects[: len(subjects) // 2], subjects[len(subjects) // 2 :]
    candidates = rng.permutation(np.setdiff1d(synthetic, second))
    shared = rest[np.isin(rest, candidates)]
    count = min(len(second), len(rest), len(candidates))
    if not count:
        return None
    own = candidates[~np.isin(candidates, shared)]
    others = rest[~np.isin(rest, shared)]

    def indices(names: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return np.flatnonzero(np.isin(names, chosen))

    return Division(
        synthetic=indices(synthetic, np.concatenate([shared, own])[:count]),
        first_real=indices(real, np.concatenate([shared, others])[:count]),
        second_real=indices(real, second),
    )


def _is_comparable(name: str, volumes: Volumes) -> bool:
    """Return False for differences between slices of different spacings."""
    spacings = [volume.slice_mm for volume in volumes.summaries]
    same = max(spacings) <= 1.05 * min(spacings)
    return same or name != "slice_difference_median"


def _resample(volumes: Volumes, names: Sequence[str]) -> list[dict[str, float]]:
    """Return metrics of bootstrap samples of the subjects, divided at random again.

    A subject that is drawn several times counts several times, on one side.
    """
    first, second = volumes.names[volumes.synthetic], volumes.names[volumes.real]
    if len(set(first)) < 2 or len(set(second)) < 2:
        return []
    # A subject on both sides is drawn for both, others for their side.
    own = np.setdiff1d(first, second), np.setdiff1d(second, first)
    strata = np.intersect1d(first, second), *own
    rng = np.random.default_rng(0)
    resampled = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([rng.choice(s, len(s)) for s in strata if len(s)])
        synthetic, real = (
            np.concatenate([side[volumes.names[side] == name] for name in drawn])
            for side in (volumes.synthetic, volumes.real)
        )
        names_of_both = volumes.names[synthetic], volumes.names[real]
        divisions = [
            _divide(*names_of_both, rng) for _ in range(DIVISIONS_PER_RESAMPLE)
        ]
        metrics = [
            volumes.metrics(synthetic[division.synthetic], real[division.second_real])
            for division in divisions
            if division
        ]
        if metrics:
            means = {n: float(np.mean([m[n] for m in metrics])) for n in names}
            resampled.append(means)
    return resampled


def _ends(
    value: float, resampled: Sequence[float], limits: metric_definitions.Limits
) -> tuple[float | None, float | None]:
    """Return the ends of the 95 % interval; None where it cannot be known.

    Resampled values are moved to have the value as their mean: distances come out too
    large where subjects are drawn repeatedly.
    """
    resampled = np.array([x for x in resampled if np.isfinite(x)])
    # Two subjects, drawn with repetition, are too often one that cannot be divided.
    if len(resampled) < 0.75 * RESAMPLES or not np.isfinite(value):
        return None, None
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(resampled - resampled.mean(), [tail, 100 - tail])
    return max(float(value + low), limits[0]), min(float(value + high), limits[1])

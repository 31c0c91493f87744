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
from synthct_jax.evaluation.volume_summary import (
    Volumes,
    VolumeSummary,
    mean_of_finite,
)
from synthct_jax.metrics.intervals import LEVEL, Interval

HALVES = 50  # random divisions of the subjects
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
        is_outside: whether the value is worse than all between real CT; None where too
            few real subjects make the range.
    """

    interval: Interval
    real_vs_real: Interval | None
    is_outside: bool | None


class Half(NamedTuple):
    """Indices of synthetic and real CT of the first half, and real CT of the second."""

    synthetic: np.ndarray
    first: np.ndarray
    second: np.ndarray


class Reference:
    """Real CT to compare with. What is computed between them is computed once."""

    def __init__(self, real: Sequence[VolumeSummary], *, seed: int = 0):
        """Raises ValueError without real CT."""
        if not real:
            raise ValueError("there is no real CT to compare with")
        self.real = list(real)
        self.names = np.array([one.name for one in real])
        self._seed = seed
        self._volumes = Volumes([], self.real)
        self._metrics: dict[bytes, dict[str, float]] = {}

    def halves(self, synthetic: Sequence[VolumeSummary]) -> list[Half]:
        """Return random divisions of the subjects; [] for a single real one.

        Synthetic and real CT of the same subject are recognised by the name: nobody is
        on both sides.
        """
        names = np.array([one.name for one in synthetic])
        rng = np.random.default_rng(self._seed)
        halves = [_divide(names, self.names, rng) for _ in range(HALVES)]
        return [half for half in halves if half is not None]

    def between_real(self, half: Half) -> dict[str, float]:
        """Return all metrics of real CT of the first half against the second."""
        key = half.first.tobytes() + b"|" + half.second.tobytes()
        if key not in self._metrics:
            self._metrics[key] = self._volumes.metrics(half.first, half.second)
        return self._metrics[key]


def compare(
    synthetic: Sequence[VolumeSummary], reference: Reference, *, intervals: bool = True
) -> dict[str, Distance]:
    """Return every metric of `metric_definitions.DISTRIBUTION` that can be computed.

    A metric that is not defined between the real CT of a division (none of them has a
    tissue) is left out there.

    Args:
        synthetic: of one or more subjects.
        reference: the real CT.
        intervals: False leaves them out: they take most of the time.

    Raises:
        ValueError: there is no synthetic CT.
    """
    if not synthetic:
        raise ValueError("there is no synthetic CT to compare")
    volumes = Volumes(synthetic, reference.real)
    halves = reference.halves(synthetic)
    if halves:
        real_vs_real = [reference.between_real(half) for half in halves]
        values = [
            volumes.metrics(half.synthetic, volumes.real[half.second])
            for half in halves
        ]
    else:
        real_vs_real = []
        values = [volumes.metrics(volumes.synthetic, volumes.real)]
    names = [name for name in values[0] if _is_comparable(name, volumes)]
    means = {
        name: mean_of_finite(
            [
                one[name]
                for one, real in zip(values, real_vs_real or values, strict=True)
                if np.isfinite(real[name])
            ]
        )
        for name in names
    }
    resampled = _resample(volumes, names) if intervals else []
    distances = {}
    for name, value in means.items():
        definition = metric_definitions.named(name)
        low, high = _ends(value, [one[name] for one in resampled], definition.limits)
        between_real = _range(
            [one[name] for one in real_vs_real], len(set(reference.names))
        )
        distances[name] = Distance(
            interval=Interval(value=value, low=low, high=high, n=len(synthetic)),
            real_vs_real=between_real,
            is_outside=definition.is_outside(value, between_real),
        )
    return distances


def sample_sizes(
    synthetic: Sequence[VolumeSummary], reference: Reference
) -> dict[str, list[int] | int | None]:
    """Return the mean numbers over the halves that `compare` compares.

    Returns:
        'synthetic' and 'real': [subjects, slices]; 'first_real': subjects of the real
        half in place of the synthetic one, None where real CT cannot be halved.
    """
    halves = reference.halves(synthetic)
    sides = {
        "synthetic": (synthetic, [half.synthetic for half in halves]),
        "real": (reference.real, [half.second for half in halves]),
    }
    sizes: dict[str, list[int] | int | None] = {}
    for side, (volumes, choices) in sides.items():
        slices = np.array([one.slices for one in volumes])
        choices = choices or [np.arange(len(volumes))]
        sizes[side] = [
            round(float(np.mean([len(chosen) for chosen in choices]))),
            round(float(np.mean([slices[chosen].sum() for chosen in choices]))),
        ]
    first = [len(half.first) for half in halves]
    return sizes | {"first_real": round(float(np.mean(first))) if first else None}


def _divide(
    synthetic: np.ndarray, real: np.ndarray, rng: np.random.Generator
) -> Half | None:
    """Divide subjects at random: half of the real ones to the second side.

    Args:
        synthetic, real: the subject's name of each CT; repeated names stay together.

    Returns:
        Indices; the first sides have equally many subjects, the same ones as far as
        possible. None where a side would be empty.
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

    return Half(
        synthetic=indices(synthetic, np.concatenate([shared, own])[:count]),
        first=indices(real, np.concatenate([shared, others])[:count]),
        second=indices(real, second),
    )


def _is_comparable(name: str, volumes: Volumes) -> bool:
    """False for differences between slices whose distances are not the same."""
    spacings = [one.slice_mm for one in volumes.all]
    same = max(spacings) <= 1.05 * min(spacings)
    return same or name != "slice_difference_median"


def _range(values: Sequence[float], subjects: int) -> Interval | None:
    """Return mean and extremes of the finite values."""
    finite = [float(value) for value in values if np.isfinite(value)]
    if not finite:
        return None
    return Interval(
        value=float(np.mean(finite)), low=min(finite), high=max(finite), n=subjects
    )


def _resample(volumes: Volumes, names: Sequence[str]) -> list[dict[str, float]]:
    """Return metrics of bootstrap samples of the subjects, divided at random again.

    A subject that is drawn several times counts several times, on one side.
    """
    first, second = volumes.names[volumes.synthetic], volumes.names[volumes.real]
    if len(set(first)) < 2 or len(set(second)) < 2:
        return []
    # A subject on both sides is drawn for both, others for their side.
    strata = (
        np.intersect1d(first, second),
        np.setdiff1d(first, second),
        np.setdiff1d(second, first),
    )
    rng = np.random.default_rng(0)
    resampled = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate(
            [
                rng.choice(subjects, len(subjects))
                for subjects in strata
                if len(subjects)
            ]
        )
        synthetic, real = (
            np.concatenate([side[volumes.names[side] == name] for name in drawn])
            for side in (volumes.synthetic, volumes.real)
        )
        divisions = [
            volumes.metrics(synthetic[half.synthetic], real[half.second])
            for _ in range(DIVISIONS_PER_RESAMPLE)
            if (half := _divide(volumes.names[synthetic], volumes.names[real], rng))
        ]
        if divisions:
            resampled.append(
                {
                    name: float(np.mean([one[name] for one in divisions]))
                    for name in names
                }
            )
    return resampled


def _ends(
    value: float, resampled: Sequence[float], limits: metric_definitions.Limits
) -> tuple[float | None, float | None]:
    """Return the ends of the 95 % interval; None where it cannot be known.

    Resampled values are moved to have the value as their mean: distances come out too
    large where subjects are drawn repeatedly.
    """
    resampled = np.array([one for one in resampled if np.isfinite(one)])
    # Two subjects, drawn with repetition, are too often one that cannot be divided.
    if len(resampled) < 0.75 * RESAMPLES or not np.isfinite(value):
        return None, None
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(resampled - resampled.mean(), [tail, 100 - tail])
    return max(float(value + low), limits[0]), min(float(value + high), limits[1])

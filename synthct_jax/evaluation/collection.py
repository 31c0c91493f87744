"""Collections of CT volumes against each other, with intervals and floors.

Of each volume a `Summary` is kept, small whatever the number of pixels. Real CT of
different people differ, too: every metric is therefore computed between halves. The
value is that of synthetic CT of one half of the people against real CT of the other
half, the floor that of *real* CT of the first half against the same; both as means over
the same random halves. A value inside the range of the floor says that the difference
is no larger than between people.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from synthct_jax.evaluation import catalogue
from synthct_jax.evaluation.collection_metrics import Summary, Table

HALVES = 50  # random divisions of the people
RESAMPLES = 100  # of people, for intervals
LEVEL = 0.95


@dataclasses.dataclass(frozen=True, kw_only=True)
class Floor:
    """What a metric is between halves of the real subjects.

    Attributes:
        mean, low, high: over the halves; low and high are the extremes.
        subjects: of the first half and of the second.
    """

    mean: float
    low: float
    high: float
    subjects: tuple[int, int]


class _Half(NamedTuple):
    """Indices: synthetic CT and real CT of the first half, real CT of the second."""

    synthetic: np.ndarray
    first: np.ndarray
    second: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """A metric between synthetic and real CT.

    Attributes:
        value: mean over the halves; between all, where there are too few to halve.
        low, high: 95 % interval by bootstrap over subjects, about the value; None for
            a single subject on either side.
        floor: the same metric between real CT; None for a single real subject.
        outside: whether the value is worse than any of the floor's; None without one.
        subjects, slices: of synthetic and of real CT, mean over the halves.
    """

    value: float
    low: float | None
    high: float | None
    floor: Floor | None
    outside: bool | None
    subjects: tuple[int, int]
    slices: tuple[int, int]


class Reference:
    """Real CT to compare with; what they are among themselves is found once."""

    def __init__(self, real: Sequence[Summary], *, seed: int = 0):
        """Raises ValueError where there are none."""
        if not real:
            raise ValueError("there is no real CT to compare with")
        self.real = list(real)
        self._seed = seed
        self._floors: dict[int, dict[str, Floor]] = {}

    def halves(self, synthetic: Sequence[Summary]) -> list[_Half]:
        """Random divisions of the real subjects, none where there is only one.

        Synthetic and real CT of the same people are recognised by their names: then
        nobody is on both sides.
        """
        count, real = len(synthetic), len(self.real)
        first, second = min(count, real // 2), real // 2
        if not first:
            return []
        rng = np.random.default_rng(self._seed)
        same = self.same_people(synthetic)
        found = []
        for _ in range(HALVES):
            order, other = rng.permutation(real), rng.permutation(count)
            found.append(
                _Half(
                    synthetic=(order if same else other)[:first],
                    first=order[:first],
                    second=order[real - second :],
                )
            )
        return found

    def same_people(self, synthetic: Sequence[Summary]) -> bool:
        return [one.name for one in synthetic] == [one.name for one in self.real]

    def floors(self, halves: Sequence[_Half]) -> dict[str, Floor]:
        """What every metric is between the first and the second halves."""
        if not halves:
            return {}
        size = len(halves[0].first)
        if size not in self._floors:
            table = Table([], self.real)
            found = [table.metrics(half.first, half.second) for half in halves]
            sizes = size, len(halves[0].second)
            floors = {
                name: _floor([f[name] for f in found], sizes) for name in found[0]
            }
            self._floors[size] = {k: v for k, v in floors.items() if v is not None}
        return self._floors[size]


def compare(
    synthetic: Sequence[Summary], reference: Reference, *, intervals: bool = True
) -> dict[str, Comparison]:
    """Every metric of `catalogue.COLLECTION` that can be computed.

    The interval is that of the metric between all subjects; its replicates are moved to
    have the value as their mean, since with repeated subjects distances come out too
    large.

    Args:
        intervals: off, they are None: most of the time goes into them.

    Raises:
        ValueError: there is no synthetic CT.
    """
    if not synthetic:
        raise ValueError("there is no synthetic CT to compare")
    real = reference.real
    table = Table(synthetic, real)
    halves = reference.halves(synthetic)
    floors = reference.floors(halves)
    if halves:
        start = len(synthetic)
        found = [table.metrics(half.synthetic, start + half.second) for half in halves]
        subjects = len(halves[0].synthetic), len(halves[0].second)
        slices = (
            _mean_slices(synthetic, [half.synthetic for half in halves]),
            _mean_slices(real, [half.second for half in halves]),
        )
    else:
        found = [table.metrics(*table.everybody)]
        subjects = len(synthetic), len(real)
        slices = sum(s.slices for s in synthetic), sum(s.slices for s in real)
    values = {name: _mean([f[name] for f in found]) for name in found[0]}
    ends = dict.fromkeys(values, (None, None))
    if intervals:
        ends = _intervals(table, values, same=reference.same_people(synthetic))
    return {
        name: Comparison(
            value=value,
            low=ends[name][0],
            high=ends[name][1],
            floor=floors.get(name),
            outside=_outside(name, value, floors.get(name)),
            subjects=subjects,
            slices=slices,
        )
        for name, value in values.items()
    }


def _mean_slices(summaries: Sequence[Summary], chosen: Sequence[np.ndarray]) -> int:
    counts = np.array([one.slices for one in summaries])
    return round(float(np.mean([counts[indices].sum() for indices in chosen])))


def _floor(values: Sequence[float], subjects: tuple[int, int]) -> Floor | None:
    values = np.asarray(values)
    if not np.isfinite(values).any():
        return None
    return Floor(
        mean=float(np.nanmean(values)),
        low=float(np.nanmin(values)),
        high=float(np.nanmax(values)),
        subjects=subjects,
    )


def _outside(name: str, value: float, floor: Floor | None) -> bool | None:
    if floor is None:
        return None
    low = catalogue.two_sided(name) or catalogue.named(name).better == "higher"
    high = catalogue.two_sided(name) or catalogue.named(name).better == "lower"
    # Not finite, where real CT are: a tissue is missing altogether.
    return bool(
        not np.isfinite(value)
        or (low and value < floor.low)
        or (high and value > floor.high)
    )


def _intervals(
    table: Table, values: Mapping[str, float], *, same: bool
) -> dict[str, tuple[float | None, float | None]]:
    first, second = table.everybody
    if min(len(first), len(second)) < 2:
        return dict.fromkeys(values, (None, None))
    rng = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        a = rng.integers(len(first), size=len(first))
        b = a if same else rng.integers(len(second), size=len(second))
        found.append(table.metrics(first[a], second[b]))
    tail = 50 * (1 - LEVEL)
    intervals = {}
    for name, value in values.items():
        replicates = np.array([f[name] for f in found])
        replicates = replicates[np.isfinite(replicates)]
        if not len(replicates) or not np.isfinite(value):
            intervals[name] = None, None
            continue
        low, high = np.percentile(replicates - replicates.mean(), [tail, 100 - tail])
        intervals[name] = float(value + low), float(value + high)
    return intervals


def _mean(values: Sequence[float]) -> float:
    values = np.asarray(values)
    return float(values.mean()) if np.isfinite(values).all() else float("nan")

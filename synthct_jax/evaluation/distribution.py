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

from synthct_jax.evaluation import metric_definitions
from synthct_jax.evaluation.distribution_metrics import Summary, Table

HALVES = 50  # random divisions of the people
RESAMPLES = 200  # of people, for intervals
DEALS = 4  # of each of them to two sides
LEAST_PEOPLE = 6  # real ones, for a floor to judge by
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
            one or two subjects on either side.
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
        self.names = np.array([one.name for one in real])
        self._seed = seed
        self._table = Table([], self.real)
        self._found: dict[bytes, dict[str, float]] = {}

    def halves(self, synthetic: Sequence[Summary]) -> list[_Half]:
        """Random divisions of the people, none where there is a single real one.

        Synthetic and real CT of the same person are recognised by the name: nobody is
        on both sides.
        """
        names = np.array([one.name for one in synthetic])
        rng = np.random.default_rng(self._seed)
        found = [_divide(names, self.names, rng) for _ in range(HALVES)]
        return [half for half in found if half is not None]

    def among_themselves(self, half: _Half) -> dict[str, float]:
        """All metrics of the real CT of the first half against those of the second."""
        key = half.first.tobytes() + b"|" + half.second.tobytes()
        if key not in self._found:
            self._found[key] = self._table.metrics(half.first, half.second)
        return self._found[key]


def compare(
    synthetic: Sequence[Summary], reference: Reference, *, intervals: bool = True
) -> dict[str, Comparison]:
    """Every metric of `catalogue.COLLECTION` that can be computed.

    A metric that is not defined between the real CT of a division (a tissue that none
    of them has) is left out there.

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
    if halves:
        start = len(synthetic)
        floors = [reference.among_themselves(half) for half in halves]
        found = [table.metrics(half.synthetic, start + half.second) for half in halves]
        sides = [half.synthetic for half in halves], [half.second for half in halves]
    else:
        floors = []
        found = [table.metrics(*table.everybody)]
        sides = [np.arange(len(synthetic))], [np.arange(len(real))]
    subjects = tuple(round(float(np.mean([len(i) for i in side]))) for side in sides)
    slices = _mean_slices(synthetic, sides[0]), _mean_slices(real, sides[1])
    firsts = round(float(np.mean([len(h.first) for h in halves]))) if halves else 0
    names = [name for name in found[0] if not _differs_by_protocol(name, table)]
    values = {
        name: _mean(
            [
                one[name]
                for one, floor in zip(found, floors or found, strict=True)
                if np.isfinite(floor[name])
            ]
        )
        for name in names
    }
    ends = dict.fromkeys(names, (None, None))
    if intervals:
        ends = _intervals(table, values)
    comparisons = {}
    for name, value in values.items():
        floor = _floor([f[name] for f in floors], (firsts, subjects[1]))
        # Between a few people nearly anything is outside of the range.
        judged = floor is not None and len(set(reference.names)) >= LEAST_PEOPLE
        comparisons[name] = Comparison(
            value=value,
            low=ends[name][0],
            high=ends[name][1],
            floor=floor,
            outside=worse_than(name, value, floor) if judged else None,
            subjects=subjects,
            slices=slices,
        )
    return comparisons


def worse_than(name: str, value: float, floor: Floor) -> bool:
    """Whether a value is worse than any of the floor's."""
    low = (
        metric_definitions.two_sided(name)
        or metric_definitions.named(name).better == "higher"
    )
    high = (
        metric_definitions.two_sided(name)
        or metric_definitions.named(name).better == "lower"
    )
    # Not finite, where real CT are: a tissue is missing altogether.
    return bool(
        not np.isfinite(value)
        or (low and value < floor.low)
        or (high and value > floor.high)
    )


def _divide(
    synthetic: np.ndarray, real: np.ndarray, rng: np.random.Generator
) -> _Half | None:
    """Deals people: half of the real ones to the second side, others to the first.

    Args:
        synthetic, real: whose each CT is; a name that comes twice stays together.

    Returns:
        Indices; the first sides are of equally many people, of the same ones as far as
        can be. None where a side would be empty.
    """
    people = rng.permutation(np.unique(real))
    second, rest = people[: len(people) // 2], people[len(people) // 2 :]
    candidates = rng.permutation(np.setdiff1d(synthetic, second))
    shared = rest[np.isin(rest, candidates)]
    count = min(len(second), len(rest), len(candidates))
    if not count:
        return None
    own = candidates[~np.isin(candidates, shared)]
    others = rest[~np.isin(rest, shared)]
    return _Half(
        synthetic=_of(synthetic, np.concatenate([shared, own])[:count]),
        first=_of(real, np.concatenate([shared, others])[:count]),
        second=_of(real, second),
    )


def _of(names: np.ndarray, people: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.isin(names, people))


def _mean_slices(summaries: Sequence[Summary], chosen: Sequence[np.ndarray]) -> int:
    counts = np.array([one.slices for one in summaries])
    return round(float(np.mean([counts[indices].sum() for indices in chosen])))


def _floor(values: Sequence[float], subjects: tuple[int, int]) -> Floor | None:
    values = np.asarray(values)
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    return Floor(
        mean=float(values.mean()),
        low=float(values.min()),
        high=float(values.max()),
        subjects=subjects,
    )


def _differs_by_protocol(name: str, table: Table) -> bool:
    """Jumps in HU are those of a distance of slices: others are not compared."""
    spacings = table.slice_spacings_mm
    return name == "jumps_median" and max(spacings) > 1.05 * min(spacings)


def _intervals(
    table: Table, values: Mapping[str, float]
) -> dict[str, tuple[float | None, float | None]]:
    """Bootstrap over people, who are dealt to two sides in each replicate, too.

    Whoever is drawn several times counts several times, on one side. Replicates are
    moved to have the value as their mean, since with repeated people distances come out
    too large.
    """
    first, second = table.everybody
    names = np.array(table.names)
    if len(set(names[first])) < 2 or len(set(names[second])) < 2:
        return dict.fromkeys(values, (None, None))
    # Who is in both is drawn for both; the others for their side.
    strata = (
        np.intersect1d(names[first], names[second]),
        np.setdiff1d(names[first], names[second]),
        np.setdiff1d(names[second], names[first]),
    )
    rng = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate(
            [rng.choice(people, len(people)) for people in strata if len(people)]
        )
        indices = [
            np.concatenate([side[names[side] == person] for person in drawn])
            for side in (first, second)
        ]
        deals = [
            table.metrics(indices[0][half.synthetic], indices[1][half.second])
            for _ in range(DEALS)
            if (half := _divide(*(names[i] for i in indices), rng)) is not None
        ]
        if deals:
            found.append({name: _mean_of([d[name] for d in deals]) for name in values})
    tail = 50 * (1 - LEVEL)
    intervals = {}
    for name, value in values.items():
        replicates = np.array([f[name] for f in found])
        replicates = replicates[np.isfinite(replicates)]
        # Two people, drawn with repetition, are too often one to be divided.
        if len(replicates) < 0.75 * RESAMPLES or not np.isfinite(value):
            intervals[name] = None, None
            continue
        low, high = np.percentile(replicates - replicates.mean(), [tail, 100 - tail])
        intervals[name] = float(value + low), float(value + high)
    return intervals


def _mean(values: Sequence[float]) -> float:
    """Of those that are defined; NaN where none is."""
    return _mean_of([value for value in values if np.isfinite(value)])


def _mean_of(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")

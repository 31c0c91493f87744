"""Metrics of the same subjects in several groups, and their paired differences."""

import dataclasses
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from synthct_jax.evaluation import metric_definitions
from synthct_jax.evaluation.comparison.inputs import Group, Identities
from synthct_jax.evaluation.metric_definitions import AT_LEAST_0, Metric
from synthct_jax.evaluation.results import NETWORK, REFERENCE_CT, Results
from synthct_jax.metrics import intervals
from synthct_jax.metrics.intervals import (
    BETTER,
    WORSE,
    Difference,
    Interval,
    Statistic,
    estimate,
    paired_difference,
)

DIFFERENT = "different"  # significantly, in a metric without a better side

# Subjects' livers differ in fat, and so in HU: a model may or may not follow that.
LIVER = "tissue:liver"
LINE_STATISTICS: Mapping[str, Statistic] = {
    "hu_slope": intervals.slope,
    "hu_correlation": intervals.correlation,
}
_TRANSFORMS = {"hu_correlation": intervals.FISHER_Z}

Pair = tuple[str, str]
"""Names of two groups: the difference is the first minus the second."""

Values = dict[str, np.ndarray]
"""By subject an array (seeds,); for LINE_STATISTICS (seeds, 2), the mean HU in the
reference CT and in the synthetic CT."""


@dataclasses.dataclass(frozen=True)
class Measure:
    """A metric of one region in every group that has it.

    All but differences are by group name.

    Attributes:
        values: empty for distances between distributions.
        means: over subjects and seeds. For distances between distributions over seeds,
            with the extremes of the seeds' intervals.
        distances: the same of the distance from the metric's best value where it has
            one, which is what differences are of; elsewhere equal to `means`.
        differences: of the pairs with subjects in common.
        references: the range of real CT against real CT, where known.
        outside: how many seeds are worse than that range.
    """

    metric: str
    region: str
    values: Mapping[str, Values]
    means: Mapping[str, Interval]
    distances: Mapping[str, Interval]
    differences: Mapping[Pair, Difference]
    references: Mapping[str, Interval] = dataclasses.field(default_factory=dict)
    outside: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def definition(self) -> Metric:
        return metric_definitions.named(self.metric, self.region)

    def subject_differences(self, pair: Pair) -> dict[str, float]:
        """Return the difference of comparable values of each shared subject."""
        subjects, arrays = _paired(self.values, pair)
        first, second = (
            self.definition.comparable(values).mean(axis=0) for values in arrays
        )
        return dict(zip(subjects, (first - second).tolist(), strict=True))


def measures(
    groups: Sequence[Group],
    identities: Identities,
    pairs: Sequence[Pair],
    *,
    subjects: Collection[str] | None,
    judge_seeds: bool,
) -> Iterator[Measure]:
    """Yield all that can be compared, in the order of the results.

    Args:
        groups, identities: the runs and their subjects, see `match_subjects`.
        pairs: the differences to take.
        subjects: those to compare; each measure is then of those that have a value in
            every group that has any. None: all that each group has.
        judge_seeds: whether a verdict needs more than one seed.
    """
    tables = {group.name: _values(group, identities[group.name]) for group in groups}
    keys = dict.fromkeys(key for table in tables.values() for key in table)
    for region, metric in keys:
        key = region, metric
        values = {name: table[key] for name, table in tables.items() if key in table}
        if subjects is not None:
            shared = set(subjects).intersection(*values.values())
            values = {
                name: {s: value for s, value in each.items() if s in shared}
                for name, each in values.items()
                if shared
            }
        if values:
            yield _measure(region, metric, values, pairs, judge_seeds=judge_seeds)
    yield from _distributions(groups)


def _measure(
    region: str,
    metric: str,
    values: Mapping[str, Values],
    pairs: Sequence[Pair],
    *,
    judge_seeds: bool,
) -> Measure:
    definition = metric_definitions.named(metric, region)
    statistic = LINE_STATISTICS.get(metric, intervals.mean)
    transform = _TRANSFORMS.get(metric, intervals.UNCHANGED)
    arrays = {name: _array(each.values()) for name, each in values.items()}
    means = distances = {
        name: estimate(statistic, array, limits=definition.limits, transform=transform)
        for name, array in arrays.items()
    }
    if definition.best is not None:
        distances = {
            name: estimate(statistic, definition.comparable(array), limits=AT_LEAST_0)
            for name, array in arrays.items()
        }
    differences = {}
    for pair in pairs:
        subjects, both = _paired(values, pair)
        if not subjects:
            continue
        difference = paired_difference(
            *map(definition.comparable, both),
            higher_is_better=definition.higher_is_better,
            statistic=statistic,
            limits=definition.difference_limits,
            judge_seeds=judge_seeds,
        )
        if not definition.better and difference.verdict in (BETTER, WORSE):
            difference = dataclasses.replace(difference, verdict=DIFFERENT)
        if math.isfinite(difference.interval.value):
            differences[pair] = difference
    return Measure(metric, region, values, means, distances, differences)


def _paired(
    values: Mapping[str, Values], pair: Pair
) -> tuple[list[str], list[np.ndarray]]:
    """Return the subjects of both groups, and each group's (seeds, subjects, ...)."""
    first, second = (values.get(name, {}) for name in pair)
    subjects = [subject for subject in first if subject in second]
    if not subjects:
        return [], []
    return subjects, [_array(each[s] for s in subjects) for each in (first, second)]


def _array(values: Iterable[np.ndarray]) -> np.ndarray:
    return np.stack(list(values), axis=1)


def _values(
    group: Group, identities: Sequence[Mapping[str, str]]
) -> dict[tuple[str, str], Values]:
    """Return a group's values, of subjects that have one in each of its runs."""
    runs = [
        _run_values(run.results, group.method, names)
        for run, names in zip(group.runs, identities, strict=True)
    ]
    table = {}
    for key, first in runs[0].items():
        each = [run.get(key, {}) for run in runs]
        subjects = [s for s in first if all(s in values for values in each)]
        if subjects:
            table[key] = {s: np.array([values[s] for values in each]) for s in subjects}
    return table


def _run_values(
    results: Results, method: str, identities: Mapping[str, str]
) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the finite values of a run by region and metric, then by subject."""
    values: dict[tuple[str, str], dict[str, Any]] = {}
    reference_hu = {}
    for row in results.rows:
        if not row.subject or not math.isfinite(row.value):
            continue
        subject = identities[row.subject]
        if row.method == method:
            values.setdefault((row.region, row.metric), {})[subject] = row.value
        elif (row.method, row.region, row.metric) == (REFERENCE_CT, LIVER, "mean_hu"):
            reference_hu[subject] = row.value
    errors = values.get((LIVER, "me"), {})
    pairs = {s: (hu, hu + errors[s]) for s, hu in reference_hu.items() if s in errors}
    if pairs:
        values |= {(LIVER, metric): pairs for metric in LINE_STATISTICS}
    return values


def _distributions(groups: Sequence[Group]) -> Iterator[Measure]:
    """Yield the distances between distributions, in the order of the results."""
    runs = [run.results for group in groups for run in group.runs]
    for metric in dict.fromkeys(m for run in runs for m in run.metrics("distribution")):
        means, references, outside = {}, {}, {}
        for group in groups:
            runs = [run.results for run in group.runs]
            seeds = [results.interval(metric, group.method) for results in runs]
            if None in seeds or not all(math.isfinite(seed.value) for seed in seeds):
                continue
            means[group.name] = _union(seeds)
            reference = runs[0].reference_range(metric)
            if group.method == NETWORK and reference is not None:
                references[group.name] = reference
                judged = [results.is_outside(metric) for results in runs]
                if None not in judged:
                    outside[group.name] = sum(judged)
        if means:
            body = metric_definitions.BODY
            yield Measure(metric, body, {}, means, means, {}, references, outside)


def _union(seeds: Sequence[Interval]) -> Interval:
    """Return the mean of the seeds, and the extremes of their intervals."""
    known = all(seed.low is not None for seed in seeds)
    return Interval(
        value=float(np.mean([seed.value for seed in seeds])),
        low=min(seed.low for seed in seeds) if known else None,
        high=max(seed.high for seed in seeds) if known else None,
        n=seeds[0].n,
    )

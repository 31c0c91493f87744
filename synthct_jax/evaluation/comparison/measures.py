"""Metrics of the same subjects in several runs, and their paired differences."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from synthct_jax.evaluation import metric_definitions
from synthct_jax.evaluation.comparison.runs import FIRST
from synthct_jax.evaluation.metric_definitions import Metric
from synthct_jax.metrics.bootstrap import Interval, mean_over_subjects

# With fewer, all subjects differ in one direction by chance in more than 5 % of cases.
FEWEST = 6

BETTER, WORSE = "better", "worse"
SAME = "not distinguishable"
TOO_FEW = "too few subjects to tell"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """Mean over subjects of a run's value minus that of A.

    Attributes:
        found: of the differences; of metrics where both sides are wrong, those of the
            distances from the best value.
        verdict: BETTER, WORSE, SAME or TOO_FEW.
    """

    found: Interval
    verdict: str

    @property
    def outside_0(self) -> bool | None:
        """Whether the interval leaves 0 out; None without one."""
        return _outside_0(self.found)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure:
    """A metric of the subjects that all runs have in common.

    Attributes:
        part: 'body', 'consistency', 'tissues', 'bands' or 'regions'.
        name: of the tissue, band or region, or empty.
        metric: as in `catalogue`.
        subjects: who have a value in every run that has any.
        values: of each run, by letter, in the order of subjects; absent where a run has
            none, such as the cycle error of a channel that it does not see.
    """

    part: str
    name: str
    metric: str
    subjects: tuple[str, ...]
    values: Mapping[str, tuple[float, ...]]

    @property
    def about(self) -> Metric:
        return metric_definitions.named(self.metric)

    @property
    def best_value(self) -> float | None:
        """Where both sides are wrong: what differences are of the distance from."""
        if not self.about.better.startswith("near"):
            return None
        return self.about.best

    def mean(self, letter: str) -> Interval | None:
        values = self.values.get(letter)
        return None if values is None else mean_over_subjects(values)

    def differences_of(self, letter: str) -> np.ndarray | None:
        """Of each subject, run minus A; below 0 is better if lower is."""
        if letter not in self.values or FIRST not in self.values:
            return None
        each = [np.array(self.values[which]) for which in (letter, FIRST)]
        if self.best_value is not None:
            each = [np.abs(values - self.best_value) for values in each]
        return each[0] - each[1]

    def difference(self, letter: str) -> Difference | None:
        """The run minus A, paired; None where one of them has no values."""
        values = self.differences_of(letter)
        if values is None:
            return None
        found = mean_over_subjects(values)
        if found.n < FEWEST:
            verdict = TOO_FEW
        elif not _outside_0(found):
            verdict = SAME
        else:
            verdict = BETTER if (found.mean > 0) == self.higher_is_better else WORSE
        return Difference(found=found, verdict=verdict)

    @property
    def higher_is_better(self) -> bool:
        return self.about.better == "higher"


def measures(
    subjects: Sequence[str], entries: Mapping[str, Sequence[Mapping]]
) -> Iterator[Measure]:
    """All that can be compared, in the order of the report.

    Args:
        subjects: their names.
        entries: of each run, by letter, what `Results.subjects` says of each of them.
    """
    for part, name, metric in _keys(entries):
        values = {}
        for letter, each in entries.items():
            of_run = [_value(entry, part, name, metric) for entry in each]
            if any(value is not None for value in of_run):
                values[letter] = of_run
        there = [
            place
            for place in range(len(subjects))
            if all(of_run[place] is not None for of_run in values.values())
        ]
        if there:
            yield Measure(
                part=part,
                name=name,
                metric=metric,
                subjects=tuple(subjects[place] for place in there),
                values={
                    letter: tuple(of_run[place] for place in there)
                    for letter, of_run in values.items()
                },
            )


def _keys(entries: Mapping[str, Sequence[Mapping]]) -> list[tuple[str, str, str]]:
    """Part, name and metric of all that any run has, in the order of the report."""
    keys: dict[tuple[str, str, str], None] = {}
    everyone = [entry for each in entries.values() for entry in each]
    for entry in everyone:
        keys |= dict.fromkeys(("body", "", metric) for metric in entry.get("body", {}))
    for part in ("regions", "bands", "tissues"):
        for entry in everyone:
            keys |= dict.fromkeys((part, name, "mae") for name in entry.get(part, {}))
    for entry in everyone:
        keys |= dict.fromkeys(("consistency", "", m) for m in entry["consistency"])
    return list(keys)


def _value(entry: Mapping, part: str, name: str, metric: str) -> float | None:
    found = entry.get(part) or {}
    if name:
        found = found.get(name) or {}
    value = found.get(metric)
    return value if value is not None and math.isfinite(value) else None


def _outside_0(found: Interval) -> bool | None:
    return None if found.low is None else found.low > 0 or found.high < 0

"""Everything that is compared of several evaluations."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synthct_jax.evaluation.comparison.measures import Measure, measures
from synthct_jax.evaluation.comparison.runs import Run
from synthct_jax.evaluation.comparison.subjects import common
from synthct_jax.evaluation.nested import MODEL


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that is said of several runs.

    Attributes:
        runs: A first.
        subjects: in common.
        measures: of these subjects.
        configuration: fields that are not the same in all runs, with the value of each
            by letter; None where a run has no such field.
        warnings: what a reader must know, as sentences.
    """

    runs: tuple[Run, ...]
    subjects: tuple[str, ...]
    measures: tuple[Measure, ...]
    configuration: Mapping[str, Mapping[str, Any]]
    warnings: tuple[str, ...]

    @property
    def collections(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Metric -> letter -> what `Results.distribution` says of the run's model."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for run in self.runs:
            for metric, entry in run.results.distribution[MODEL].items():
                found.setdefault(metric, {})[run.letter] = entry
        return found

    @property
    def main(self) -> Measure:
        """MAE in the body, or else the first that as many runs as possible have."""
        return max(self.measures, key=lambda m: (len(m.values), m.metric == "mae"))


def of_runs(runs: Sequence[Run]) -> Comparison:
    """Compares evaluations that have been read.

    Raises:
        ValueError: they have no subjects in common; names both.
    """
    subjects, warnings = common(runs)
    entries = {
        run.letter: {entry["name"]: entry[MODEL] for entry in run.results.subjects}
        for run in runs
    }
    chosen = {
        letter: [each[name] for name in subjects] for letter, each in entries.items()
    }
    return Comparison(
        runs=tuple(runs),
        subjects=subjects,
        measures=tuple(measures(subjects, chosen)),
        configuration=_configuration(runs),
        warnings=tuple(warnings),
    )


def _configuration(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    fields = {run.letter: dict(_fields(_described(run))) for run in runs}
    names = dict.fromkeys(name for of_run in fields.values() for name in of_run)
    table = {name: {c: of.get(name) for c, of in fields.items()} for name in names}
    return {
        name: values
        for name, values in table.items()
        if len({json.dumps(value) for value in values.values()}) > 1
    }


def _described(run: Run) -> dict[str, Any]:
    provenance = run.results.provenance
    return {
        "step": run.step,
        **(provenance.get("config") or {}),
        "trained with": provenance.get("trained_with_versions") or {},
    }


def _fields(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value

"""Which of several groups of runs is better, on the same subjects.

A group is one run, or the seeds of a variant. Subjects differ more among themselves
than methods do, so differences are taken subject by subject. With one seed in each
group this is the paired comparison over subjects; with several, the interval covers the
trainings as well (`metrics.intervals`). Neither intervals nor verdicts are corrected
for multiple comparisons.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synthct_jax.checkpoint.metadata import flatten
from synthct_jax.evaluation.comparison import differences
from synthct_jax.evaluation.comparison.differences import Measure, Pair
from synthct_jax.evaluation.comparison.inputs import (
    EvaluatedRun,
    Group,
    Identities,
    match_subjects,
)
from synthct_jax.evaluation.report.formatting import (
    FEW_SUBJECTS,
    count_noun,
    list_names,
)
from synthct_jax.metrics.intervals import FEWEST_SUBJECTS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that is said of several groups of runs.

    Attributes:
        baselines: methods without a network, which tables show below the groups.
        pairs: of groups, whose differences are taken.
        subjects: those that all groups have.
        measures: in the order of the results.
        configuration: fields that differ between groups, by group name; None where a
            group has no such field, a list where its seeds differ.
        warnings: what a reader must know, as sentences.
    """

    groups: tuple[Group, ...]
    baselines: tuple[Group, ...]
    pairs: tuple[Pair, ...]
    subjects: tuple[str, ...]
    measures: tuple[Measure, ...]
    configuration: Mapping[str, Mapping[str, Any]]
    warnings: tuple[str, ...]

    @property
    def main_measure(self) -> Measure:
        """Measure that most groups have; of equals the MAE in the body or the first."""
        return max(
            self.measures,
            key=lambda m: (len(m.values), (m.metric, m.region) == ("mae", "body")),
        )

    def measure(self, metric: str, region: str = "body") -> Measure | None:
        """Return a measure by its metric and region; None if no group has it."""
        key = metric, region
        return next((m for m in self.measures if (m.metric, m.region) == key), None)


def compare(
    groups: Sequence[Group],
    pairs: Sequence[Pair] | None = None,
    *,
    baselines: Sequence[Group] = (),
    warnings: Sequence[str] = (),
) -> Comparison:
    """Compare groups of runs.

    Args:
        groups: two or more, or one whose values are to be tabulated.
        pairs: the differences to take, each on the subjects that both groups have; all
            values of a group count in its means. Verdicts are about trainings in
            general: a group with one seed gets none. None: every group minus the first,
            means and differences are on the subjects that all groups have, and single
            seeds are judged where no group has several.
        baselines: methods without a network, for the tables.
        warnings: what a reader must know about the groups.

    Raises:
        ValueError: groups have no subjects in common; names both.
    """
    groups = tuple(groups)
    restricted = pairs is None
    judge_seeds = not restricted or any(len(group.runs) > 1 for group in groups)
    if pairs is None:
        pairs = [(group.name, groups[0].name) for group in groups[1:]]
    identities = match_subjects([*groups, *baselines])
    shared = _shared_subjects(groups, identities, refuse_none=restricted)
    return Comparison(
        groups=groups,
        baselines=tuple(baselines),
        pairs=tuple(pairs),
        subjects=shared,
        measures=tuple(
            differences.measures(
                [*groups, *baselines],
                identities,
                pairs,
                subjects=shared if restricted else None,
                judge_seeds=judge_seeds,
            )
        ),
        configuration=_configuration(groups),
        warnings=(*warnings, *_warnings(groups, identities, shared, restricted)),
    )


# --- subjects -------------------------------------------------------------------------


def _shared_subjects(
    groups: Sequence[Group], identities: Identities, *, refuse_none: bool
) -> tuple[str, ...]:
    """Return the identities of the subjects that all groups have, in A's order."""
    shared = _subjects(identities[groups[0].name])
    for group in groups[1:]:
        theirs = set(_subjects(identities[group.name]))
        shared = [subject for subject in shared if subject in theirs]
        if not shared and refuse_none:
            first, second = groups[0].runs[0], group.runs[0]
            namesakes = set(first.results.subjects) & set(second.results.subjects)
            reason = " (the same names, but other subjects)" if namesakes else ""
            raise ValueError(
                f"{first.folder} and {second.folder} have no subject in common"
                f"{reason}: {_data(first)} against {_data(second)}"
            )
    return tuple(shared)


def _subjects(runs: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the identities that all runs of a group have."""
    others = [set(names.values()) for names in runs[1:]]
    return [s for s in runs[0].values() if all(s in other for other in others)]


def _data(run: EvaluatedRun) -> str:
    data = run.results.data
    return (
        f"{data['source']} data, {data['split']} split, "
        f"{data['size']} pixels of {data['spacing_mm']:g} mm, "
        f"{list_names(run.results.subjects, at_most=3)}"
    )


# --- what a reader must know ----------------------------------------------------------


def _configuration(groups: Sequence[Group]) -> dict[str, dict[str, Any]]:
    fields = {group.name: _group_fields(group) for group in groups}
    names = dict.fromkeys(name for of_group in fields.values() for name in of_group)
    table = {name: {g: of.get(name) for g, of in fields.items()} for name in names}
    return {
        name: values
        for name, values in table.items()
        if len(set(map(json.dumps, values.values()))) > 1
    }


def _group_fields(group: Group) -> dict[str, Any]:
    """Return the fields of a group's configuration; a list where its seeds differ."""
    runs = []
    for run in group.runs:
        provenance = run.results.provenance
        trained_with = provenance.get("trained_with_versions") or {}
        fields = {**(provenance.get("config") or {}), "trained with": trained_with}
        runs.append({"step": run.step, **flatten(fields)})
    merged = {}
    for name in dict.fromkeys(name for fields in runs for name in fields):
        first, *others = values = [fields.get(name) for fields in runs]
        merged[name] = first if all(value == first for value in others) else values
    return merged


def _warnings(
    groups: Sequence[Group],
    identities: Identities,
    shared: Sequence[str],
    restricted: bool,
) -> Iterator[str]:
    data = {group.name: group.runs[0].results.data for group in groups}

    def differing(name: str) -> str | None:
        values = {group: str(of[name]) for group, of in data.items()}
        if len(set(values.values())) < 2:
            return None
        return "; ".join(f"{group}: {value}" for group, value in values.items())

    n = len(shared)
    if len(groups) > 1 and 0 < n < FEWEST_SUBJECTS:
        yield (
            f"Only {count_noun(n, 'subject')} in common: without any difference, all "
            f"would differ in the same direction in {2 / 2**n:.0%} of comparisons. "
            "Nothing is called better or worse."
        )
    elif 0 < n < FEW_SUBJECTS:
        yield f"Only {n} subjects: the intervals are wide and rely on a normal spread."
    if values := differing("split"):
        yield f"Evaluated on different splits ({values})."
    if any(of["split"] == "train" for of in data.values()):
        yield (
            "Some subjects were used for training: expect larger errors in new ones."
        )
    left_out = {
        g.name: len(_subjects(identities[g.name])) - n for g in groups if restricted
    }
    if any(left_out.values()):
        counts = ", ".join(f"{k} of {name}" for name, k in left_out.items() if k)
        yield (
            f"Only the {n} subjects in common are compared: {counts} are left out. "
            "Distances between distributions are of all subjects."
        )
    runs = [run for each in identities.values() for run in each]
    namesakes = {n for run in runs for n, identity in run.items() if n != identity}
    if namesakes:
        yield (
            "Subjects of the same name whose images or reference CT differ count as "
            f"different subjects: {', '.join(sorted(namesakes))}."
        )
    paired = all(run.results.paired for group in groups for run in group.runs)
    if not paired and (values := differing("data_dir")):
        yield (
            f"The prepared data are in different folders ({values}), and there is no "
            "reference CT to compare: subjects of the same name count as the same."
        )
    yield from _version_warnings(groups)


def _version_warnings(groups: Sequence[Group]) -> Iterator[str]:
    versions = {
        group.name: group.runs[-1].results.provenance.get("versions") or {}
        for group in groups
    }
    for library in dict.fromkeys(name for of in versions.values() for name in of):
        each = {group: of.get(library) for group, of in versions.items()}
        if len(set(each.values())) > 1:
            listed = ", ".join(f"{group} {value}" for group, value in each.items())
            yield f"Evaluated with different versions of {library}: {listed}."

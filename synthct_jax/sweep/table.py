"""A sweep's numbers: each variant with its interval, and which differences are real.

Where the truth is known, values are means over subjects and seeds, and intervals are
by both (`metrics.hierarchical`). Distances of collections have one value a run:
the mean over seeds, with the widest reach of the runs' own intervals.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from synthct_jax.evaluation.nested import ANSWERS, MODEL, TRIVIAL
from synthct_jax.metrics import haar_features, hierarchical
from synthct_jax.metrics.hierarchical import Estimate, estimate
from synthct_jax.sweep import plan_file as sweep_folder
from synthct_jax.sweep.plan_file import Plan, Run

FLOOR = "real CT against real CT"
SUPERVISED = "supervised_"


class Column(NamedTuple):
    """A number of the table, and where metrics.json has it.

    Attributes:
        path: below a subject's answer; of a distance, below distribution and answer.
        better: 'lower', 'higher', or empty where neither is.
        digits: after the point; None for three significant ones.
        absolute: its absolute value counts.
        collection: a distance of collections, one value a run.
    """

    title: str
    unit: str
    better: str
    digits: int | None
    path: tuple[str, ...]
    absolute: bool = False
    collection: bool = False


def _distance(name: str, title: str, unit: str, digits: int | None = None) -> Column:
    return Column(title, unit, "lower", digits, (name,), collection=True)


COLUMNS = {
    "mae": Column("MAE, body", "HU", "lower", 1, ("body", "mae")),
    "liver_mae": Column("MAE, liver", "HU", "lower", 1, ("tissues", "liver", "mae")),
    "liver_level": Column(
        "Liver level off by", "HU", "lower", 1, ("tissues", "liver", "me"), True
    ),
    "border_mae": Column(
        "MAE, fat-muscle border",
        "HU",
        "lower",
        1,
        ("regions", "fat_muscle_border", "mae"),
    ),
    "bone_mae": Column(
        "MAE, cortical bone", "HU", "lower", 0, ("tissues", "cortical_bone", "mae")
    ),
    "bone_dice": Column("Dice, bone", "", "higher", 3, ("body", "bone_dice")),
    "path_length_mae": Column(
        "MAE, path length", "mm of water", "lower", 2, ("body", "path_length_mae")
    ),
    "psnr": Column("PSNR", "dB", "higher", 1, ("body", "psnr")),
    "ssim": Column("SSIM", "", "higher", 3, ("body", "ssim")),
    "frechet": _distance(haar_features.NAME, "Fréchet distance, Haar features", ""),
    "kl": _distance("kl_real_synthetic", "KL(real ‖ synthetic)", "nats"),
    "spectral": _distance("spectral_distance", "Spectral distance", "log10", 3),
}
"""What the table shows, of what the evaluations have."""

COMPARED = ("mae", "liver_mae", "liver_level", "border_mae", "bone_mae")
"""Columns in which variants are compared on the same subjects."""

LIVER = {
    "slope": Column("Slope of liver", "", "", 2, ()),
    "correlation": Column("Correlation of liver", "", "higher", 2, ()),
}
"""How the mean HU of the synthetic liver follows that of the true one, from subject to
subject: livers differ in fat. 1 is perfect, 0 the same liver for all."""

_STATISTIC = {"slope": hierarchical.slope, "correlation": hierarchical.correlation}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the first table: estimates by name of column, or of LIVER."""

    label: str
    seeds: int | None
    subjects: int | None
    cells: Mapping[str, Estimate]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """One variant minus another on the same subjects."""

    variant: str
    other: str
    column: str
    found: Estimate

    @property
    def about(self) -> Column:
        return (COLUMNS | LIVER)[self.column]

    @property
    def verdict(self) -> str:
        """Who is better, where the interval leaves 0 out."""
        found = self.found
        if found.low is not None and min(found.seeds) < 2:
            return "one seed, not judged"
        if found.outside_0 is None:
            return "not known"
        if not found.outside_0:
            return "not told apart"
        said = "different"
        if self.about.better:
            wins = (found.value < 0) == (self.about.better == "lower")
            said = f"{self.variant if wins else self.other} is better"
        return said


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tables:
    """All that is said of a sweep.

    Attributes:
        plan: what was run.
        missing: runs without an evaluation.
        steps: that were evaluated, by run.
        split: of the data.
        rows: variants, then the trivial answers, then what distances are between real
            CT.
        livers: variants, where the truth is known; cells by name in LIVER.
        liver_hu: range of the subjects' true liver, mean HU.
        differences: of named pairs.
    """

    plan: Plan
    missing: tuple[Run, ...]
    steps: Mapping[Run, int]
    split: str
    rows: tuple[Row, ...]
    livers: tuple[Row, ...]
    liver_hu: tuple[float, float] | None
    differences: tuple[Difference, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of COLUMNS that anything is known of."""
        return tuple(
            name for name in COLUMNS if any(name in row.cells for row in self.rows)
        )


def tabulate(folder: Path) -> Tables | None:
    """The tables of all runs of a sweep that are evaluated; None: there are none.

    Raises:
        FileNotFoundError, ValueError: the folder is no sweep.
    """
    plan = sweep_folder.read_plan(folder)
    found: dict[Run, Mapping[str, Any]] = {}
    for run in plan.runs:
        metrics = sweep_folder.find_evaluation(
            sweep_folder.workdir(folder, run),
            sweep_folder.data_dir(folder, run.variant),
        )
        if metrics is not None:
            found[run] = metrics
    return of_evaluations(plan, found) if found else None


def of_evaluations(plan: Plan, found: Mapping[Run, Mapping[str, Any]]) -> Tables:
    """The tables out of metrics.json of each run (`results.Results`)."""
    by_variant = {
        variant: [metrics for run, metrics in found.items() if run.variant == variant]
        for variant in plan.variants
    }
    by_variant = {name: each for name, each in by_variant.items() if each}
    rows = [
        Row(
            label=variant,
            seeds=len(each),
            subjects=len(each[0]["subjects"]),
            cells=_cells(each, MODEL),
        )
        for variant, each in by_variant.items()
    ]
    first = next(iter(by_variant.values()))[:1]  # they do not depend on a training
    for answer, label in ((name, ANSWERS[name]) for name in TRIVIAL):
        if cells := _cells(first, answer):
            rows.append(
                Row(
                    label=label,
                    seeds=None,
                    subjects=len(first[0]["subjects"]),
                    cells=cells,
                )
            )
    if floors := _floors(first[0]):
        rows.append(Row(label=FLOOR, seeds=None, subjects=None, cells=floors))
    livers = {name: _liver_hu(each) for name, each in by_variant.items()}
    livers = {name: hu for name, hu in livers.items() if hu}
    true = [x for hu in livers.values() for pairs in hu.values() for x, _ in pairs]
    return Tables(
        plan=plan,
        missing=tuple(run for run in plan.runs if run not in found),
        steps={run: metrics["provenance"]["step"] for run, metrics in found.items()},
        split=first[0]["data"]["split"],
        rows=tuple(rows),
        livers=tuple(
            Row(
                label=name,
                seeds=len(next(iter(hu.values()))),
                subjects=len(hu),
                cells={key: _estimate_liver(key, hu) for key in LIVER},
            )
            for name, hu in livers.items()
        ),
        liver_hu=(min(true), max(true)) if true else None,
        differences=tuple(_differences(by_variant, livers)),
    )


def pairs(variants: Sequence[str]) -> list[tuple[str, str]]:
    """Which differences are asked for: a variant, and what is taken from it.

    What the second phase adds, what T2 adds, and how far each is from its ceiling.
    """
    inputs = [("in_out", "in"), ("in_out", "out"), ("in_out_t2", "in_out")]
    kinds = (("", ""), ("", "_noncontrast"), (SUPERVISED, ""))
    asked = [(f"{x}{a}{y}", f"{x}{b}{y}") for x, y in kinds for a, b in inputs]
    asked += [
        (name, SUPERVISED + name) for name in variants if SUPERVISED + name in variants
    ]
    return [(a, b) for a, b in asked if a in variants and b in variants]


# --- numbers --------------------------------------------------------------------------


def _estimate_liver(key: str, hu: Mapping) -> Estimate:
    found = estimate(_STATISTIC[key], _array(hu))
    if key != "correlation" or found.low is None:
        return found
    # A symmetric interval may reach beyond what a correlation can be.
    return dataclasses.replace(
        found, low=max(found.low, -1.0), high=min(found.high, 1.0)
    )


def _cells(evaluations: Sequence[Mapping], answer: str) -> dict[str, Estimate]:
    cells = {}
    for name, column in COLUMNS.items():
        if column.collection:
            found = _collection(evaluations, answer, column)
        else:
            values = _values(evaluations, answer, column)
            found = estimate(hierarchical.mean, _array(values)) if values else None
        if found is not None:
            cells[name] = found
    return cells


def _values(
    evaluations: Sequence[Mapping], answer: str, column: Column
) -> dict[str, list[float]]:
    """By subject the value of each seed, of the subjects whom all have."""
    each = []
    for metrics in evaluations:
        values = {}
        for subject in metrics["subjects"]:
            value = _at(subject.get(answer), column.path)
            if value is not None:
                values[subject["name"]] = abs(value) if column.absolute else value
        each.append(values)
    return {n: [v[n] for v in each] for n in each[0] if all(n in v for v in each)}


def _liver_hu(evaluations: Sequence[Mapping]) -> dict[str, list[tuple[float, float]]]:
    """By subject (true, synthetic) mean HU of the liver, of each seed."""
    liver = ("tissues", "liver")
    true, error = (
        _values(evaluations, MODEL, Column("", "", "", None, (*liver, name)))
        for name in ("true_mean", "me")
    )
    return {
        name: [(t, t + e) for t, e in zip(true[name], error[name], strict=True)]
        for name in true
        if name in error
    }


def _array(values: Mapping[str, Sequence]) -> np.ndarray:
    """(seeds, subjects, ...) of values by subject."""
    return np.swapaxes(np.array(list(values.values()), np.float64), 0, 1)


def _collection(
    evaluations: Sequence[Mapping], answer: str, column: Column
) -> Estimate | None:
    entries = [
        _at(metrics.get("distribution"), (answer, *column.path))
        for metrics in evaluations
    ]
    if any(entry is None or entry.get("value") is None for entry in entries):
        return None
    ends = [[entry.get(end) for entry in entries] for end in ("low", "high")]
    known = all(end is not None for each in ends for end in each)
    return Estimate(
        value=float(np.mean([entry["value"] for entry in entries])),
        low=min(ends[0]) if known else None,
        high=max(ends[1]) if known else None,
        seeds=(len(entries),),
        subjects=len(evaluations[0]["subjects"]),
    )


def _floors(metrics: Mapping) -> dict[str, Estimate]:
    cells = {}
    for name, column in COLUMNS.items():
        floor = _at(metrics.get("distribution"), (MODEL, *column.path, "floor"))
        if column.collection and floor and floor.get("mean") is not None:
            cells[name] = Estimate(
                value=floor["mean"],
                low=floor.get("low"),
                high=floor.get("high"),
                seeds=(),
                subjects=len(metrics["subjects"]),
            )
    return cells


def _differences(
    by_variant: Mapping[str, Sequence[Mapping]], livers: Mapping[str, Mapping]
) -> list[Difference]:
    found = []
    for variant, other in pairs(list(by_variant)):
        for column in (*COMPARED, *LIVER):
            if column in LIVER:
                both = [livers.get(name, {}) for name in (variant, other)]
                statistic = hierarchical.of_difference(_STATISTIC[column])
            else:
                both = [
                    _values(by_variant[name], MODEL, COLUMNS[column])
                    for name in (variant, other)
                ]
                statistic = hierarchical.of_difference(hierarchical.mean)
            common = [name for name in both[0] if name in both[1]]
            if common:
                arrays = [_array({n: each[n] for n in common}) for each in both]
                difference = Difference(
                    variant=variant,
                    other=other,
                    column=column,
                    found=estimate(statistic, *arrays),
                )
                if np.isfinite(difference.found.value):
                    found.append(difference)
    return found


def _at(tree: Any, path: Sequence[str]) -> Any:
    for name in path:
        if not isinstance(tree, Mapping):
            return None
        tree = tree.get(name)
    return tree

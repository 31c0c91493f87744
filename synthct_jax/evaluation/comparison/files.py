"""A comparison as files of numbers.

compare.json:

    format          1
    runs            of each {letter, label, folder, workdir, step, made, data}
    subjects        names of those in common
    configuration   field -> letter -> value, of fields that are not the same in all
    warnings        sentences
    measures        of each {part, name, metric, unit, better, distance_from, subjects,
                    values: letter -> one for each subject, means: letter -> INTERVAL,
                    differences: letter -> {INTERVAL, outside_0, verdict}}
    collections     metric -> letter -> {value, low, high, floor, outside, ...}, of all
                    subjects of a run, as in its metrics.json

An INTERVAL is {mean, low, high, n}. Differences are a run's value minus that of A; of
metrics where both sides are wrong, of the distances from `distance_from`.
"""

import csv
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from synthct_jax.evaluation import metric_definitions
from synthct_jax.evaluation.comparison.runs import FIRST
from synthct_jax.evaluation.comparison.side_by_side import Comparison

FORMAT = 1


def write_json(path: Path, comparison: Comparison) -> None:
    fields = {
        "format": FORMAT,
        "runs": [
            {
                "letter": run.letter,
                "label": run.label,
                "folder": str(run.folder.resolve()),
                "workdir": run.results.provenance.get("workdir"),
                "step": run.step,
                "made": run.results.made,
                "data": run.results.data,
            }
            for run in comparison.runs
        ],
        "subjects": comparison.subjects,
        "configuration": comparison.configuration,
        "warnings": comparison.warnings,
        "measures": [
            {
                "part": one.part,
                "name": one.name,
                "metric": one.metric,
                "unit": one.about.unit,
                "better": one.about.better,
                "distance_from": one.best_value,
                "subjects": one.subjects,
                "values": one.values,
                "means": {c: dataclasses.asdict(one.mean(c)) for c in one.values},
                "differences": {
                    letter: {
                        **dataclasses.asdict(difference.found),
                        "outside_0": difference.outside_0,
                        "verdict": difference.verdict,
                    }
                    for letter in one.values
                    if letter != FIRST and (difference := one.difference(letter))
                },
            }
            for one in comparison.measures
        ],
        "collections": comparison.collections,
    }
    text = json.dumps(fields, indent=1, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


_COLUMNS = (
    "table run minus part name metric unit better distance_from value low high "
    "floor_mean floor_low floor_high outside_floor subjects outside_0 verdict"
).split()


def write_csv(path: Path, comparison: Comparison) -> None:
    """The numbers as one table, a value a row.

    Columns: table (value, difference, collection), run (letter), minus (A, of a
    difference), part, name (of the tissue, band or region), metric, unit, better,
    distance_from, value, low, high, floor_mean, floor_low, floor_high, outside_floor,
    subjects, outside_0, verdict.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for row in to_rows(comparison):
            about = metric_definitions.named(row["metric"])
            row |= {"unit": about.unit, "better": about.better}
            writer.writerow({k: "" if v is None else v for k, v in row.items()})


def to_rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """The rows of compare.csv; what is empty is left out."""
    for one in comparison.measures:
        key = {"part": one.part, "name": one.name, "metric": one.metric}
        for letter in one.values:
            found = one.mean(letter)
            yield {
                "table": "value",
                "run": letter,
                **key,
                "value": found.mean,
                "low": found.low,
                "high": found.high,
                "subjects": found.n,
            }
        for letter in one.values:
            difference = None if letter == FIRST else one.difference(letter)
            if difference is None:
                continue
            yield {
                "table": "difference",
                "run": letter,
                "minus": FIRST,
                **key,
                "distance_from": one.best_value,
                "value": difference.found.mean,
                "low": difference.found.low,
                "high": difference.found.high,
                "subjects": difference.found.n,
                "outside_0": difference.outside_0,
                "verdict": difference.verdict,
            }
    for metric, entries in comparison.collections.items():
        for letter, entry in entries.items():
            floor = entry["floor"] or {}
            yield {
                "table": "collection",
                "run": letter,
                "part": "collection",
                "metric": metric,
                **{name: entry[name] for name in ("value", "low", "high")},
                **{f"floor_{end}": floor.get(end) for end in ("mean", "low", "high")},
                "outside_floor": entry["outside"],
                "subjects": entry["subjects"][0],
            }

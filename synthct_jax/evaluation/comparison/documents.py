"""The files of a comparison: a page, Markdown, and all numbers as CSV and JSON.

NAME.csv and the rows of NAME.json have a number each:

    table           'value' of a group, or 'difference' of two
    group, minus    names; of a difference, `minus` is taken from `group`
    region, metric, unit, better
    distance_from   the best value, where differences are of distances from it
    value, low, high
    real_low, real_value, real_high, outside
                    the range of real CT against real CT, and how many seeds are worse
    seeds, subjects
    verdict         of a difference
"""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from input_pipeline.files import replace_folder
from synthct_jax.evaluation.comparison import comparison_page, tables
from synthct_jax.evaluation.comparison.compare import Comparison, compare
from synthct_jax.evaluation.comparison.inputs import Group, read_groups
from synthct_jax.metrics.intervals import Interval

FOLDER = Path("comparison")
FORMAT = 2
_KINDS = ("html", "md", "csv", "json")
_COLUMNS = (
    "table group minus region metric unit better distance_from value low high "
    "real_value real_low real_high outside seeds subjects verdict"
).split()


def compare_runs(paths: Sequence[Path], output_dir: Path = FOLDER) -> Comparison:
    """Compare evaluations with the first of them, and write compare.html, .md, ...

    Args:
        paths: as of `inputs.read_groups`.
        output_dir: appears whole or not at all; replaces an older comparison.

    Raises:
        FileNotFoundError: there is no such folder, or no evaluation in it.
        ValueError: not two or more, one twice, no subjects in common, or `output_dir`
            holds something else.
    """
    names = [f"compare.{kind}" for kind in _KINDS]
    with replace_folder(output_dir, names, what="comparison") as folder:
        comparison = compare(read_groups(paths))
        for name, text in render("compare", comparison).items():
            (folder / name).write_text(text, encoding="utf-8")
    return comparison


def render(
    name: str,
    comparison: Comparison,
    *,
    title: str = "Comparison of evaluations",
    subtitle: str = "",
    pictures: bytes | None = None,
) -> dict[str, str]:
    """Return the texts of NAME.html, NAME.md, NAME.csv and NAME.json, by file name."""
    page = comparison_page.render(
        comparison, title=title, subtitle=subtitle, pictures=pictures
    )
    texts = (
        page,
        tables.to_markdown(comparison, subtitle),
        to_csv(comparison),
        to_json(comparison),
    )
    return {f"{name}.{kind}": text for kind, text in zip(_KINDS, texts, strict=True)}


def to_csv(comparison: Comparison) -> str:
    """Return the text of NAME.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(to_rows(comparison))
    return text.getvalue()


def to_json(comparison: Comparison) -> str:
    """Return the text of NAME.json."""
    fields = {
        "format": FORMAT,
        "groups": [_group_fields(group) for group in comparison.groups],
        "subjects": comparison.subjects,
        "configuration": comparison.configuration,
        "warnings": comparison.warnings,
        "rows": list(to_rows(comparison)),
    }
    return json.dumps(fields, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def to_rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Yield the rows of the files; fields that do not apply are left out."""
    seeds = {group.name: str(len(group.runs)) for group in comparison.groups}
    for measure in comparison.measures:
        definition = measure.definition
        about = {"region": measure.region, "metric": measure.metric}
        about |= {"unit": definition.unit, "better": definition.better}
        for group, interval in measure.means.items():
            row = {"table": "value", "group": group, **about}
            row |= _interval_fields(interval) | {"seeds": seeds.get(group, "")}
            if (real := measure.references.get(group)) is not None:
                row |= {"real_value": real.value, "real_low": real.low}
                row |= {"real_high": real.high, "outside": measure.outside.get(group)}
            yield row
        for (group, minus), difference in measure.differences.items():
            yield {
                "table": "difference",
                "group": group,
                "minus": minus,
                **about,
                "distance_from": definition.best,
                **_interval_fields(difference.interval),
                "seeds": f"{seeds[group]} {seeds[minus]}",
                "verdict": difference.verdict,
            }


def _interval_fields(interval: Interval) -> dict[str, Any]:
    return {
        "value": interval.value if math.isfinite(interval.value) else None,
        "low": interval.low,
        "high": interval.high,
        "subjects": interval.n,
    }


def _group_fields(group: Group) -> dict[str, Any]:
    runs = [
        {
            "folder": str(run.folder.resolve()),
            "workdir": run.results.provenance.get("workdir"),
            "step": run.step,
            "made": run.results.made,
            "data": run.results.data,
        }
        for run in group.runs
    ]
    return {"name": group.name, "label": group.label, "runs": runs}

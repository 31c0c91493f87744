"""The files of a comparison: a page, Markdown, and all numbers as CSV.

NAME.csv has a number in each row:

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
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from input_pipeline.files import replace_folder
from synthct_jax.evaluation.comparison import comparison_page, tables
from synthct_jax.evaluation.comparison.compare import Comparison, compare
from synthct_jax.evaluation.comparison.inputs import read_groups
from synthct_jax.metrics.intervals import Interval

FOLDER = Path("comparison")
_COLUMNS = (
    "table group minus region metric unit better distance_from value low high "
    "real_value real_low real_high outside seeds subjects verdict"
).split()


def compare_runs(paths: Sequence[Path], output_dir: Path) -> Comparison:
    """Compare evaluations with the first, and write compare.html, .md and .csv.

    Args:
        paths: as for `inputs.read_groups`.
        output_dir: written completely or not at all; an older comparison is replaced.

    Raises:
        FileNotFoundError: a folder is missing or has no evaluation.
        ValueError: there are not 2 to 26 paths, one is given twice, an evaluation
            cannot be read, no subject is in common, or `output_dir` holds other files.
    """
    names = [f"compare.{kind}" for kind in ("html", "md", "csv")]
    with replace_folder(output_dir, names, writer="comparison") as folder:
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
    """Return the texts of NAME.html, NAME.md and NAME.csv, by file name."""
    return {
        f"{name}.html": comparison_page.render(
            comparison, title=title, subtitle=subtitle, pictures=pictures
        ),
        f"{name}.md": tables.to_markdown(comparison, subtitle),
        f"{name}.csv": to_csv(comparison),
    }


def to_csv(comparison: Comparison) -> str:
    """Return the text of NAME.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(comparison))
    return text.getvalue()


def _rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Yield the rows of the file; fields that do not apply are left out."""
    seeds = {group.name: str(len(group.runs)) for group in comparison.groups}
    for measure in comparison.measures:
        definition = measure.definition
        about = {"region": measure.region, "metric": measure.metric}
        about |= {"unit": definition.unit, "better": definition.better}
        for group, interval in measure.means.items():
            row = {"table": "value", "group": group, "seeds": seeds.get(group)}
            row |= about | _interval_fields(interval)
            if (real := measure.references.get(group)) is not None:
                row |= {"real_value": real.value, "real_low": real.low}
                row |= {"real_high": real.high, "outside": measure.outside.get(group)}
            yield row
        for (group, minus), difference in measure.differences.items():
            row = {"table": "difference", "group": group, "minus": minus, **about}
            row |= _interval_fields(difference.interval)
            row |= {"seeds": f"{seeds[group]} {seeds[minus]}"}
            row |= {"distance_from": definition.best, "verdict": difference.verdict}
            yield row


def _interval_fields(interval: Interval) -> dict[str, Any]:
    value = interval.value if math.isfinite(interval.value) else None
    ends = {"low": interval.low, "high": interval.high}
    return {"value": value, "subjects": interval.n} | ends

"""The report of a dose check: a page, and the same numbers as JSON and CSV."""

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from input_pipeline import files
from synthct_jax.dose import measures
from synthct_jax.dose.cases import BULK, WATER
from synthct_jax.dose.plans import Plan
from synthct_jax.dose.rows import FIELDS, QUANTITIES, Row, mean_rows
from synthct_jax.dose.structures import (
    BODY,
    FROM_END_MM,
    LIVER_RADIUS_MM,
    TARGET,
)
from synthct_jax.evaluation.report.formatting import count_noun, few_subjects_notes
from synthct_jax.evaluation.report.rendering import render_page
from synthct_jax.evaluation.results import NETWORK, REFERENCE_CT
from synthct_jax.metrics.intervals import Interval
from synthct_jax.runtime.jsonl import null_not_finite

PAGE, NUMBERS, TABLE = "report.html", "dose.json", "dose.csv"
FILES = (PAGE, NUMBERS, TABLE)
FORMAT = 1

_METHODS = {
    NETWORK: "synthetic CT",
    BULK: "bulk densities",
    WATER: "water",
}
_COLUMNS = (
    (TARGET, "mean_difference"),
    (TARGET, "d98_difference"),
    (TARGET, "d2_difference"),
    *((BODY, name) for name in QUANTITIES if name.startswith("gamma")),
    (FIELDS, "range_error"),
)
_STRUCTURE_COLUMNS = (
    *((REFERENCE_CT, name) for name in ("mean", "d2")),
    *((NETWORK, f"{name}_difference") for name in ("mean", "d2", "d50", "d98")),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinishedPlan:
    """One plan of one subject: its rows and its picture, PNG."""

    subject: str
    plan: Plan
    rows: Sequence[Row]
    picture: bytes


def write(
    finished: Sequence[FinishedPlan],
    output: Path,
    *,
    engine: str,
    source: Mapping[str, Any],
    warnings: Sequence[str] = (),
) -> Path:
    """Write the report and its numbers; return the page.

    Args:
        output: folder to write; an older report in it is replaced.
        source: what was checked: JSON.
        warnings: of cases, for the page and the numbers.

    Raises:
        ValueError: there is no plan, or `output` holds something else.
    """
    if not finished:
        raise ValueError(
            f"no subject has a target: expected, {FROM_END_MM:g} mm or more from the "
            "first and the last slice, the spinal canal, or a place in the liver "
            f"{LIVER_RADIUS_MM / 2:g} mm or more from its surface"
        )
    of_subjects = [row for plan in finished for row in plan.rows]
    means = mean_rows(of_subjects)
    rows = [*means, *of_subjects]
    content = {
        "format": FORMAT,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "engine": engine,
        "gamma_threshold_percent": measures.THRESHOLD,
        **source,
        "warnings": warnings,
        "columns": Row._fields,
        "rows": rows,
    }
    with files.replace_folder(output, FILES, writer="dose check") as folder:
        (folder / PAGE).write_text(
            _render(finished, means, engine, warnings), encoding="utf-8"
        )
        text = json.dumps(null_not_finite(content), indent=1) + "\n"
        (folder / NUMBERS).write_text(text, encoding="utf-8")
        cells = ([*null_not_finite(r), QUANTITIES[r.quantity].unit] for r in rows)
        files.write_csv(folder / TABLE, [*Row._fields, "unit"], cells)
    return output / PAGE


def _render(
    finished: Sequence[FinishedPlan],
    means: Sequence[Row],
    engine: str,
    warnings: Sequence[str],
) -> str:
    subjects = dict.fromkeys(each.subject for each in finished)
    intervals = {
        row[1:5]: Interval(value=row.value, low=row.low, high=row.high, n=row.n)
        for row in means
    }
    plans = {each.plan.name: each.plan for each in finished}
    return render_page(
        "dose.html",
        title="Dose on the synthetic CT",
        subtitle=f"{count_noun(len(subjects), 'subject')} · {engine}",
        notes=[*few_subjects_notes(len(subjects)), *warnings],
        sections=[_section(plan, intervals) for plan in plans.values()],
        threshold=measures.THRESHOLD,
        finished=finished,
    )


def _section(
    plan: Plan, intervals: Mapping[tuple[str, ...], Interval]
) -> dict[str, Any]:
    """Return what the page has of a plan: methods, and structures of the network."""
    of_plan = {
        (method, structure, quantity): interval
        for (method, name, structure, quantity), interval in intervals.items()
        if name == plan.name
    }
    columns = [c for c in _COLUMNS if (NETWORK, *c) in of_plan]
    structures = dict.fromkeys(
        structure for method, structure, name in of_plan if name == "d2"
    )
    return {
        "plan": plan,
        "columns": [QUANTITIES[quantity] for _, quantity in columns],
        "methods": [
            (title, [of_plan[method, *column] for column in columns])
            for method, title in _METHODS.items()
        ],
        "structure_columns": [
            (QUANTITIES[quantity], method == REFERENCE_CT)
            for method, quantity in _STRUCTURE_COLUMNS
        ],
        "structures": [
            (
                structure,
                [
                    of_plan[method, structure, name]
                    for method, name in _STRUCTURE_COLUMNS
                ],
            )
            for structure in structures
        ],
        "fields": [
            (structure, of_plan[REFERENCE_CT, structure, "range"], interval)
            for (method, structure, name), interval in of_plan.items()
            if method == NETWORK and name == "range_shift"
        ],
    }

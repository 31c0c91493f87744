"""Figures of a model before and after its adaptation, and the rule that refuses it."""

import collections
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synthct_jax.evaluation.metric_definitions import named
from synthct_jax.evaluation.report.formatting import format_number
from synthct_jax.evaluation.results import Results, read_json
from synthct_jax.metrics import haar_features
from synthct_jax.quality.judgement import NOT_CALIBRATED, PASS, REFUSE, WARN

BODY_MAE = "simulated.mae"
DISTANCE = f"site.{haar_features.NAME}"
PASSES = f"sheet.{PASS}"
LARGEST_RISE = 0.1
"""Share by which BODY_MAE may rise."""

_METRICS = {
    "simulated": ("mae", "me"),
    "site": (haar_features.NAME, "kl_real_synthetic", "wasserstein"),
}
_LIGHTS = {PASS: "pass", WARN: "look closely", REFUSE: "refused"}
_FEATURE = "sheet.feature."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """A number of one model."""

    title: str
    unit: str
    value: float


def measure(folder: Path) -> dict[str, Figure]:
    """Return the figures of a model by key, from WORK/before or WORK/after."""
    figures = {}
    for name, metrics in _METRICS.items():
        results = read_json(folder / name / "metrics.json")
        for metric in metrics:
            figures[f"{name}.{metric}"] = Figure(
                title=f"{_subjects(name, results)}: {named(metric).title}",
                unit=named(metric).unit,
                value=results.interval(metric).value,
            )
    sheets = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("patients/*/quality.json"))
    ]
    return figures | count_lights(sheets)


def _subjects(name: str, results: Results) -> str:
    data = results.data
    mr, ct = (len(data[f"{domain}_subjects"]) for domain in ("mr", "ct"))
    if name == "simulated":
        return f"{mr} simulated people"
    return f"site, {mr} MR ({data['split']}) and {ct} CT ({data['real_ct_split']})"


def count_lights(sheets: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """Return how many MR have each light, and each feature outside its limits.

    Args:
        sheets: contents of quality.json. Of a model without limits there are no counts.
    """
    outcomes = collections.Counter(sheet["outcome"] for sheet in sheets)
    if NOT_CALIBRATED in outcomes:
        return {}
    counts = {f"sheet.{key}": (title, outcomes[key]) for key, title in _LIGHTS.items()}
    for sheet in sheets:
        for row in sheet["features"]:
            key = _FEATURE + row["name"]
            _, count = counts.get(key, ("", 0))
            unusual = row["verdict"] in (WARN, REFUSE)
            counts[key] = f"unusual, {row['meaning']}", count + unusual
    of = f"quality sheet of {len(sheets)} MR"
    return {
        key: Figure(title=f"{of}: {title}", unit="", value=count)
        for key, (title, count) in counts.items()
    }


def join(
    before: Mapping[str, Figure], after: Mapping[str, Figure]
) -> dict[str, dict[str, Any]]:
    """Return 'title', 'unit', 'before' and 'after' by key: JSON.

    None stands for a model without limits. Features that are usual in all MR are left
    out.
    """
    rows = {}
    for key, figure in {**before, **after}.items():
        values = {
            name: figures[key].value if key in figures else None
            for name, figures in (("before", before), ("after", after))
        }
        if not key.startswith(_FEATURE) or any(values.values()):
            rows[key] = {"title": figure.title, "unit": figure.unit, **values}
    return rows


def worse(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the reasons to refuse the adapted model, in words; empty without any.

    Its error on simulated people may rise by LARGEST_RISE, the distance of the site's
    synthetic CT to the site's CT has to fall, and no fewer MR may pass the sheet.
    """
    reasons = []
    before, after = (rows[BODY_MAE][name] for name in ("before", "after"))
    if not after <= (1 + LARGEST_RISE) * before:
        reasons.append(
            f"{named('mae').title} of simulated people rose by "
            f"{after / before - 1:.0%} from {before:.1f} to {after:.1f} HU, expected "
            f"{LARGEST_RISE:.0%} at most"
        )
    before, after = (rows[DISTANCE][name] for name in ("before", "after"))
    if not after < before:
        reasons.append(
            f"the Fréchet distance (Haar features) of its CT to the site's CT is "
            f"{after:.3g}, expected less than the {before:.3g} of before"
        )
    before, after = (rows[PASSES][name] for name in ("before", "after"))
    if before is not None and after < before:
        reasons.append(
            f"{after} of the site's MR pass the quality sheet, expected the {before} "
            "of before or more"
        )
    return reasons


def to_markdown(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of the figures."""
    lines = ["| | before | after |", "|---|---:|---:|"]
    for row in rows.values():
        numbers = (format_number(row[name]) for name in ("before", "after"))
        lines.append(f"| {describe(row)} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def describe(row: Mapping[str, Any]) -> str:
    """Return a figure's title with its unit."""
    return ", ".join(filter(None, (row["title"], row["unit"])))

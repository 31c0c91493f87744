"""The report of one evaluation: numbers, charts and example slices in one page."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from input_pipeline.display import WINDOWS
from synthct_jax.evaluation.distribution import DIVISIONS
from synthct_jax.evaluation.metric_definitions import (
    FEWEST_REAL_SUBJECTS,
    named,
    region_title,
)
from synthct_jax.evaluation.report import charts, figures, slice_figure
from synthct_jax.evaluation.report.example_slices import Slice
from synthct_jax.evaluation.report.formatting import (
    count_noun,
    few_subjects_notes,
    format_number,
    list_names,
)
from synthct_jax.evaluation.report.rendering import render_page
from synthct_jax.evaluation.results import METHODS, NETWORK, REFERENCE_CT, Results
from synthct_jax.metrics import haar_features

_MANY_REAL = 12  # real CT with which chance is as docs/planted_faults.md says

# The CT in three densities takes these from the reference CT.
_COPIED_FROM_REFERENCE = ("bone_dice", "bone_hd95", "air_dice")

_REGION_TABLES = {
    "band": "HU band of the reference CT",
    "border": "Region",
    "tissue": "Tissue",
    "pure": "Tissue, without partial volume",
}


def render(
    results: Results, *, slices: Sequence[Slice], curves: Sequence[Mapping[str, Any]]
) -> str:
    """Return the page as HTML.

    Args:
        slices: examples to show.
        curves: losses of the training, rows of metrics.jsonl; may be empty.
    """
    step, config = (results.provenance.get(name) for name in ("step", "config"))
    distribution = [
        name
        for name in results.metrics("distribution")
        # Without a value or a range there were too few subjects.
        if results.reference_range(name) or math.isfinite(results.interval(name).value)
    ]
    return render_page(
        "evaluation.html",
        title="Synthetic CT evaluation" + ("" if step is None else f", step {step}"),
        subtitle=_subtitle(results),
        notes=_notes(results),
        results=results,
        named=named,
        network=NETWORK,
        methods=METHODS,
        best_baseline=results.best_baseline(),
        frechet=haar_features.NAME,
        divisions=DIVISIONS,
        headlines=[name for name in distribution if named(name).headline],
        distribution=distribution,
        consistency=results.metrics("consistency"),
        paired_metrics=results.metrics("paired"),
        paired_headlines=[n for n in results.metrics("paired") if named(n).headline],
        best_methods={n: _best_method(results, n) for n in results.metrics("paired")},
        copied=_COPIED_FROM_REFERENCE,
        mae_chart=_mae_chart(results),
        region_tables=_region_tables(results),
        histogram_png=figures.histogram_figure(results.histograms),
        spectra_png=figures.spectra_figure(results.spectra, results.error_histogram),
        losses_png=figures.curves_figure(curves),
        slices=[(_caption(each), slice_figure.slice_figure(each)) for each in slices],
        ranked=any(each.rank for each in slices),
        cycled=any(each.cycled is not None for each in slices),
        windows=WINDOWS,
        error_hu=slice_figure.ERROR_HU,
        residual_percent=slice_figure.RESIDUAL_PERCENT,
        facts=_facts(results),
        config=config and json.dumps(config, indent=1, ensure_ascii=False),
    )


# --- text -----------------------------------------------------------------------------


def _subtitle(results: Results) -> str:
    data, step = results.data, results.provenance.get("step")
    facts = [
        f"{data['source']} data, {data['split']} split",
        f"MR of {count_noun(len(data['mr_subjects']), 'subject')}",
        "" if step is None else f"checkpoint of step {step}",
        results.made[:10],
    ]
    return " · ".join(filter(None, facts))


def _notes(results: Results) -> list[str]:
    """Return the warnings that a reader must see first."""
    data = results.data
    real = len(data["ct_subjects"])
    notes = few_subjects_notes(min(len(data["mr_subjects"]), real))
    if data["split"] == "train":
        notes.append(
            "The network was trained on these subjects: expect larger errors on others."
        )
    if data["real_ct_split"] != data["split"]:
        notes.append(
            f"The {data['split']} split has no CT. Real CT are those of the "
            f"{data['real_ct_split']} split."
        )
        if data["real_ct_split"] == "train":
            notes[-1] += " The network was trained on them."
    if real < 2:
        notes.append(
            "There is a single real CT: how much real CT differ from each other is "
            "unknown."
        )
    elif real < FEWEST_REAL_SUBJECTS:
        notes.append(
            f"Real CT are of only {real} subjects: how much they differ from each "
            "other is hardly known, so no measure is judged by it."
        )
    elif real < _MANY_REAL:
        notes.append(
            f"Real CT are of only {real} subjects: about one measure in twenty is "
            "outside their range by chance alone."
        )
    return notes + [f"{text.rstrip('.')}." for text in data["warnings"]]


def _caption(example: Slice) -> str:
    caption = f"{example.subject}, slice {example.index + 1} of {example.slices}"
    if example.rank:
        caption = f"{example.rank}: {caption}"
    if example.reference_ct is not None:
        return f"{caption}, MAE of the slice {format_number(example.score, 0)} HU"
    if example.score is not None:
        caption += f", mean cycle residual {format_number(50 * example.score, 1)} %"
    return (
        f"{caption}. The real CT is another subject's, {example.other_subject}: "
        "compare the appearance only"
    )


def _facts(results: Results) -> dict[str, str]:
    """Return what was evaluated, by heading; facts that are not known are left out."""
    data, provenance = results.data, results.provenance
    config = provenance.get("config") or {}
    people = {"all": "the same subjects", "some": "some of the same subjects"}
    channels = (config.get("data") or {}).get("mr_channels")
    channels = channels or data["stored_mr_channels"]
    versions = (provenance.get("versions") or {}).items()
    step = provenance.get("step")
    checkpoint = [None if step is None else f"step {step}", provenance.get("workdir")]
    facts = {
        "Data": f"{data['source']}, {data['split']} split ({data['data_dir']})",
        "MR": _volumes(data["mr_subjects"]),
        "Real CT": _volumes(data["ct_subjects"])
        + f" ({people.get(results.subject_overlap(), 'other subjects')})",
        "Slices": f"{data['size']} x {data['size']} pixels of "
        f"{data['spacing_mm']:g} mm",
        "MR channels": ", ".join(c.replace("_", " ") for c in channels),
        "Method": config.get("method", ""),
        "Checkpoint": ", ".join(filter(None, checkpoint)),
        "Model": " ".join(provenance.get(n, "") for n in ("model", "digest")).strip(),
        "Views": f"{(config.get('translate') or {}).get('views', 1)} of each slice",
        "Trained on": provenance.get("trained_on", ""),
        "Inception weights": provenance.get("inception", ""),
        "Versions": ", ".join(f"{name} {version}" for name, version in versions),
        "Evaluated": results.made.replace("T", " ").replace("+00:00", " UTC"),
    }
    return {name: text for name, text in facts.items() if text}


def _volumes(slices: Mapping[str, int]) -> str:
    subjects = count_noun(len(slices), "subject")
    return f"{subjects}, {sum(slices.values())} slices: {list_names(slices)}"


# --- numbers --------------------------------------------------------------------------


def _mae_chart(results: Results) -> charts.DotChart | None:
    """Return a chart of each subject's MAE in the body, with one row per method.

    Returns None if no method has values.
    """
    rows = [
        charts.DotRow(
            label=METHODS[method],
            values=values,
            interval=results.interval("mae", method),
            highlighted=method == NETWORK,
        )
        for method in results.methods
        if (values := results.values("mae", method))
    ]
    limits = named("mae").limits
    return charts.DotChart(rows, limits, include_zero=True) if rows else None


def _best_method(results: Results, metric: str) -> str | None:
    """Return the method with the best mean of a metric.

    None for a signed error: a mean near 0 may be errors that cancel.
    """
    better = named(metric).better
    if better not in ("lower", "higher"):
        return None
    means = {
        method: interval.value
        for method in results.methods
        if not (method == "bulk" and metric in _COPIED_FROM_REFERENCE)
        if (interval := results.interval(metric, method))
        and math.isfinite(interval.value)
    }
    choose = min if better == "lower" else max
    return choose(means, key=means.get) if means else None


def _region_tables(results: Results) -> list[dict[str, Any]]:
    """Return tables of the MAE and mean error by HU band, region and tissue.

    Each has a title, rows and the largest MAE. Tables without an MAE are left out;
    tissues are sorted by their share of the body.
    """
    voxels = {
        region: sum(results.values("voxels", REFERENCE_CT, region).values())
        for kind in _REGION_TABLES
        for region in results.regions(kind)
    }
    body_voxels = sum(voxels[region] for region in results.regions("band"))
    tables = []
    for kind, title in _REGION_TABLES.items():
        rows = [
            {
                "name": region_title(region),
                "region": region,
                "percent": 100 * voxels[region] / max(body_voxels, 1),
                "mae": results.interval("mae", region=region),
                "me": results.interval("me", region=region),
            }
            for region in results.regions(kind)
            if results.interval("mae", region=region)
        ]
        if kind in ("tissue", "pure"):
            rows.sort(key=lambda row: -row["percent"])
        if rows:
            largest = max(row["mae"].value for row in rows) or 1.0
            tables.append({"title": title, "rows": rows, "largest": largest})
    return tables

"""An evaluation as one HTML page that needs no network: numbers and pictures."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from synthct_jax.evaluation.distribution import HALVES, LEAST_PEOPLE
from synthct_jax.evaluation.report import figures as figures
from synthct_jax.evaluation.report import slice_figure as slice_pictures
from synthct_jax.evaluation.report import tables as tables
from synthct_jax.evaluation.report.example_slices import Slice
from synthct_jax.evaluation.report.style import CSS
from synthct_jax.evaluation.report.tables import count, number
from synthct_jax.evaluation.results import ANSWERS, MODEL, Results
from synthct_jax.metrics import haar_features

FEW = 10  # subjects; with fewer, intervals by bootstrap are too narrow
_ENOUGH_REAL = 12  # with more, chance is as docs/planted_faults.md says


def render(
    results: Results, *, slices: Sequence[Slice], curves: Sequence[Mapping[str, Any]]
) -> str:
    """The page.

    Args:
        results: the numbers.
        slices: to show.
        curves: rows of metrics.jsonl; none is fine.
    """
    sections = [
        _head(results),
        section("Pictures", _pictures(results, slices)),
        section("Errors against the true CT", _paired(results))
        if results.errors
        else "",
        section("Against real CT, as collections", _collection(results)),
        section("Against its own MR", _consistency(results)),
        section("Errors by part", _parts(results)) if results.errors else "",
        section("Hounsfield units and spectrum", _distributions(results)),
        section("Training", _training(curves)),
        section("What was evaluated", _evaluated(results)),
        section("How to read this", _definitions(results)),
    ]
    step = results.provenance.get("step")
    title = "Synthetic CT evaluation" + ("" if step is None else f", step {step}")
    return page(title, "".join(sections))


def page(title: str, content: str) -> str:
    """A whole page of sections."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{CSS}\n</style>\n</head>\n"
        f"<body>\n<main>\n{content}</main>\n</body>\n</html>\n"
    )


def section(title: str, content: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}</section>\n"


def image(png: bytes, text: str) -> str:
    """A picture inside the page."""
    data = base64.b64encode(png).decode("ascii")
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{data}">'


DISCLAIMER = (
    '<p class="notice"><b>Research software, not a medical device.</b> Not for '
    "diagnosis, not for planning a treatment.</p>\n"
)


# --- sections -------------------------------------------------------------------------


def _head(results: Results) -> str:
    data = results.data
    notes = []
    n = min(len(data["mr_subjects"]), len(data["ct_subjects"]))
    if n < FEW:
        notes.append(
            f"Only {count(n, 'subject')}: "
            + (
                "there is no interval, and "
                if n == 1
                else "intervals over so few are too narrow, and "
            )
            + "other people may give other numbers."
        )
    if data["split"] == "train":
        notes.append("These subjects were trained on: others may fare worse.")
    if data["real_ct_split"] != data["split"]:
        notes.append(
            f"The {data['split']} split has no CT: the real CT compared with are those "
            f"of the {data['real_ct_split']} split"
            + (
                ", which the network has seen."
                if data["real_ct_split"] == "train"
                else "."
            )
        )
    if len(data["ct_subjects"]) < 2:
        notes.append(
            "A single real CT cannot be divided into halves: nothing says how much "
            "real CT differ among themselves."
        )
    elif len(data["ct_subjects"]) < LEAST_PEOPLE:
        notes.append(
            f"The real CT are of {len(data['ct_subjects'])} subjects only: what they "
            "are among themselves is hardly known, and nothing is judged by it."
        )
    elif len(data["ct_subjects"]) < _ENOUGH_REAL:
        notes.append(
            f"The real CT are of {len(data['ct_subjects'])} subjects: between so few, "
            "about one measure in twenty is worse than real by chance alone."
        )
    notes += data["warnings"]
    step = results.provenance.get("step")
    what = [
        f"{data['source']} data, {data['split']} split",
        f"MR of {count(len(data['mr_subjects']), 'subject')}",
        "" if step is None else f"checkpoint of step {step}",
        results.made[:10],
    ]
    return (
        "<h1>Synthetic CT evaluation</h1>\n"
        f'<p class="quiet">{escape(" · ".join(filter(None, what)))}</p>\n'
        f'<p class="verdict">{_verdict(results)}</p>\n{DISCLAIMER}'
        + "".join(f'<p class="notice">{escape(note)}</p>\n' for note in notes)
    )


def _verdict(results: Results) -> str:
    best = results.best_baseline()
    name = escape(ANSWERS[best])
    outside = results.outside()
    compared = results.judged()
    floors = ""
    if compared:
        floors = (
            f" As a collection it is further from real CT than real CT are from each "
            f"other in <b>{len(outside)} of {compared}</b> measures."
        )
    if results.errors:
        mae = {answer: results.errors[answer]["mae"] for answer in (MODEL, best)}
        ours, trivial = mae[MODEL]["mean"], mae[best]["mean"]
        word = "better than" if ours < trivial else "no better than"
        ratio = f", of which this is {100 * ours / trivial:.0f} %" if trivial else ""
        return (
            f"In the body the synthetic CT is off by <b>{ours:.0f} HU</b> on average "
            f"over {count(mae[MODEL]['n'], 'subject')}. That is {word} the better "
            f"trivial answer, {name}: {trivial:.0f} HU{ratio}.{floors}"
        )
    values = {
        answer: results.distribution[answer][haar_features.NAME]["value"]
        for answer in (MODEL, best)
    }
    word = "closer to" if values[MODEL] < values[best] else "no closer to"
    whose = {
        "none": "MR and CT are of <b>different people</b>",
        "some": "MR and CT are of <b>the same people only in part</b>, on other grids",
        "all": "MR and CT are of the same people, but <b>on other grids</b>",
    }[results.people_in_common()]
    return (
        f"{whose}: there is no true CT to compare "
        "with, and nothing below says that anatomy or HU are right in a person. As a "
        f"collection, the synthetic CT are {word} real CT than the better trivial "
        f"answer, {name}: Fréchet distance <b>{number(values[MODEL], None)}</b> "
        f"against {number(values[best], None)}.{floors}"
    )


def _pictures(results: Results, slices: Sequence[Slice]) -> str:
    parts = []
    for one in slices:
        caption = f"{one.subject}, slice {one.index + 1} of {one.slices}"
        if one.truth is not None:
            caption += f", MAE of the slice {one.score:.0f} HU"
        else:
            if one.score is not None:
                caption += f", cycle residual {50 * one.score:.1f} %"
            caption += (
                f"; the real CT is of {one.other_subject}, another slice, for "
                "comparison of the looks only"
            )
        label = f"<b>{one.rank}.</b> " if one.rank else ""
        parts.append(
            f"<figure>{image(slice_pictures.slice_figure(one), caption)}"
            f"<figcaption>{label}{escape(caption)}</figcaption></figure>\n"
        )
    windows = ", ".join(
        f"{name} level {level:g} width {width:g}"
        for name, (level, width) in slice_pictures.WINDOWS.items()
    )
    choice = (
        "Of all slices the best, the median and the worst. "
        if any(one.rank for one in slices)
        else ""
    )
    if results.paired:
        choice += (
            "Error map: orange is too dense, blue not dense enough, to "
            f"{slice_pictures.ERROR_HU:g} HU. "
        )
    else:
        choice += "The real CT is <b>another one</b>, whose anatomy differs. "
    return (
        f'<p class="quiet">{choice}Cycle residual: what is lost from MR to CT and '
        f"back, to {100 * slice_pictures.RESIDUAL:g} % of the MR's range. Windows in "
        f"HU: {windows}.</p>\n" + "".join(parts)
    )


def _paired(results: Results) -> str:
    values = {
        answer: [
            subject[answer]["body"]["mae"]
            for subject in results.subjects
            if "body" in subject.get(answer, {})
        ]
        for answer in results.errors
    }
    intervals = {answer: results.errors[answer]["mae"] for answer in values}
    return (
        f"<figure>{figures.strip_plot(values, intervals)}"
        "<figcaption>MAE in the body in HU: a dot for each subject, the mean and its "
        "interval as lines. Left is better.</figcaption></figure>\n"
        + tables.paired(results)
        + '<p class="quiet">The best of a line is bold. The trivial answers know no '
        "anatomy. The true CT in three densities (air, soft tissue, bone at one HU "
        "each) knows all of the anatomy and is what bulk-density planning would use: "
        "a control for the path lengths.</p>\n"
    )


def _collection(results: Results) -> str:
    return (
        '<p class="quiet">No true CT is needed here. Beside each number stands what it '
        "is between two halves of the real subjects: its mean, and as a bar the range "
        f"over {HALVES} random divisions, no interval; the dot is the synthetic CT, in "
        "small its 95 % interval by bootstrap over subjects. A small distance "
        "is no proof of right anatomy: the mapped MR has the histogram of CT because "
        "it was made so, however wrong its tissues.</p>\n" + tables.collection(results)
    )


def _consistency(results: Results) -> str:
    return (
        '<p class="quiet">Means over subjects with 95 % intervals; no true CT is '
        "needed. Beside it, where known, what the true CT has, and its range over "
        "subjects.</p>\n" + tables.consistency(results) + tables.each_subject(results)
    )


def _parts(results: Results) -> str:
    return (
        '<p class="quiet">In HU, over the voxels of the true part, mean over the '
        "subjects that have it. ME above 0: the synthetic CT is too dense.</p>\n"
        + tables.parts(results, "bands", "Band of true HU")
        + tables.parts(results, "regions", "Region")
        + "<details open><summary>Tissues</summary>\n"
        + tables.parts(results, "tissues", "Tissue")
        + "</details>\n"
    )


def _distributions(results: Results) -> str:
    found = image(figures.histogram_figure(results.histograms), "histograms of HU")
    text = (
        f"<figure>{found}<figcaption>All voxels of the body, each CT in its own "
        "outline.</figcaption></figure>\n"
    )
    found = image(
        figures.spectra_figure(results.spectra, results.error_histogram),
        "power spectra and errors",
    )
    more = ", and the errors against the true CT" if results.error_histogram else ""
    return text + (
        f"<figure>{found}<figcaption>Power by spatial frequency of synthetic and real "
        f"CT, and their ratio{more}.</figcaption></figure>\n"
    )


def _training(curves: Sequence[Mapping[str, Any]]) -> str:
    png = figures.curves_figure(curves)
    if png is None:
        return '<p class="quiet">No losses were recorded.</p>\n'
    return f"<figure>{image(png, 'losses over steps')}</figure>\n"


def _evaluated(results: Results) -> str:
    data, provenance = results.data, results.provenance
    config = provenance.get("config") or {}
    people = {"all": "the same people", "some": "some of the same people"}.get(
        results.people_in_common(), "other people"
    )
    seen = (config.get("data") or {}).get("mr_channels") or data["stored_mr_channels"]
    facts = {
        "Data": f"{data['source']}, {data['split']} split ({data['data_dir']})",
        "MR": f"{count(len(data['mr_subjects']), 'subject')}, {data['mr_slices']} "
        f"slices: {_listed(data['mr_subjects'])}",
        "Real CT": f"{count(len(data['ct_subjects']), 'subject')}, "
        f"{data['ct_slices']} slices, {people}: {_listed(data['ct_subjects'])}",
        "Slices": f"{data['size']} x {data['size']} pixels of "
        f"{data['spacing_mm']:g} mm",
        "MR channels": ", ".join(seen).replace("_", " "),
        "Method": config.get("method", ""),
        "Checkpoint": ", ".join(
            str(part)
            for part in (
                f"step {provenance['step']}" if "step" in provenance else None,
                provenance.get("workdir"),
            )
            if part is not None
        ),
        "Trained on": provenance.get("trained_on", ""),
        "Inception": provenance.get("inception", ""),
        "Versions": ", ".join(
            f"{name} {version}"
            for name, version in (provenance.get("versions") or {}).items()
        ),
        "Evaluated": results.made.replace("T", " ").replace("+00:00", " UTC"),
    }
    rows = "".join(
        f"<dt>{name}</dt><dd>{escape(text)}</dd>\n"
        for name, text in facts.items()
        if text
    )
    more = ""
    if config:
        text = escape(json.dumps(config, indent=1, ensure_ascii=False))
        more = f"<details><summary>Configuration</summary><pre>{text}</pre></details>\n"
    return f"<dl>\n{rows}</dl>\n{more}"


def _definitions(results: Results) -> str:
    return (
        f"{tables.definitions(results)}"
        "<p>A collection of synthetic CT can look like real CT (small distances) and "
        "still show the wrong tissue in a person; only errors against a true CT tell. "
        "The trivial answers: 0 HU everywhere in the outline of the MR; and the "
        "in-phase MR (or its first channel) mapped so that the histogram in the body "
        "becomes that of the training CT.</p>\n"
        '<p class="quiet">All numbers: metrics.json and metrics.csv beside this page.'
        "</p>\n"
    )


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(names[:12]) + more

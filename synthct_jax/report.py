"""An evaluation as one HTML page that needs no network: numbers and pictures."""

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from synthct_jax import report_figures as figures
from synthct_jax.metrics import haar_features
from synthct_jax.report_figures import Slice
from synthct_jax.report_style import CSS
from synthct_jax.results import (
    ANSWERS,
    DISTRIBUTION,
    METRICS,
    MODEL,
    PAIRED,
    Results,
)

_FEW = 10  # subjects; with fewer, intervals by bootstrap are too narrow
_DIGITS = {"mae": 1, "rmse": 1, "me": 1, "psnr": 1, "ssim": 3}


def render(
    results: Results, *, slices: Sequence[Slice], curves: Sequence[Mapping[str, Any]]
) -> str:
    """The page.

    Args:
        results: the numbers.
        slices: one of each subject; a few are chosen.
        curves: rows of metrics.jsonl; none is fine.
    """
    sections = [
        _head(results),
        _section("Result", _result(results)),
        _section("Pictures", _pictures(results, slices)),
        _section("By tissue", _tissues(results)) if results.tissues else "",
        _section("Hounsfield units in the body", _histograms(results)),
        _section("Training", _training(curves)),
        _section("What was evaluated", _evaluated(results)),
        _section("How to read this", _definitions(results)),
    ]
    step = results.provenance.get("step")
    title = "Synthetic CT evaluation" + ("" if step is None else f", step {step}")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{CSS}\n</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


# --- sections -------------------------------------------------------------------------


def _head(results: Results) -> str:
    data = results.data
    notes = []
    n = min(len(data["mr_subjects"]), len(data["ct_subjects"]))
    if n < _FEW:
        narrow = "intervals over so few are too narrow, and " if results.paired else ""
        notes.append(
            f"Only {_count(n, 'subject')}: {narrow}other people may give other numbers."
        )
    if data["split"] == "train":
        notes.append("These subjects were trained on: others may fare worse.")
    if data["real_ct_split"] != data["split"]:
        notes.append(
            f"The {data['split']} split has no CT: the real CT compared with are those "
            f"of the {data['real_ct_split']} split."
        )
    notes += data["warnings"]
    step = results.provenance.get("step")
    what = [
        f"{data['source']} data, {data['split']} split",
        f"MR of {_count(len(data['mr_subjects']), 'subject')}",
        "" if step is None else f"checkpoint of step {step}",
        results.made[:10],
    ]
    return (
        "<h1>Synthetic CT evaluation</h1>\n"
        f'<p class="quiet">{escape(" · ".join(filter(None, what)))}</p>\n'
        f'<p class="verdict">{_verdict(results)}</p>\n'
        '<p class="notice"><b>Research software, not a medical device.</b> Not for '
        "diagnosis, not for planning a treatment.</p>\n"
        + "".join(f'<p class="notice">{escape(note)}</p>\n' for note in notes)
    )


def _verdict(results: Results) -> str:
    best = results.best_baseline()
    name = escape(ANSWERS[best])
    if results.errors:
        mae = {answer: results.errors[answer]["mae"] for answer in (MODEL, best)}
        ours, trivial = mae[MODEL]["mean"], mae[best]["mean"]
        word = "better than" if ours < trivial else "no better than"
        ratio = f", of which this is {100 * ours / trivial:.0f} %" if trivial else ""
        return (
            f"In the body the synthetic CT is off by <b>{ours:.0f} HU</b> on average "
            f"over {_count(mae[MODEL]['n'], 'subject')}. That is {word} the better "
            f"trivial answer, {name}: {trivial:.0f} HU{ratio}."
        )
    values = {
        answer: results.distribution[answer][haar_features.NAME]["value"]
        for answer in (MODEL, best)
    }
    word = "closer to" if values[MODEL] < values[best] else "no closer to"
    return (
        "MR and CT are of <b>different people</b>: there is no true CT to compare "
        "with, and nothing below says that anatomy or HU are right in a person. As a "
        f"collection, the synthetic CT are {word} real CT than the better trivial "
        f"answer, {name}: Fréchet distance <b>{_number(values[MODEL], None)}</b> "
        f"against {_number(values[best], None)}."
    )


def _evaluated(results: Results) -> str:
    data, provenance = results.data, results.provenance
    config = provenance.get("config") or {}
    people = "the same people" if results.paired else "other people"
    seen = (config.get("data") or {}).get("mr_channels") or data["stored_mr_channels"]
    facts = {
        "Data": f"{data['source']}, {data['split']} split ({data['data_dir']})",
        "MR": f"{_count(len(data['mr_subjects']), 'subject')}, {data['mr_slices']} "
        f"slices: {_listed(data['mr_subjects'])}",
        "Real CT": f"{_count(len(data['ct_subjects']), 'subject')}, "
        f"{data['ct_slices']} slices, {people}: {_listed(data['ct_subjects'])}",
        "Slices": f"{data['size']} x {data['size']} pixels of "
        f"{data['spacing_mm']:g} mm",
        "MR channels": ", ".join(seen).replace("_", " "),
        "Checkpoint": ", ".join(
            str(part)
            for part in (
                f"step {provenance['step']}" if "step" in provenance else None,
                provenance.get("workdir"),
            )
            if part is not None
        ),
        "Trained on": provenance.get("trained_on", ""),
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


def _result(results: Results) -> str:
    answers = results.answers
    head = "".join(f"<th>{_title(ANSWERS[answer])}</th>" for answer in answers)
    rows = []
    if results.errors:
        n = results.errors[MODEL]["mae"]["n"]
        rows.append(
            _part(
                f"Errors in the body: mean over {_count(n, 'subject')}"
                + (", 95 % interval by bootstrap over subjects" if n > 1 else ""),
                len(answers),
            )
        )
        for metric in PAIRED:
            entries = [results.errors[answer][metric] for answer in answers]
            cells = [
                (entry["mean"], _interval(entry, _DIGITS[metric])) for entry in entries
            ]
            rows.append(_row(metric, cells, digits=_DIGITS[metric]))
    sizes = results.distribution[MODEL][DISTRIBUTION[0]]
    rows.append(
        _part(
            f"Distance of the collections: n = {sizes['slices_synthetic']} synthetic "
            f"slices of {_count(sizes['subjects_synthetic'], 'subject')}, "
            f"{sizes['slices_real']} real slices of "
            f"{_count(sizes['subjects_real'], 'subject')}",
            len(answers),
        )
    )
    for metric in DISTRIBUTION:
        cells = [
            (results.distribution[answer][metric]["value"], "") for answer in answers
        ]
        rows.append(_row(metric, cells, digits=None))
    return (
        (_each_mae(results) if results.errors else "")
        + '<table class="even">\n'
        + f"<thead><tr><th></th>{head}</tr></thead>\n"
        + f"<tbody>\n{''.join(rows)}</tbody>\n</table>\n"
        + '<p class="quiet">The best of a line is bold. The trivial answers know no '
        "anatomy. The mapped MR has the histogram of CT because it was made so, "
        "however wrong its tissues: a small distance between collections is no "
        "proof.</p>\n" + _each_subject(results)
    )


def _row(metric: str, cells: Sequence[tuple[float, str]], *, digits: int | None) -> str:
    about = METRICS[metric]
    # A mean error near 0 may be errors that cancel: there is no best one.
    values = [value for value, _ in cells]
    best = {"lower": min(values), "higher": max(values)}.get(about.better)
    text = "".join(
        f"<td{' class=best' if value == best else ''}>"
        f"{_number(value, digits)}{f'<small>{small}</small>' if small else ''}</td>"
        for value, small in cells
    )
    unit = ", ".join(part for part in (about.unit, f"{about.better} is better") if part)
    return f"<tr><td>{escape(about.title)}<small>{unit}</small></td>{text}</tr>\n"


def _part(text: str, answers: int) -> str:
    return f'<tr class="part"><td colspan="{answers + 1}">{escape(text)}</td></tr>\n'


def _each_mae(results: Results) -> str:
    values = {
        answer: [
            subject[answer]["body"]["mae"]
            for subject in results.subjects
            if answer in subject
        ]
        for answer in results.answers
    }
    intervals = {answer: results.errors[answer]["mae"] for answer in values}
    return (
        f"<figure>{figures.strip_plot(values, intervals)}"
        "<figcaption>MAE in the body in HU: a dot for each subject, the mean and its "
        "interval as lines. Left is better.</figcaption></figure>\n"
    )


def _each_subject(results: Results) -> str:
    known = [subject for subject in results.subjects if MODEL in subject]
    if not known:
        return ""
    head = "".join(f"<th>{METRICS[metric].title}</th>" for metric in PAIRED)
    rows = "".join(
        f"<tr><td>{escape(subject['name'])}</td><td>{subject['slices']}</td>"
        + "".join(
            f"<td>{_number(subject[MODEL]['body'][metric], _DIGITS[metric])}</td>"
            for metric in PAIRED
        )
        + "</tr>\n"
        for subject in known
    )
    return (
        "<details><summary>Each subject</summary>\n<table>\n<thead><tr><th>Subject</th>"
        f"<th>Slices</th>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"
        "</details>\n"
    )


def _tissues(results: Results) -> str:
    table = results.tissues
    body = sum(entry["voxels"] for entry in table[MODEL].values())
    worst = max(entry["mae"]["mean"] for entry in table[MODEL].values()) or 1.0
    trivial = [answer for answer in results.answers if answer != MODEL]
    head = "".join(
        f"<th>MAE<small>{escape(ANSWERS[answer])}</small></th>" for answer in trivial
    )
    rows = []
    largest_first = sorted(table[MODEL].items(), key=lambda item: -item[1]["voxels"])
    for tissue, entry in largest_first:
        part = f"--part:{100 * entry['mae']['mean'] / worst:.0f}%"
        others = [table[answer][tissue]["mae"]["mean"] for answer in trivial]
        rows.append(
            f"<tr><td>{escape(tissue.replace('_', ' '))}</td>"
            f"<td>{100 * entry['voxels'] / body:.1f} %</td><td>{entry['mae']['n']}</td>"
            f'<td class="bar" style="{part}">{_number(entry["mae"]["mean"], 0)}</td>'
            f'<td class="quiet">{_interval(entry["mae"], 0) or "–"}</td>'
            f"<td>{_signed(entry['me']['mean'])}</td>"
            + "".join(f"<td>{_number(value, 0)}</td>" for value in others)
            + "</tr>\n"
        )
    return (
        '<p class="quiet">In HU, over the voxels of the true tissue, mean over the '
        "subjects that have it. ME above 0: the synthetic CT is too dense.</p>\n"
        '<table class="dense">\n<thead><tr><th>Tissue</th>'
        "<th>Share of<small>the body</small></th><th>n<small>subjects</small></th>"
        "<th>MAE<small>synthetic CT</small></th><th>95 %<small>interval</small></th>"
        f"<th>ME<small>synthetic CT</small></th>{head}</tr></thead>\n"
        f"<tbody>\n{''.join(rows)}</tbody>\n</table>\n"
    )


def _pictures(results: Results, slices: Sequence[Slice]) -> str:
    stored = results.data["stored_mr_channels"]
    config = results.provenance.get("config") or {}
    seen = (config.get("data") or {}).get("mr_channels") or stored
    channels = {name: stored.index(name) for name in seen if name in stored}
    parts = []
    for rank, one in figures.choose(slices):
        place = f"slice {one.index + 1} of {one.slices}"
        if one.truth is not None:
            caption = f"{one.subject}, {place}, MAE of the subject {one.mae:.0f} HU"
        else:
            caption = (
                f"MR and synthetic CT of {one.subject}, {place}; the real CT is of "
                f"{one.other_subject}, for comparison of the looks only"
            )
        image = _image(figures.slice_figure(one, channels), caption)
        label = f"<b>{rank}.</b> " if rank else ""
        parts.append(
            f"<figure>{image}<figcaption>{label}{escape(caption)}</figcaption></figure>\n"
        )
    soft, wide = (
        f"level {level:g}, width {width:g} HU"
        for level, width in (figures.SOFT_TISSUE, figures.WIDE)
    )
    if results.paired:
        choice = (
            "Of each subject the slice with its median error. Error map: orange is too "
            f"dense, blue not dense enough, to {figures.ERROR_HU:g} HU."
        )
    else:
        choice = (
            "The middle slice of each. Right: a real CT of <b>another person</b>, "
            "whose anatomy differs."
        )
    return (
        f'<p class="quiet">{choice} Soft tissue: {soft}; wide: {wide}.</p>\n'
        + "".join(parts)
    )


def _histograms(results: Results) -> str:
    image = _image(figures.histogram_figure(results.histograms), "histograms of HU")
    return (
        f"<figure>{image}<figcaption>All voxels of the body: synthetic CT in the "
        "outline that the MR shows, real CT in its own.</figcaption></figure>\n"
    )


def _training(curves: Sequence[Mapping[str, Any]]) -> str:
    png = figures.curves_figure(curves)
    if png is None:
        return '<p class="quiet">No losses were recorded.</p>\n'
    return f"<figure>{_image(png, 'losses over steps')}</figure>\n"


def _definitions(results: Results) -> str:
    names = (PAIRED if results.errors else ()) + DISTRIBUTION
    rows = "".join(
        f"<dt>{escape(METRICS[name].title)}</dt>"
        f"<dd>{escape(METRICS[name].definition)}</dd>\n"
        for name in names
    )
    return (
        f"<dl>\n{rows}</dl>\n"
        "<p>A collection of synthetic CT can look like real CT (small distances) and "
        "still show the wrong tissue in a person; only errors against a true CT tell. "
        "The trivial answers: 0 HU everywhere in the outline of the MR; and the "
        "in-phase MR (or its first channel) mapped so that the histogram in the body "
        "becomes that of the training CT.</p>\n"
        '<p class="quiet">All numbers: metrics.json and metrics.csv beside this page.'
        "</p>\n"
    )


# --- pieces ---------------------------------------------------------------------------


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}</section>\n"


def _image(png: bytes, text: str) -> str:
    data = base64.b64encode(png).decode("ascii")
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{data}">'


def _number(value: float, digits: int | None) -> str:
    """With so many decimals; None: three significant digits, of what is not tiny."""
    if not math.isfinite(value):
        return "∞" if value == math.inf else "none"
    if digits is None and 0 < value < 0.001:
        return "&lt; 0.001"
    text = f"{value:.{digits}f}" if digits is not None else f"{value:.3g}"
    return text.replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.0f}".replace("-", "−")


def _interval(entry: Mapping[str, Any], digits: int) -> str:
    if entry["low"] is None:
        return ""
    return f"{_number(entry['low'], digits)} to {_number(entry['high'], digits)}"


def _title(text: str) -> str:
    return escape(text[0].upper() + text[1:])


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(names[:12]) + more

"""The curve of a run's evaluations over steps, as one HTML page without network."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from synthct_jax.evaluation import curve as curves
from synthct_jax.evaluation.curve import Curve, Row
from synthct_jax.evaluation.report.evaluation_page import DISCLAIMER, FEW, page, section
from synthct_jax.evaluation.report.tables import count, interval, number

_STYLE = """<style>
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(310px, 1fr));
  gap: 20px 26px }
.panels figure { margin: 0 }
.panels figcaption { color: var(--ink); font-weight: 600 }
.panels svg { width: 100%; height: auto; display: block }
tr.best td { font-weight: 700 }
tr.best td small { font-weight: 400 }
a { color: inherit }
</style>
"""
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 312.0, 10.0, 150.0
_LOGARITHMIC_FROM = 30.0  # largest over smallest


def render(curve: Curve) -> str:
    """The page. Reports are linked beside it: FOLDER/report.html.

    Args:
        curve: with one evaluation or more.
    """
    shown = [name for name in curve.metrics if curve.values(name)]
    panels = "".join(_panel(curve, name) for name in shown)
    return page(
        "Evaluation over training",
        _STYLE
        + _head(curve)
        + section("Metrics over steps", f'{_LEGEND}<div class="panels">{panels}</div>')
        + section("Evaluations", _table(curve, shown)),
    )


_LEGEND = (
    '<p class="quiet">A dot for each evaluated checkpoint, with its 95 % interval by '
    "bootstrap over subjects; the best step is ringed. Blue: the same between real CT "
    "(of outlines: true CT). Axes that say so are logarithmic.</p>\n"
)


def _head(curve: Curve) -> str:
    data = curve.rows[-1].data
    subjects = len(data["mr_subjects"])
    best = curve.best
    if best is None:
        verdict = "No evaluation has a number to choose by."
    else:
        about, entry = curves.about(curve.best_by), best.metrics[curve.best_by]
        ends = interval(entry, about.digits)
        verdict = (
            f"Best: step <b>{best.step}</b>, {escape(about.title)} "
            f"<b>{number(entry['value'], about.digits)}</b> {escape(about.unit)}"
            + (f" ({ends})" if ends else "")
        )
    notes = []
    if len(curve.rows) > 1:
        notes.append(
            "The best of several steps is partly luck with these subjects: "
            + (
                "choose by --split=validation, and report the test split at that step."
                if data["split"] == "test"
                else "report its numbers on others."
            )
        )
    if subjects < FEW:
        notes.append(f"Only {count(subjects, 'subject')}: intervals are too narrow.")
    first, last = curve.rows[0].step, curve.rows[-1].step
    what = (
        f"{data['source']} data, {data['split']} split, {count(subjects, 'subject')} · "
        f"{count(len(curve.rows), 'checkpoint')}, step {first} to {last}"
    )
    return (
        "<h1>Evaluation over training</h1>\n"
        f'<p class="quiet">{escape(what)}</p>\n<p class="verdict">{verdict}</p>\n'
        + DISCLAIMER
        + "".join(f'<p class="notice">{escape(note)}</p>\n' for note in notes)
    )


def _table(curve: Curve, shown: Sequence[str]) -> str:
    head = "".join(
        f"<th>{escape(about.title)}<small>{escape(about.unit)}</small></th>"
        for about in map(curves.about, shown)
    )
    best = curve.best
    rows = "".join(
        f'<tr{" class=best" if row is best else ""}><td><a href="{row.folder}/'
        f'report.html">{row.step}</a>{"<small>best</small>" if row is best else ""}'
        f"</td>{''.join(_cell(row, name) for name in shown)}</tr>\n"
        for row in reversed(curve.rows)
    )
    return (
        f"<table>\n<thead><tr><th>Step</th>{head}</tr></thead>\n<tbody>\n{rows}</tbody>"
        "\n</table>\n"
    )


def _cell(row: Row, metric: str) -> str:
    digits = curves.about(metric).digits
    if row.value(metric) is None:
        return "<td>–</td>"
    entry = row.metrics[metric]
    small = interval(entry, digits)
    if metric == curves.OUTSIDE:
        small = f"of {row.compared}"
    return f"<td>{number(entry['value'], digits)}<small>{small}</small></td>"


# --- panels ---------------------------------------------------------------------------


def _panel(curve: Curve, metric: str) -> str:
    about = curves.about(metric)
    rows, floor = curve.values(metric), curve.floor(metric)
    entries = [row.metrics[metric] for row in rows]
    ends = [e[end] for e in entries for end in ("value", "low", "high")]
    if floor:
        ends += [floor["low"], floor["high"]]
    y, ticks, logarithmic = _vertical([end for end in ends if end is not None])
    first, last = curve.rows[0].step, curve.rows[-1].step

    def x(step: int) -> float:
        part = (step - first) / (last - first) if last > first else 0.5
        return round(_LEFT + 8 + (_RIGHT - _LEFT - 16) * part, 1)

    parts = []
    for tick in ticks:
        parts.append(
            f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y(tick)}" y2="{y(tick)}" '
            'stroke="currentColor" opacity=".12"/>'
            f'<text class="quiet" x="{_LEFT - 6}" y="{y(tick) + 4}" text-anchor="end">'
            f"{_short(tick)}</text>"
        )
    if floor:
        high, low = y(floor["high"]), y(floor["low"])
        parts.append(
            f'<rect x="{_LEFT}" width="{_RIGHT - _LEFT}" y="{high}" '
            f'height="{max(low - high, 1.5):.1f}" fill="var(--floor)"/>'
        )
    points = [(x(row.step), entry) for row, entry in zip(rows, entries, strict=True)]
    parts.append(_band(points, y))
    line = " ".join(f"{at},{y(entry['value'])}" for at, entry in points)
    parts.append(
        f'<polyline points="{line}" fill="none" stroke="var(--accent)" '
        'stroke-width="1.8"/>'
    )
    for row, (at, entry) in zip(rows, points, strict=True):
        here = f'cx="{at}" cy="{y(entry["value"])}"'
        ring = (
            f'<circle {here} r="8" fill="none" stroke="var(--accent)" '
            'stroke-width="2"/>'
            if row is curve.best
            else ""
        )
        said = f"step {row.step}: {number(entry['value'], about.digits)}"
        parts.append(
            f'<a href="{row.folder}/report.html"><title>{said}</title>{ring}'
            f'<circle {here} r="3.5" fill="var(--accent)"/></a>'
        )
    parts += [
        f'<text class="quiet" x="{x(step)}" y="{_BOTTOM + 18}" text-anchor="'
        f'{anchor}">{step}</text>'
        for step, anchor in _step_labels(first, last)
    ]
    better = about.better + (
        " is better" if about.better in ("lower", "higher") else ""
    )
    kind = ", logarithmic" if logarithmic else ""
    said = ", ".join(filter(None, (about.unit, better))) + kind
    return (
        f"<figure><figcaption>{escape(about.title)}<br>"
        f'<small class="quiet">{escape(said)}</small></figcaption>'
        f'<svg viewBox="0 0 320 174" role="img" aria-label="{escape(about.title)} over '
        f'steps">{"".join(parts)}</svg></figure>\n'
    )


def _band(points: Sequence[tuple[float, Mapping[str, Any]]], y) -> str:
    known = [(at, entry) for at, entry in points if entry["low"] is not None]
    if not known:
        return ""
    lower = [f"{at},{y(entry['low'])}" for at, entry in known]
    upper = [f"{at},{y(entry['high'])}" for at, entry in reversed(known)]
    if len(known) == 1:
        (one,), (other,) = lower, upper
        return (
            f'<path d="M{one} L{other}" stroke="var(--accent)" stroke-width="8" '
            'opacity=".25"/>'
        )
    return (
        f'<polygon points="{" ".join(lower + upper)}" fill="var(--accent)" '
        'opacity=".18"/>'
    )


def _vertical(values: Sequence[float]):
    """Value to height, the ticks, and whether it is logarithmic."""
    low, high = min(values), max(values)
    logarithmic = low > 0 and high / low > _LOGARITHMIC_FROM

    def scaled(value: float) -> float:
        return math.log10(value) if logarithmic else value

    start, end = scaled(low), scaled(high)
    margin = 0.06 * (end - start) or 0.1 * abs(start) or 1.0
    start, end = start - margin, end + margin

    def y(value: float) -> float:
        return round(
            _BOTTOM - (_BOTTOM - _TOP) * (scaled(value) - start) / (end - start), 1
        )

    if logarithmic:
        powers = range(math.ceil(start), math.floor(end) + 1)
        return y, [10.0**power for power in powers][:: max(1, len(powers) // 4)], True
    return y, ticks(start, end, 4), False


def ticks(low: float, high: float, at_most: int) -> list[float]:
    """Round numbers between two."""
    step = 10 ** math.floor(math.log10((high - low) / at_most))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= at_most)
    first = math.ceil(low / step)
    return [step * at for at in range(first, math.floor(high / step) + 1)]


def _step_labels(first: int, last: int) -> list[tuple[int, str]]:
    if first == last:
        return [(first, "middle")]
    return [(first, "start"), (last, "end")]


def _short(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")

"""The tables of a report, as HTML."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from synthct_jax.evaluation import metric_definitions
from synthct_jax.evaluation.results import ANSWERS, MODEL, Results

# Of the true CT in three densities: taken from the truth, no merit of its own.
_GIVEN = ("bone_dice", "bone_hd95", "air_dice")


def paired(results: Results) -> str:
    """Errors in the body against the true CT."""
    answers = [answer for answer in results.answers if answer in results.errors]
    n = results.errors[MODEL]["mae"]["n"]
    rows = [
        _part(
            f"Mean over {count(n, 'subject')}"
            + (", 95 % interval by bootstrap over subjects" if n > 1 else ""),
            len(answers) + 1,
        )
    ]
    for metric in results.errors[MODEL]:
        about = metric_definitions.named(metric)
        entries = [results.errors[answer][metric] for answer in answers]
        given = [answer == "bulk" and metric in _GIVEN for answer in answers]
        means = [
            e["mean"] for e, known in zip(entries, given, strict=True) if not known
        ]
        best = _best(means, about.better)
        cells = "".join(
            '<td class="quiet">given</td>'
            if known
            else _cell(
                number(entry["mean"], about.digits),
                interval(entry, about.digits),
                best=entry["mean"] == best,
            )
            for entry, known in zip(entries, given, strict=True)
        )
        rows.append(f"<tr>{_name(metric)}{cells}</tr>\n")
    return _table(["", *map(_answer_title, answers)], rows, kind="even")


def collection(results: Results) -> str:
    """Distances between collections, with what they are between real CT."""
    answers = [answer for answer in results.answers if answer not in (MODEL, "bulk")]
    first = next(iter(results.distribution[MODEL].values()))
    floor = first["floor"]
    text = (
        f"Synthetic CT of {count(first['subjects'][0], 'subject')} "
        f"({first['slices'][0]} slices) against real CT of "
        f"{count(first['subjects'][1], 'subject')} ({first['slices'][1]} slices)"
    )
    if floor:
        text += (
            f"; real against real: {floor['subjects'][0]} against "
            f"{floor['subjects'][1]} subjects. Means over random halves"
        )
    rows = [_part(text, len(answers) + 4)]
    for metric, entry in results.distribution[MODEL].items():
        if entry["floor"] is None and not _is_number(entry["value"]):
            continue  # needs more subjects
        about = metric_definitions.named(metric)
        others = "".join(
            f"<td>{number(found['value'], about.digits)}</td>"
            if (found := results.distribution[answer].get(metric))
            else "<td></td>"
            for answer in answers
        )
        rows.append(
            f"<tr>{_name(metric)}"
            + _cell(number(entry["value"], about.digits), interval(entry, about.digits))
            + _floor_cell(entry["floor"], about.digits)
            + f"<td>{_place(entry)}</td>{others}</tr>\n"
        )
    head = ["", "Synthetic CT", "Real against real", "", *map(_answer_title, answers)]
    return _table(head, rows, kind="even")


def consistency(results: Results) -> str:
    """What the subject's own MR says about its synthetic CT."""
    answers = [answer for answer in results.consistency if answer != "bulk"]
    rows = []
    for metric, entry in results.consistency[MODEL].items():
        about = metric_definitions.named(metric)
        others = "".join(
            f"<td>{number(found['mean'], about.digits)}</td>"
            if (found := results.consistency[answer].get(metric))
            else "<td></td>"
            for answer in answers[1:]
        )
        rows.append(
            f"<tr>{_name(metric)}"
            + _cell(number(entry["mean"], about.digits), interval(entry, about.digits))
            + _floor_cell(entry["floor"], about.digits)
            + f"<td>{_place(entry | {'value': entry['mean']})}</td>{others}</tr>\n"
        )
    head = ["", "Synthetic CT", "True CT", "", *map(_answer_title, answers[1:])]
    return _table(head, rows, kind="even")


def parts(results: Results, what: str, title: str) -> str:
    """Errors by tissue, band of HU or region."""
    table = getattr(results, what)
    voxels = sum(entry["voxels"] for entry in results.bands[MODEL].values())
    worst = max(entry["mae"]["mean"] for entry in table[MODEL].values()) or 1.0
    others = [answer for answer in results.answers if answer != MODEL]
    head = [
        title,
        "Share of<small>the body</small>",
        "n<small>subjects</small>",
        "MAE<small>synthetic CT</small>",
        "95 %<small>interval</small>",
        "ME<small>synthetic CT</small>",
        *(f"MAE<small>{escape(ANSWERS[answer])}</small>" for answer in others),
    ]
    rows = []
    items = table[MODEL].items()
    if what == "tissues":
        items = sorted(items, key=lambda item: -item[1]["voxels"])
    for name, entry in items:
        part = f"--part:{100 * entry['mae']['mean'] / worst:.0f}%"
        values = [
            table[answer][name]["mae"]["mean"]
            if name in table.get(answer, {})
            else None
            for answer in others
        ]
        rows.append(
            f"<tr><td>{escape(name.replace('_', ' '))}</td>"
            f"<td>{100 * entry['voxels'] / voxels:.1f} %</td>"
            f"<td>{entry['mae']['n']}</td>"
            f'<td class="bar" style="{part}">{number(entry["mae"]["mean"], 0)}</td>'
            f'<td class="quiet">{interval(entry["mae"], 0) or "–"}</td>'
            f"<td>{_signed(entry['me']['mean'])}</td>"
            + "".join(
                f"<td>{'' if value is None else number(value, 0)}</td>"
                for value in values
            )
            + "</tr>\n"
        )
    return _table(head, rows, kind="dense")


def each_subject(results: Results) -> str:
    """A line for each subject."""
    known = [s for s in results.subjects if "body" in s[MODEL]]
    metrics = list(results.subjects[0][MODEL]["consistency"])
    if known:
        metrics = [*known[0][MODEL]["body"], *metrics]
    rows = []
    for subject in results.subjects:
        found = subject[MODEL].get("body", {}) | subject[MODEL]["consistency"]
        cells = "".join(
            f"<td>{number(found[m], metric_definitions.named(m).digits)}</td>"
            if m in found
            else "<td></td>"
            for m in metrics
        )
        rows.append(
            f"<tr><td>{escape(subject['name'])}</td><td>{subject['slices']}</td>"
            f"{cells}</tr>\n"
        )
    head = [
        "Subject",
        "Slices",
        *(
            f"{escape(metric_definitions.named(m).title)}"
            f"<small>{metric_definitions.named(m).unit}</small>"
            for m in metrics
        ),
    ]
    return f"<details><summary>Each subject</summary>\n{_table(head, rows)}</details>\n"


def definitions(results: Results) -> str:
    names = [*(results.errors or {}).get(MODEL, {})]
    names += [*results.consistency[MODEL], *results.distribution[MODEL]]
    rows = "".join(
        f"<dt>{escape(metric_definitions.named(name).title)}</dt>"
        f"<dd>{escape(metric_definitions.named(name).definition)}</dd>\n"
        for name in names
    )
    return f"<dl>\n{rows}</dl>\n"


# --- cells ----------------------------------------------------------------------------


def number(value: float | None, digits: int | None) -> str:
    """With so many decimals; None: three significant digits, of what is not tiny."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if digits is None and 0 < abs(value) < 0.001:
        return "&lt; 0.001" if value > 0 else "−0.000"
    text = f"{value:.{digits}f}" if digits is not None else f"{value:.3g}"
    return text.replace("-", "−")


def interval(entry: Mapping[str, Any], digits: int | None) -> str:
    if entry["low"] is None:
        return ""
    return f"{number(entry['low'], digits)} to {number(entry['high'], digits)}"


def count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _place(entry: Mapping[str, Any]) -> str:
    """Where a value is by the range between real CT: SVG, and a word for it."""
    floor, value = entry["floor"], entry["value"]
    if floor is None:
        return ""
    if not _is_number(value):
        return '<small class="outside">nothing to compare</small>'
    ends = [floor["low"], floor["high"], value]
    span = (max(ends) - min(ends)) or 1.0
    left, right = 6.0, 104.0

    def x(at: float) -> float:
        return round(left + (right - left) * (at - min(ends)) / span, 1)

    colour = "var(--accent)" if entry["outside"] else "var(--ink)"
    word = {True: "worse than real", False: "like real", None: "not judged"}[
        entry["outside"]
    ]
    width = max(x(floor["high"]) - x(floor["low"]), 2)
    return (
        '<svg class="place" viewBox="0 0 110 16" width="110" height="16" role="img" '
        f'aria-label="{word}"><line x1="{left}" x2="{right}" y1="8" y2="8" '
        'stroke="var(--line)"/>'
        f'<rect x="{x(floor["low"])}" y="3" width="{width}" height="10" rx="2" '
        'fill="var(--floor)"/>'
        f'<circle cx="{x(value)}" cy="8" r="4.5" fill="{colour}"/></svg>'
        f"<small{' class=outside' if entry['outside'] else ''}>{word}</small>"
    )


def _floor_cell(floor: Mapping[str, Any] | None, digits: int | None) -> str:
    if floor is None:
        return "<td>–</td>"
    return _cell(number(floor["mean"], digits), f"range {interval(floor, digits)}")


def _cell(text: str, small: str = "", *, best: bool = False) -> str:
    note = f"<small>{small}</small>" if small else ""
    return f"<td{' class=best' if best else ''}>{text}{note}</td>"


def _best(values: Sequence[float | None], better: str) -> float | None:
    """A mean error near 0 may be errors that cancel: there is no best one."""
    there = [v for v in values if v is not None and not math.isnan(v)]
    if not there or better not in ("lower", "higher"):
        return None
    return min(there) if better == "lower" else max(there)


def _name(metric: str) -> str:
    about = metric_definitions.named(metric)
    side = about.better + (" is better" if about.better in ("lower", "higher") else "")
    unit = ", ".join(part for part in (about.unit, side) if part)
    return f"<td>{escape(about.title)}<small>{escape(unit)}</small></td>"


def _part(text: str, columns: int) -> str:
    return f'<tr class="part"><td colspan="{columns}">{escape(text)}</td></tr>\n'


def _answer_title(answer: str) -> str:
    text = ANSWERS[answer]
    return escape(text[0].upper() + text[1:])


def _table(head: Iterable[str], rows: Iterable[str], kind: str = "dense") -> str:
    cells = "".join(f"<th>{text}</th>" for text in head)
    return (
        f'<table class="{kind}">\n<thead><tr>{cells}</tr></thead>\n'
        f"<tbody>\n{''.join(rows)}</tbody>\n</table>\n"
    )


def _signed(value: float) -> str:
    return f"{value:+.0f}".replace("-", "−")

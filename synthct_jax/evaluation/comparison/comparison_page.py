"""A comparison as one HTML page that needs no network."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from synthct_jax.evaluation import metric_definitions
from synthct_jax.evaluation.comparison import comparison_plots
from synthct_jax.evaluation.comparison.measures import (
    BETTER,
    SAME,
    TOO_FEW,
    WORSE,
    Difference,
    Measure,
)
from synthct_jax.evaluation.comparison.runs import FIRST, Run
from synthct_jax.evaluation.comparison.side_by_side import Comparison
from synthct_jax.evaluation.report.strings import (
    DISCLAIMER,
    count,
    interval,
    number,
    page,
    section,
)

_STYLE = """<style>
:root { --good: #1a7f4b }
@media (prefers-color-scheme: dark) { :root { --good: #5cc98c } }
.is-better { color: var(--good) !important; font-weight: 600 }
.is-worse { color: var(--accent) !important; font-weight: 600 }
td svg { display: block; margin: 3px 0 0 auto }
td, td small { white-space: nowrap }
table.runs td:last-child *, table.fields td {
  white-space: normal; overflow-wrap: anywhere;
}
table.runs td, table.runs th, table.fields td, table.fields th { text-align: left }
th { vertical-align: top !important }
</style>
"""
_CLASS = {BETTER: "is-better", WORSE: "is-worse", SAME: "", TOO_FEW: ""}
_PARTS = {
    "body": "In the body, against the true CT",
    "regions": "Regions: MAE",
    "bands": "Bands of true HU: MAE",
    "tissues": "Tissues: MAE",
    "consistency": "Against its own MR; no true CT is needed",
}


def render(comparison: Comparison) -> str:
    """The page."""
    return page(
        "Comparison of evaluations",
        _STYLE
        + _head(comparison)
        + section("What is compared", _runs(comparison))
        + section("Subject by subject", _subjects(comparison))
        + section("Differences on the same subjects", _measures(comparison))
        + section("Against real CT, as collections", _collections(comparison))
        + section("Where the configurations differ", _configuration(comparison))
        + section("How to read this", _explained(comparison)),
    )


# --- sections -------------------------------------------------------------------------


def _head(comparison: Comparison) -> str:
    main = comparison.main
    lines = [_sentence(run, main) for run in comparison.runs[1:]]
    verdicts = "".join(f'<p class="verdict">{line}</p>\n' for line in lines)
    data = comparison.runs[0].results.data
    what = (
        f"{data['source']} data, {data['split']} split, "
        f"{count(len(comparison.subjects), 'subject')} in common"
    )
    return (
        f'<h1>Comparison of evaluations</h1>\n<p class="quiet">{escape(what)}</p>\n'
        f'{verdicts}<p class="quiet">{_ONE_TRAINING}</p>\n{DISCLAIMER}'
        + "".join(
            f'<p class="notice">{escape(text)}</p>\n' for text in comparison.warnings
        )
    )


def _sentence(run: Run, main: Measure) -> str:
    what, digits = escape(_title(main)), main.about.digits
    difference = main.difference(run.letter)
    name = f"<b>{escape(_name(run))}</b>"
    if difference is None:
        return f"{name}: has nothing to compare by {what}."
    found = difference.found
    size = f"{number(abs(found.mean), digits)} {escape(main.about.unit)}".strip()
    side = "lower" if found.mean < 0 else "higher"
    ends = interval(_entry(difference.found), digits)
    said = f"{what} is <b>{size} {side}</b> than that of {FIRST}" + (
        f" (difference {ends}, {count(found.n, 'subject')})" if ends else ""
    )
    verdict = {
        BETTER: "outside 0, better",
        WORSE: "outside 0, worse",
        SAME: "not distinguishable from no difference",
        TOO_FEW: TOO_FEW,
    }[difference.verdict]
    kind = _CLASS[difference.verdict]
    return f'{name}: {said}: <span class="{kind}">{verdict}</span>.'


def _runs(comparison: Comparison) -> str:
    rows = []
    for run in comparison.runs:
        data = run.results.data
        config = run.results.provenance.get("config") or {}
        channels = (config.get("data") or {}).get("mr_channels") or ()
        cells = [
            f"<b>{run.letter}</b> {escape(run.label)}",
            "" if run.step is None else str(run.step),
            escape(str(config.get("method", ""))),
            escape(", ".join(channels).replace("_", " ")),
            f"{escape(data['split'])}, {count(len(data['mr_subjects']), 'subject')}",
            escape(run.results.made[:16].replace("T", " ")),
            f"<small>{escape(str(run.folder.resolve()))}</small>",
        ]
        rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>\n")
    head = ["", "Step", "Method", "MR channels", "Data", "Evaluated", "Folder"]
    return _table(head, rows, kind="runs")


def _subjects(comparison: Comparison) -> str:
    main = comparison.main
    unit = f" in {main.about.unit}" if main.about.unit else ""
    away = "" if main.best_value is None else f", distance from {main.best_value:g}"
    return (
        f"<figure>{comparison_plots.joined(main, comparison.runs)}<figcaption>"
        f"{escape(_title(main))}{unit}: a dot for each subject, lines join the same "
        "one; bars are means.</figcaption></figure>\n"
        f"<figure>{comparison_plots.differences(main, comparison.runs)}"
        "<figcaption>The same, "
        f"minus that of {FIRST}{away}: a dot for each subject, the mean and its 95 % "
        f"interval. {_good_side(main)}</figcaption></figure>\n"
    )


def _measures(comparison: Comparison) -> str:
    others = comparison.runs[1:]
    text = (
        f"Means over the subjects in common. Below each: its difference from {FIRST}, "
        "with the 95 % interval of a paired bootstrap over these subjects. "
        "The bar is that interval, the line in the middle is 0."
    )
    parts = [f'<p class="quiet">{text}</p>\n']
    head = ["", *(escape(_name(run)) for run in comparison.runs), "n"]
    for part, title in _PARTS.items():
        these = [one for one in comparison.measures if one.part == part]
        if not these:
            continue
        rows = [_measure(one, others) for one in these]
        content = _table(head, rows, kind="even")
        parts.append(
            f"<details><summary>{title}</summary>\n{content}</details>\n"
            if part == "tissues"
            else f"<h3>{title}</h3>\n{content}"
        )
    return "".join(parts)


def _measure(one: Measure, others: Sequence[Run]) -> str:
    found = {run.letter: one.difference(run.letter) for run in others}
    reach = max(
        (
            abs(end)
            for each in found.values()
            if each
            for end in (each.found.mean, each.found.low, each.found.high)
            if end is not None
        ),
        default=0.0,
    )
    first = one.mean(FIRST)
    cells = [_value(one, first)]
    for run in others:
        mean = one.mean(run.letter)
        cells.append(_value(one, mean, found[run.letter], reach))
    return (
        f"<tr><td>{escape(_title(one))}<small>{escape(_better(one.about))}</small></td>"
        f"{''.join(cells)}<td>{len(one.subjects)}</td></tr>\n"
    )


def _value(one: Measure, mean, difference: Difference | None = None, reach=0.0) -> str:
    if mean is None:
        return "<td>–</td>"
    digits = one.about.digits
    text = number(mean.mean, digits)
    if difference is None:
        ends = interval(_entry(mean), digits)
        return f"<td>{text}<small>{ends}</small></td>"
    found, kind = difference.found, _CLASS[difference.verdict]
    ends = interval(_entry(found), digits)
    away = "" if one.best_value is None else f"distance from {one.best_value:g}: "
    return (
        f"<td>{text}{comparison_plots.bar(found, reach, kind)}"
        f"<small>{away}{_signed(found.mean, digits)}{f' ({ends})' if ends else ''}"
        f'</small><small class="{kind}">{difference.verdict}</small></td>'
    )


def _collections(comparison: Comparison) -> str:
    head = ["", *(escape(_name(run)) for run in comparison.runs), "Real against real"]
    rows = []
    for metric, entries in comparison.collections.items():
        about = metric_definitions.named(metric)
        cells = [
            _collection_cell(entries.get(run.letter), about.digits)
            for run in comparison.runs
        ]
        floors = {
            letter: (
                f"{number(floor['mean'], about.digits)}"
                f"<small>{interval(floor, about.digits)}</small>"
            )
            for letter, entry in entries.items()
            if (floor := entry["floor"])
        }
        said = list(dict.fromkeys(floors.values()))
        if len(said) > 1:
            said = [f"<small>{letter}</small>{text}" for letter, text in floors.items()]
        rows.append(
            f"<tr><td>{escape(about.title)}<small>{escape(_better(about))}</small></td>"
            f"{''.join(cells)}<td>{''.join(said) or '–'}</td></tr>\n"
        )
    sizes = ", ".join(
        f"{run.letter}: {count(len(run.results.data['mr_subjects']), 'subject')}"
        for run in comparison.runs
    )
    return (
        '<p class="quiet">Each is one number of a whole collection: there is nothing '
        "to pair subject by subject, so there are no intervals of differences, though "
        "the people are the same. Intervals that overlap leave it open; those of the "
        "same people may overlap and still differ. Of all subjects of each evaluation "
        f"({sizes}).</p>\n{_table(head, rows, kind='even')}"
    )


def _collection_cell(entry: dict[str, Any] | None, digits: int | None) -> str:
    if entry is None or entry["value"] is None:
        return "<td>–</td>"
    place = ""
    if entry["floor"]:
        kind, word = (
            ("outside", "worse than real") if entry["outside"] else ("", "like real")
        )
        place = f'<small class="{kind}">{word}</small>'
    return (
        f"<td>{number(entry['value'], digits)}<small>{interval(entry, digits)}</small>"
        f"{place}</td>"
    )


def _configuration(comparison: Comparison) -> str:
    if not comparison.configuration:
        return '<p class="quiet">Nowhere.</p>\n'
    rows = [
        f"<tr><td>{escape(field)}</td>"
        + "".join(
            f"<td>{escape(_said(values[run.letter]))}</td>" for run in comparison.runs
        )
        + "</tr>\n"
        for field, values in comparison.configuration.items()
    ]
    head = ["Field", *(escape(_name(run)) for run in comparison.runs)]
    return _table(head, rows, kind="fields")


def _explained(comparison: Comparison) -> str:
    differences = [
        difference
        for one in comparison.measures
        for run in comparison.runs[1:]
        if (difference := one.difference(run.letter)) and difference.found.n > 1
    ]
    outside = sum(bool(one.outside_0) for one in differences)
    by_chance = len(differences) / 20
    return (
        "<p>An interval of differences that leaves 0 out says that these subjects "
        "would have to be very unusual for there to be no difference; one that has 0 "
        f"in it says that it is not known, not that there is none. {outside} of "
        f"{len(differences)} are outside 0; about {by_chance:.0f} would be by chance "
        "alone, were there no difference at all. Of metrics where both sides are "
        "wrong, distances from the best value are compared.</p>\n"
        '<p class="quiet">All numbers: compare.json and compare.csv beside this page.'
        "</p>\n"
    )


_ONE_TRAINING = (
    "Intervals are over subjects. Each run is one training: how another seed would "
    "have gone is not in them (--mode=sweep trains several)."
)


# --- words ----------------------------------------------------------------------------


def _name(run: Run) -> str:
    return f"{run.letter} {run.label}".strip()


def _title(one: Measure) -> str:
    if one.name:
        return one.name.replace("_", " ").capitalize()
    return one.about.title


def _better(about: metric_definitions.Metric) -> str:
    side = about.better + (" is better" if about.better in ("lower", "higher") else "")
    return ", ".join(filter(None, (about.unit, side)))


def _good_side(one: Measure) -> str:
    return "Right of 0 is better." if one.higher_is_better else "Left of 0 is better."


def _signed(value: float, digits: int | None) -> str:
    return ("+" if value > 0 else "") + number(value, digits)


def _said(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _entry(found) -> dict[str, float | None]:
    return {"low": found.low, "high": found.high}


def _table(head: Iterable[str], rows: Iterable[str], *, kind: str) -> str:
    cells = "".join(f"<th>{text}</th>" for text in head)
    return (
        f'<table class="{kind}">\n<thead><tr>{cells}</tr></thead>\n'
        f"<tbody>\n{''.join(rows)}</tbody>\n</table>\n"
    )

"""A sweep's tables as CSV, Markdown and one HTML page that needs no network."""

import base64
import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from input_pipeline.files import write_file
from synthct_jax.evaluation.report.strings import CSS
from synthct_jax.metrics.hierarchical import Estimate
from synthct_jax.sweep.table import COLUMNS, LIVER, Column, Difference, Row, Tables

FILES = ("table.csv", "table.md", "table.html", "pictures.png")
_FEW_SEEDS = 2
_BEAT, _READ = "Does one beat the other?", "How to read this"
_CSS = """
main { max-width: 1600px }
main > .quiet { max-width: none; overflow-wrap: anywhere }
th, td { padding: 6px 5px }
td small { white-space: nowrap }
""".strip()


def write(folder: Path, tables: Tables, pictures: bytes | None) -> None:
    """Writes FILES into the folder, each whole or not at all.

    Args:
        pictures: PNG; None leaves them out, and none of before behind.
    """
    write_file(folder / "table.csv", to_csv(tables))
    write_file(folder / "table.md", to_markdown(tables))
    write_file(folder / "table.html", to_html(tables, pictures))
    if pictures is None:
        (folder / "pictures.png").unlink(missing_ok=True)
    else:
        write_file(folder / "pictures.png", pictures)


# --- CSV ------------------------------------------------------------------------------


def to_csv(tables: Tables) -> str:
    """One value a row.

    Columns: table (result, liver, difference), row (variant or answer), minus (the
    variant that is taken from it), metric, unit, better, value, low, high, seeds (of
    both, where there are two), subjects, outside_0 and verdict (of differences).
    """
    columns = (
        "table row minus metric unit better value low high seeds subjects outside_0 "
        "verdict"
    ).split()
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for table, rows in (("result", tables.rows), ("liver", tables.livers)):
        for row in rows:
            for name, found in row.cells.items():
                values = _csv_values(name, (COLUMNS | LIVER)[name], found)
                if row.seeds is None:
                    values["seeds"] = ""
                writer.writerow({"table": table, "row": row.label, **values})
    for one in tables.differences:
        outside = one.found.outside_0
        writer.writerow(
            {
                "table": "difference",
                "row": one.variant,
                "minus": one.other,
                **_csv_values(one.column, one.about, one.found),
                "outside_0": "" if outside is None else str(outside).lower(),
                "verdict": one.verdict,
            }
        )
    return text.getvalue()


def _csv_values(name: str, about: Column, found: Estimate) -> dict:
    values = {
        "metric": name,
        "unit": about.unit,
        "better": about.better,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "seeds": " ".join(map(str, found.seeds)),
        "subjects": found.subjects,
    }
    return {key: "" if value is None else value for key, value in values.items()}


# --- Markdown -------------------------------------------------------------------------


def to_markdown(tables: Tables) -> str:
    """The tables, and below them how to read them."""
    parts = [_markdown_table(*_wide(tables.rows, tables.columns))]
    if tables.differences:
        parts += [f"**{_BEAT}**", _markdown_table(*_pivot(tables))]
        parts += [_markdown_list(verdicts(tables))]
    if tables.livers:
        parts += [f"**{_liver_title(tables)}**"]
        parts += [_markdown_table(*_wide(tables.livers, tuple(LIVER)))]
    parts += [f"**{_READ}**", _markdown_list(notes(tables))]
    return "\n\n".join(parts) + "\n"


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence["_Cell"]]) -> str:
    lines = [head, ["---"] + ["--:"] * (len(head) - 1)]
    lines += [[cell.markdown for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _markdown_list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {one}" for one in sentences)


# --- HTML -----------------------------------------------------------------------------


def to_html(tables: Tables, pictures: bytes | None) -> str:
    """The page; pictures are inside."""
    sections = [_section("Result", _html_table(*_wide(tables.rows, tables.columns)))]
    if tables.differences:
        table = _html_table(*_pivot(tables)) + _html_list(verdicts(tables))
        sections.append(_section(_BEAT, table))
    if tables.livers:
        table = _html_table(*_wide(tables.livers, tuple(LIVER)))
        sections.append(_section(_liver_title(tables), table))
    if pictures is not None:
        data = base64.b64encode(pictures).decode("ascii")
        image = f'<img alt="the same slices" src="data:image/png;base64,{data}">\n'
        sections.append(_section("The same slices", image))
    sections.append(_section(_READ, _html_list(notes(tables))))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Variants of an experiment</title>\n<style>\n{CSS}\n{_CSS}\n</style>\n"
        "</head>\n<body>\n<main>\n<h1>Variants of an experiment</h1>\n"
        f'<p class="quiet">{escape(tables.plan.described)}</p>\n'
        '<p class="notice"><b>Research software, not a medical device.</b> Not for '
        "diagnosis, not for planning a treatment.</p>\n"
        + _missing(tables)
        + f"{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def _html_table(head: Sequence[str], rows: Sequence[Sequence["_Cell"]]) -> str:
    titles = "".join(f"<th>{_with_small(*title.split(', ', 1))}</th>" for title in head)
    lines = "".join(f"<tr>{''.join(cell.html for cell in row)}</tr>\n" for row in rows)
    return (
        f"<table>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{lines}</tbody>\n"
        "</table>\n"
    )


def _html_list(sentences: Sequence[str]) -> str:
    listed = "".join(f"<li>{escape(one)}</li>\n" for one in sentences)
    return f"<ul>\n{listed}</ul>\n"


def _with_small(text: str, small: str = "") -> str:
    return escape(text) + (f"<small>{escape(small)}</small>" if small else "")


def _missing(tables: Tables) -> str:
    if not tables.missing:
        return ""
    runs = "; ".join(map(str, tables.missing))
    return f'<p class="notice">Not evaluated, so not in here: {escape(runs)}.</p>\n'


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}</section>\n"


# --- cells ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Cell:
    """A text with its interval; bold where that leaves 0 out."""

    text: str
    interval: str = ""
    bold: bool = False

    @property
    def markdown(self) -> str:
        text = f"**{self.text}**" if self.bold else self.text
        return f"{text} ({self.interval})" if self.interval else text

    @property
    def html(self) -> str:
        kind = " class=best" if self.bold else ""
        return f"<td{kind}>{_with_small(self.text, self.interval)}</td>"


def _wide(
    rows: Sequence[Row], columns: Sequence[str]
) -> tuple[list[str], list[list[_Cell]]]:
    """A line for each row, of these columns."""
    about = [(COLUMNS | LIVER)[name] for name in columns]
    return ["", "Seeds", "Subjects", *map(_title, about)], [
        [
            _Cell(row.label),
            _Cell("" if row.seeds is None else str(row.seeds)),
            _Cell("" if row.subjects is None else str(row.subjects)),
            *(
                _cell(row.cells.get(name), column.digits)
                for name, column in zip(columns, about, strict=True)
            ),
        ]
        for row in rows
    ]


def _pivot(tables: Tables) -> tuple[list[str], list[list[_Cell]]]:
    """A line for each pair of variants."""
    columns = list(dict.fromkeys(one.column for one in tables.differences))
    about = [(COLUMNS | LIVER)[name] for name in columns]
    rows = []
    for (variant, other), found in _by_pair(tables).items():
        seeds = next(iter(found.values())).found.seeds
        cells = (
            _cell(
                found[name].found if name in found else None, column.digits, signed=True
            )
            for name, column in zip(columns, about, strict=True)
        )
        pair = _Cell(f"{variant} − {other}")
        rows.append([pair, _Cell(" and ".join(map(str, seeds))), *cells])
    return ["Difference", "Seeds", *map(_title, about)], rows


def _by_pair(tables: Tables) -> dict[tuple[str, str], dict[str, Difference]]:
    found: dict[tuple[str, str], dict[str, Difference]] = {}
    for one in tables.differences:
        found.setdefault((one.variant, one.other), {})[one.column] = one
    return found


def _title(column: Column) -> str:
    return ", ".join(filter(None, (column.title, column.unit)))


def _cell(found: Estimate | None, digits: int | None, *, signed: bool = False) -> _Cell:
    if found is None:
        return _Cell("")
    text = _number(found.value, digits, signed=signed)
    if found.low is None or found.high is None:
        return _Cell(text)
    ends = (_number(end, digits, signed=signed) for end in (found.low, found.high))
    return _Cell(text, " to ".join(ends), bold=signed and bool(found.outside_0))


def _number(value: float, digits: int | None, *, signed: bool = False) -> str:
    if not math.isfinite(value):
        return "none"
    sign = "+" if signed else ""
    text = f"{value:{sign}.{digits}f}" if digits is not None else f"{value:{sign}.3g}"
    return text.replace("-", "−")


# --- sentences ------------------------------------------------------------------------


def verdicts(tables: Tables) -> list[str]:
    """Of each pair in what which is better, and in what they are not told apart."""
    sentences = []
    for (variant, other), found in _by_pair(tables).items():
        said: dict[str, list[str]] = {}
        for one in found.values():
            said.setdefault(one.verdict, []).append(one.about.title)
        parts = [f"{verdict} ({'; '.join(t)})" for verdict, t in said.items()]
        sentences.append(f"{variant} against {other}: {', '.join(parts)}.")
    return sentences


def _liver_title(tables: Tables) -> str:
    low, high = (f"{hu:.0f}".replace("-", "−") for hu in tables.liver_hu)
    return f"Does the liver follow its fat? True livers are {low} to {high} HU"


def notes(tables: Tables) -> list[str]:
    """What a reader must know, as sentences."""
    subjects = max((row.subjects or 0) for row in tables.rows)
    found = [
        f"{tables.plan.described}; {tables.split} split, {subjects} subjects; each run "
        "at its best validated checkpoint, or its last.",
        "In brackets 95 % intervals: bootstrap over subjects and the variance of the "
        "seeds, by Student's t for so few of them; of distances between collections "
        "the widest reach of the runs' own intervals.",
    ]
    if min(row.seeds for row in tables.rows if row.seeds is not None) < _FEW_SEEDS:
        found.append(
            "A variant with one seed has an interval of subjects alone, which knows "
            "nothing of how another training would have gone: its differences are not "
            "judged."
        )
    if tables.differences:
        known = [one for one in tables.differences if one.found.outside_0 is not None]
        outside = sum(bool(one.found.outside_0) for one in known)
        found.append(
            "Differences are of the same subjects, those outside 0 bold: below 0, the "
            f"first has the smaller number. {outside} of {len(known)} that are judged "
            "are outside 0; they are not corrected for being many."
        )
    if tables.livers:
        found.append(
            "Slope and correlation: over subjects, mean HU of the synthetic liver "
            "against that of the true one. 1 follows the fat of the liver; 0 is the "
            "same liver for everybody."
        )
    if tables.missing:
        runs = "; ".join(map(str, tables.missing))
        found.append(f"Not evaluated, so not in here: {runs}.")
    return found

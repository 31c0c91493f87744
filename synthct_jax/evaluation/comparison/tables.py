"""The tables and sentences of a comparison, as text for pages and Markdown."""

import dataclasses
from collections.abc import Sequence

from synthct_jax.evaluation.comparison.compare import Comparison
from synthct_jax.evaluation.comparison.differences import (
    DIFFERENT,
    LIVER,
    Measure,
    Pair,
)
from synthct_jax.evaluation.metric_definitions import Metric
from synthct_jax.evaluation.report.formatting import (
    count_noun,
    format_interval,
    format_number,
)
from synthct_jax.metrics.intervals import BETTER, SAME, WORSE, Difference, Interval

REAL_VS_REAL = "real CT against real CT"

SUMMARY = (
    ("mae", "body"),
    ("mae", LIVER),
    ("me", LIVER),
    ("mae", "border:fat_muscle"),
    ("mae", "tissue:cortical_bone"),
    ("bone_dice", "body"),
    ("path_length_mae", "body"),
    ("psnr", "body"),
    ("ssim", "body"),
    ("hu_slope", LIVER),
    ("hu_correlation", LIVER),
)
"""Metric and region of the columns of the summary, besides the distributions'."""

PAIRWISE = (*SUMMARY[:5], *SUMMARY[-2:])
"""The measures by which pairs are judged in a sentence."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A text with its interval or another note; bold where a difference is real."""

    text: str
    note: str = ""
    bold: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A head and rows of cells; the first cell of a row names it."""

    head: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __bool__(self) -> bool:
        return bool(self.rows)


# --- tables ---------------------------------------------------------------------------


def runs(comparison: Comparison) -> Table:
    """Return a row for each evaluation: what was trained, on what it was evaluated."""
    rows = []
    for group, run in ((g, run) for g in comparison.groups for run in g.runs):
        data = run.results.data
        config = run.results.provenance.get("config") or {}
        channels = (config.get("data") or {}).get("mr_channels") or ()
        texts = (
            group.title,
            _text(run.step),
            str(config.get("method", "")),
            ", ".join(channels).replace("_", " "),
            f"{data['split']}, {count_noun(len(data['mr_subjects']), 'subject')}",
            run.results.made[:16].replace("T", " "),
            str(run.folder.resolve()),
        )
        rows.append(tuple(map(Cell, texts)))
    head = ["", "Step", "Method", "MR channels", "Data", "Evaluated", "Folder"]
    return Table(tuple(map(Cell, head)), tuple(rows))


def summary(comparison: Comparison) -> Table:
    """Return a row for each group and baseline, and one of real CT against real CT."""
    columns = _measures(comparison, SUMMARY)
    columns += [
        m for m in comparison.measures if not m.values and m.definition.headline
    ]
    rows = []
    for group in (*comparison.groups, *comparison.baselines):
        seeds = "" if group in comparison.baselines else str(len(group.runs))
        subjects = str(len(group.runs[0].results.subjects))
        cells = [_cell(m.distances.get(group.name), m.definition) for m in columns]
        rows.append((Cell(group.title), Cell(seeds), Cell(subjects), *cells))
    references = [next(iter(m.references.values()), None) for m in columns]
    if any(references):
        cells = [
            _cell(reference, m.definition)
            for reference, m in zip(references, columns, strict=True)
        ]
        rows.append((Cell(REAL_VS_REAL), Cell(""), Cell(""), *cells))
    head = (Cell(""), Cell("Seeds"), Cell("Subjects"), *map(_title, columns))
    return Table(head, tuple(rows))


def pairwise(comparison: Comparison) -> Table:
    """Return a row for each pair of groups, with its differences by PAIRWISE."""
    columns = [m for m in _measures(comparison, PAIRWISE) if m.differences]
    seeds = {group.name: len(group.runs) for group in comparison.groups}
    rows = []
    for pair in comparison.pairs:
        cells = [difference_cell(each, pair) for each in columns]
        if any(cell.text for cell in cells):
            count = " and ".join(str(seeds[name]) for name in pair)
            rows.append((Cell(pair_title(pair)), Cell(count), *cells))
    head = (Cell("Difference"), Cell("Seeds"), *map(_title, columns))
    return Table(head, tuple(rows))


def configuration(comparison: Comparison) -> Table:
    """Return a table of the configuration fields that differ between groups."""
    groups = comparison.groups
    rows = [
        [field, *(_text(values[group.name]) for group in groups)]
        for field, values in comparison.configuration.items()
    ]
    head = ["Field", *(group.title for group in groups)]
    return Table(tuple(map(Cell, head)), tuple(tuple(map(Cell, r)) for r in rows))


def pair_title(pair: Pair) -> str:
    """Return "B − A"."""
    return " − ".join(pair)


def difference_cell(measure: Measure, pair: Pair) -> Cell:
    """Return a pair's difference with its interval, bold where significant."""
    difference = measure.differences.get(pair)
    if difference is None:
        return Cell("")
    bold = difference.verdict in (BETTER, WORSE, DIFFERENT)
    return _cell(difference.interval, measure.definition, signed=True, bold=bold)


def _measures(comparison: Comparison, keys: Sequence[Pair]) -> list[Measure]:
    measures = [comparison.measure(metric, region) for metric, region in keys]
    return [measure for measure in measures if measure is not None]


def _cell(
    interval: Interval | None,
    definition: Metric,
    *,
    signed: bool = False,
    bold: bool = False,
) -> Cell:
    if interval is None:
        return Cell("")
    text = format_number(interval.value, definition.digits, signed=signed)
    note = format_interval(interval, definition.digits, signed=signed)
    return Cell(text, note, bold)


def _title(measure: Measure) -> Cell:
    definition = measure.definition
    notes = [definition.unit]
    if measure.values and definition.best is not None:
        notes.append(f"distance from {definition.best:g}")
    return Cell(definition.title, ", ".join(filter(None, notes)))


def _text(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)


# --- sentences ------------------------------------------------------------------------


def verdicts(comparison: Comparison) -> list[str]:
    """Return a sentence for each pair: which is better by what, and what is open."""
    sentences = []
    for pair in comparison.pairs:
        titles: dict[str, list[str]] = {}  # by verdict
        for measure in _measures(comparison, PAIRWISE):
            if (difference := measure.differences.get(pair)) is not None:
                verdict = _verdict(difference, pair)
                titles.setdefault(verdict, []).append(measure.definition.title)
        if titles:
            verdicts = [f"{text} ({'; '.join(m)})" for text, m in titles.items()]
            sentences.append(f"{pair[0]} against {pair[1]}: {', '.join(verdicts)}.")
    return sentences


def main_sentence(comparison: Comparison, pair: Pair) -> str:
    """Return what the main measure says of a pair of groups."""
    measure = comparison.main_measure
    definition, difference = measure.definition, measure.differences.get(pair)
    if difference is None:
        return f"{pair[0]} and {pair[1]} have nothing to compare by {definition.title}."
    interval = difference.interval
    size = format_number(abs(interval.value), definition.digits)
    side = "lower" if interval.value < 0 else "higher"
    ends = format_interval(interval, definition.digits, signed=True)
    ends = f"95 % interval {ends}, " if ends else ""
    return (
        f"{definition.title} of {pair[0]} is {f'{size} {definition.unit}'.strip()} "
        f"{side} than that of {pair[1]} ({ends}{count_noun(interval.n, 'subject')}): "
        f"{_verdict(difference, pair)}."
    )


def _verdict(difference: Difference, pair: Pair) -> str:
    return {
        BETTER: f"{pair[0]} is significantly better",
        WORSE: f"{pair[1]} is significantly better",
        DIFFERENT: "significantly different",
    }.get(difference.verdict, difference.verdict)


def notes(comparison: Comparison) -> list[str]:
    """Return what a reader must know of the numbers, as sentences."""
    seeds = [len(group.runs) for group in comparison.groups]
    sentences = [
        "In brackets are 95 % confidence intervals by Student's t: over subjects"
        + (" and over seeds." if max(seeds) > 1 else ".")
        + " For distances between distributions they are the interval of the run"
        + (", or the extremes of the seeds' intervals." if max(seeds) > 1 else "."),
    ]
    if min(seeds) < 2:
        sentences.append(
            "A group with one seed is one training: its interval does not cover how "
            "another seed would have turned out (--mode=sweep trains several)."
        )
    verdicts = [d.verdict for m in comparison.measures for d in m.differences.values()]
    judged = [v for v in verdicts if v in (BETTER, WORSE, SAME, DIFFERENT)]
    if judged:
        significant = len(judged) - judged.count(SAME)
        sentences.append(
            "Differences are paired, on the same subjects; a negative one means that "
            "the first group has the smaller number. Where both sides of a best value "
            "are wrong, distances from it are compared. Significant means that the "
            f"interval excludes 0: {significant} of {len(judged)} differences. They "
            "are not corrected for multiple comparisons: about "
            f"{len(judged) / 20:.0f} would be significant by chance alone if there "
            "were no difference at all. No significant difference does not mean that "
            "there is none."
        )
    slope = comparison.measure("hu_slope", LIVER)
    if slope is not None:
        subjects = [s for each in slope.values.values() for s in each.values()]
        reference = [pairs[:, 0].mean() for pairs in subjects]
        low, high = (format_number(end, 0) for end in (min(reference), max(reference)))
        sentences.append(
            "Slope and correlation are over subjects, of the liver's mean HU in the "
            f"synthetic CT against the reference CT ({low} to {high} HU): 1 follows "
            "the fat of each liver, 0 gives everyone the same liver."
        )
    return sentences


# --- Markdown -------------------------------------------------------------------------


def to_markdown(comparison: Comparison, subtitle: str = "") -> str:
    """Return the summary, the differences and how to read them."""
    blocks = [subtitle, _markdown_table(summary(comparison))]
    if table := pairwise(comparison):
        blocks += ["**Differences on the same subjects**", _markdown_table(table)]
        blocks += [_markdown_list(verdicts(comparison))]
    blocks += ["**How to read this**"]
    blocks += [_markdown_list([*comparison.warnings, *notes(comparison)])]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _markdown_table(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    head = [", ".join(filter(None, (cell.text, cell.note))) for cell in table.head]
    rows = [[_markdown_cell(cell) for cell in row] for row in table.rows]
    rule = ["---"] + ["--:"] * (len(head) - 1)
    return "\n".join(map(line, [head, rule, *rows]))


def _markdown_cell(cell: Cell) -> str:
    text = f"**{cell.text}**" if cell.bold else cell.text
    return f"{text} ({cell.note})" if cell.note else text


def _markdown_list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)

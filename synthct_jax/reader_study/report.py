"""The report of a study: a page, and the same numbers as JSON."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path

from input_pipeline.files import replace_folder
from synthct_jax.evaluation.report.charts import DotChart, DotRow
from synthct_jax.evaluation.report.rendering import render_page
from synthct_jax.metrics.intervals import Interval
from synthct_jax.reader_study.analysis import Analysis, analyse
from synthct_jax.reader_study.answers import read_answers, read_key
from synthct_jax.reader_study.settings import SINGLE
from synthct_jax.runtime.jsonl import null_not_finite

PAGE, NUMBERS = "report.html", "results.json"


def write_report(answers: Sequence[Path], key: Path, output: Path) -> Path:
    """Analyse answers, and write their report and its numbers.

    Args:
        answers: files that readers saved, or folders of them.
        key: of their kit.
        output: folder to write; an older report in it is replaced.

    Returns:
        The page.

    Raises:
        FileNotFoundError, ValueError: a file is missing or not what is expected.
    """
    facts = read_key(key)
    analysis = analyse(facts, read_answers(answers, facts))
    with replace_folder(output, (PAGE, NUMBERS), writer="reader study") as folder:
        (folder / PAGE).write_text(render_report(analysis), encoding="utf-8")
        numbers = json.dumps(null_not_finite(dataclasses.asdict(analysis)), indent=1)
        (folder / NUMBERS).write_text(numbers + "\n", encoding="utf-8")
    return output / PAGE


def render_report(analysis: Analysis) -> str:
    """Return the page of a study."""
    rows = [(shares.readers, shares.accuracy) for shares in analysis.readers]
    if analysis.accuracy:
        rows.append(("All, as a sample of readers", analysis.accuracy.interval))
    trials = sum(shares.accuracy.n for shares in analysis.readers)
    kind = "single images" if analysis.design == SINGLE else "pairs"
    notes = [
        f"Reader {reader} left {count} trials unanswered."
        for reader, count in analysis.unanswered.items()
        if count
    ]
    return render_page(
        "reader_study.html",
        title="Can readers tell synthetic CT from real CT?",
        subtitle=f"kit {analysis.kit} · {kind} · {trials} first answers",
        notes=notes,
        analysis=analysis,
        chart=DotChart(
            [_points(label, interval) for label, interval in rows],
            (-50.0, 50.0),
            include_zero=True,
        ),
        sentence=_sentence(analysis),
        percent=_percent,
    )


def _sentence(analysis: Analysis) -> str:
    """Return what follows from the accuracy over readers and cases."""
    test = analysis.equivalence
    if test is None:
        return (
            "One reader: nothing follows about readers in general. Equivalence to "
            "guessing needs two or more."
        )
    interval = analysis.accuracy.interval
    if test.p is None:
        return (
            f"All readers were right equally often, in {100 * interval.value:.1f} %: "
            "how other readers would differ cannot be estimated."
        )
    low, high = (f"{100 * (0.5 + side * test.margin):g}" for side in (-1, 1))
    if test.equivalent:
        side = ""
        if interval.low > 0.5:
            side = ", though above 50 %"
        elif interval.high < 0.5:
            side = ", though below 50 %"
        return (
            f"Equivalent to guessing: the accuracy is within {low} to {high} %{side} "
            f"(p = {test.p:.3f})."
        )
    if interval.low > 0.5:
        return "Readers tell synthetic from real: the accuracy is above 50 %."
    if interval.high < 0.5:
        return "Readers take real for synthetic: the accuracy is below 50 %."
    return (
        f"Undecided: the accuracy may be 50 %, but it is not shown to be within {low} "
        f"to {high} % (p = {test.p:.3f})."
    )


def _points(label: str, interval: Interval) -> DotRow:
    """Return an accuracy in points above 50 %."""
    value, low, high = (
        None if end is None else 100 * (end - 0.5)
        for end in (interval.value, interval.low, interval.high)
    )
    return DotRow(
        label=label,
        values={},
        interval=Interval(value=value, low=low, high=high, n=interval.n),
        highlighted=label.startswith("All"),
    )


def _percent(interval: Interval | None) -> Interval | None:
    """Return an interval of a share in %; None where there is no share."""
    if interval is None or math.isnan(interval.value):
        return None
    low, high = (
        None if end is None else 100 * end for end in (interval.low, interval.high)
    )
    return Interval(value=100 * interval.value, low=low, high=high, n=interval.n)

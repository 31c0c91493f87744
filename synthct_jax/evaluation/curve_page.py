"""The page of a run's evaluations over training: curve.html, without network."""

import dataclasses
from collections.abc import Sequence

from synthct_jax.evaluation.curve import OUTSIDE, Curve, named
from synthct_jax.evaluation.metric_definitions import Metric
from synthct_jax.evaluation.report.charts import Scale
from synthct_jax.evaluation.report.formatting import FEW_SUBJECTS, count_noun
from synthct_jax.evaluation.report.rendering import render_page
from synthct_jax.metrics.intervals import Interval

_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 312.0, 10.0, 150.0
_LOGARITHMIC_FROM = 30.0  # ratio of the largest value to the smallest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """An evaluated checkpoint in a panel, with its x coordinate."""

    x: float
    step: int
    report: str
    best: bool
    interval: Interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """A metric over steps.

    Attributes:
        range: its values between real CT, or None.
        y: scale of the metric.
    """

    metric: Metric
    points: Sequence[Point]
    range: Interval | None
    y: Scale


def render(curve: Curve) -> str:
    """Return the page as HTML. It links the reports beside it: FOLDER/report.html.

    Args:
        curve: with at least one evaluation.
    """
    data = curve.rows[-1].data
    subjects = len(data["mr_subjects"])
    first, last = curve.rows[0].step, curve.rows[-1].step
    return render_page(
        "curve.html",
        title="Evaluation over training",
        subtitle=f"{data['source']} data, {data['split']} split, "
        f"{count_noun(subjects, 'subject')} · "
        f"{count_noun(len(curve.rows), 'checkpoint')}, step {first} to {last}",
        notes=_notes(curve, subjects),
        curve=curve,
        named=named,
        outside=OUTSIDE,
        panels=[_panel(curve, name) for name in curve.metrics],
        shown=curve.metrics,
        box={"left": _LEFT, "right": _RIGHT, "top": _TOP, "bottom": _BOTTOM},
        end_steps=[(first, "middle")]
        if first == last
        else [(first, "start"), (last, "end")],
        step_x=_step_scale(curve),
    )


def _notes(curve: Curve, subjects: int) -> list[str]:
    notes = []
    if len(curve.rows) > 1:
        advice = (
            "choose it by --split=validation, and report the test split at that step"
            if curve.rows[-1].data["split"] == "test"
            else "report its numbers on other subjects"
        )
        notes.append(
            "The best of several steps is partly the best by chance on these subjects: "
            f"{advice}."
        )
    if subjects < FEW_SUBJECTS:
        notes.append(
            f"There are only {count_noun(subjects, 'subject')}: confidence intervals "
            "are wide, and other patients may give other numbers."
        )
    return notes


def _step_scale(curve: Curve) -> Scale:
    steps = [curve.rows[0].step, curve.rows[-1].step]
    return Scale(steps, _LEFT + 8, _RIGHT - 8)


def _panel(curve: Curve, name: str) -> Panel:
    rows, between_real = curve.rows_with(name), curve.reference_range(name)
    intervals = [row.metrics[name] for row in rows]
    shown = [end for one in intervals for end in (one.value, one.low, one.high)]
    if between_real:
        shown += [between_real.low, between_real.high]
    shown = [value for value in shown if value is not None]
    step_x = _step_scale(curve)
    points = [
        Point(
            x=step_x(row.step),
            step=row.step,
            report=f"{row.folder}/report.html",
            best=row is curve.best,
            interval=interval,
        )
        for row, interval in zip(rows, intervals, strict=True)
    ]
    y = Scale(
        shown,
        _BOTTOM,
        _TOP,
        margin=0.06,
        logarithmic=min(shown) > 0 and max(shown) / min(shown) > _LOGARITHMIC_FROM,
    )
    return Panel(metric=named(name), points=points, range=between_real, y=y)

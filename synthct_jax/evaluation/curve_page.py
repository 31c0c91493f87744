"""The page of a run's evaluations over training: curve.html, without network."""

from synthct_jax.evaluation.curve import OUTSIDE, Curve, named
from synthct_jax.evaluation.report.charts import Scale
from synthct_jax.evaluation.report.formatting import count_noun, few_subjects_notes
from synthct_jax.evaluation.report.rendering import render_page

_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 312.0, 10.0, 150.0
_LOGARITHMIC_FROM = 30.0  # ratio of the largest value to the smallest


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
        value_scales={name: _value_scale(curve, name) for name in curve.metrics},
        box={"left": _LEFT, "right": _RIGHT, "bottom": _BOTTOM},
        end_steps=[(first, "middle")]
        if first == last
        else [(first, "start"), (last, "end")],
        step_x=Scale([first, last], _LEFT + 8, _RIGHT - 8),
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
    return notes + few_subjects_notes(subjects)


def _value_scale(curve: Curve, name: str) -> Scale:
    """Return the vertical axis of a metric: its intervals and the range of real CT."""
    intervals = [row.metrics[name] for row in curve.rows_with(name)]
    if (between_real := curve.reference_range(name)) is not None:
        intervals.append(between_real)
    ends = [end for each in intervals for end in (each.low, each.value, each.high)]
    shown = [end for end in ends if end is not None]
    return Scale(
        shown,
        _BOTTOM,
        _TOP,
        limits=named(name).limits,
        margin=0.06,
        logarithmic=min(shown) > 0 and max(shown) / min(shown) > _LOGARITHMIC_FROM,
    )

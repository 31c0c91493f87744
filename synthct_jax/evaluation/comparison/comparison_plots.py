"""Plots of a comparison, as SVG in the colours of its page."""

from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from synthct_jax.evaluation.comparison.measures import Measure
from synthct_jax.evaluation.comparison.runs import FIRST, Run
from synthct_jax.evaluation.report.strings import ticks
from synthct_jax.metrics.bootstrap import Interval

_LEFT, _RIGHT = 250.0, 950.0
_HIGH = 46  # of a run's row
_COLOURS = {"is-better": "var(--good)", "is-worse": "var(--accent)"}


def joined(measure: Measure, runs: Sequence[Run]) -> str:
    """A row for each run, a dot for each subject, lines that join the same one."""
    runs = [run for run in runs if run.letter in measure.values]
    values = np.array([measure.values[run.letter] for run in runs])
    x, parts = _axis(values.min(), values.max(), rows=len(runs))
    for subject, of_subject in zip(measure.subjects, values.T, strict=True):
        points = " ".join(f"{x(v)},{_y(row)}" for row, v in enumerate(of_subject))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="currentColor" '
            f'opacity=".3"><title>{escape(subject)}</title></polyline>'
        )
    for row, (run, of_run) in enumerate(zip(runs, values, strict=True)):
        parts += [_label(run, row), *_dots(measure.subjects, of_run, x, row)]
        parts.append(_mean(x(of_run.mean()), row))
    return _svg(parts, rows=len(runs), about="values of each subject")


def differences(measure: Measure, runs: Sequence[Run]) -> str:
    """A row for each run but A: its differences, their mean and interval; and 0."""
    known = [
        (run, values)
        for run in runs
        if run.letter != FIRST
        and (values := measure.differences_of(run.letter)) is not None
    ]
    if not known:
        return ""
    every = np.concatenate([values for _, values in known])
    x, parts = _axis(min(0.0, every.min()), max(0.0, every.max()), rows=len(known))
    bottom = _HIGH * len(known)
    parts.append(
        f'<line x1="{x(0)}" x2="{x(0)}" y1="0" y2="{bottom}" stroke="currentColor" '
        'stroke-width="1.5"/>'
    )
    for row, (run, values) in enumerate(known):
        found = measure.difference(run.letter).found
        parts.append(_label(run, row, f" − {FIRST},"))
        parts += _dots(measure.subjects, values, x, row)
        if found.low is not None:
            parts.append(
                f'<line x1="{x(found.low)}" x2="{x(found.high)}" y1="{_y(row)}" '
                f'y2="{_y(row)}" stroke="var(--accent)" stroke-width="4"/>'
            )
        parts.append(_mean(x(found.mean), row))
    return _svg(parts, rows=len(known), about="differences of each subject")


def bar(found: Interval, reach: float, kind: str) -> str:
    """An interval about 0, small enough for a table.

    Args:
        reach: what is shown to both sides of 0.
        kind: of `_COLOURS`, or other.
    """
    if found.low is None or not reach:
        return ""
    colour = _COLOURS.get(kind, "var(--quiet)")

    def x(value: float) -> float:
        return round(60 + 54 * value / reach, 1)

    return (
        '<svg viewBox="0 0 120 12" width="120" height="12" aria-hidden="true">'
        '<line x1="6" x2="114" y1="6" y2="6" stroke="var(--line)"/>'
        '<line x1="60" x2="60" y1="0" y2="12" stroke="currentColor"/>'
        f'<rect x="{x(found.low)}" y="3" height="6" rx="2" fill="{colour}" '
        f'opacity=".45" width="{max(x(found.high) - x(found.low), 2):.1f}"/>'
        f'<circle cx="{x(found.mean)}" cy="6" r="3.5" fill="{colour}"/></svg>'
    )


# --- pieces ---------------------------------------------------------------------------


def _axis(
    low: float, high: float, *, rows: int
) -> tuple[Callable[[float], float], list[str]]:
    margin = 0.03 * (high - low) or 0.1 * abs(high) or 1.0
    low, high = low - margin, high + margin

    def x(value: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (value - low) / (high - low), 1)

    bottom = _HIGH * rows
    parts = []
    for tick in ticks(low, high, 8):
        parts.append(
            f'<line x1="{x(tick)}" x2="{x(tick)}" y1="0" y2="{bottom}" '
            'stroke="currentColor" opacity=".12"/>'
            f'<text class="quiet" x="{x(tick)}" y="{bottom + 16}" '
            f'text-anchor="middle">{f"{tick:.6g}".replace("-", "−")}</text>'
        )
    return x, parts


def _y(row: int) -> float:
    return _HIGH * row + _HIGH / 2


def _label(run: Run, row: int, more: str = "") -> str:
    text = run.label if len(run.label) < 28 else f"…{run.label[-26:]}"
    return (
        f'<text x="{_LEFT - 14}" y="{_y(row) + 4}" text-anchor="end">'
        f"{run.letter}{more} {escape(text)}</text>"
    )


def _dots(
    names: Sequence[str], values: Sequence[float], x: Callable, row: int
) -> list[str]:
    return [
        f'<circle cx="{x(value)}" cy="{_y(row)}" r="4" fill="currentColor" '
        f'opacity=".45"><title>{escape(name)}: {value:.4g}</title></circle>'
        for name, value in zip(names, values, strict=True)
    ]


def _mean(at: float, row: int) -> str:
    return (
        f'<line x1="{at}" x2="{at}" y1="{_y(row) - 12}" y2="{_y(row) + 12}" '
        'stroke="var(--accent)" stroke-width="3"/>'
    )


def _svg(parts: Sequence[str], *, rows: int, about: str) -> str:
    return (
        f'<svg viewBox="0 0 {_RIGHT + 20:g} {_HIGH * rows + 22}" role="img" '
        f'aria-label="{about}">{"".join(parts)}</svg>'
    )

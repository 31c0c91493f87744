"""Numbers and words of the reports, one way for every page."""

import math
from collections.abc import Iterable

FEW_SUBJECTS = 10
"""With fewer subjects a report warns that other patients may give other numbers."""


def few_subjects_notes(n: int) -> list[str]:
    """Return a warning of few subjects, or nothing."""
    if n >= FEW_SUBJECTS:
        return []
    only, intervals = f"are only {n} subjects", "confidence intervals are wide"
    if n == 1:
        only, intervals = "is only 1 subject", "no confidence interval can be given"
    return [f"There {only}: {intervals}, and other patients may give other numbers."]


def format_number(
    value: float | None, digits: int | None = None, *, signed: bool = False
) -> str:
    """Format a number with a typographic minus sign; undefined values become a dash.

    Args:
        digits: decimal places; None gives three significant digits, an exponent from
            1000 on, and '< 0.001' or '−0.000' for smaller magnitudes.
        signed: whether positive numbers get a plus sign.
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if digits is None and 0 < abs(value) < 0.001:
        return "< 0.001" if value > 0 else "−0.000"
    sign = "+" if signed and value > 0 else ""
    text = f"{value:.{digits}f}" if digits is not None else f"{value:.3g}"
    return sign + text.replace("-", "−")


def format_interval(
    interval, digits: int | None = None, *, signed: bool = False
) -> str:
    """Return "LOW to HIGH" of an interval, or an empty text if it has no ends."""
    if interval is None or interval.low is None or interval.high is None:
        return ""
    low, high = (
        format_number(end, digits, signed=signed)
        for end in (interval.low, interval.high)
    )
    return f"{low} to {high}"


def count_noun(n: int, noun: str) -> str:
    """Return "1 subject" or "2 subjects"."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def list_names(names: Iterable[str], at_most: int = 12) -> str:
    """Return the names with commas; the ones beyond `at_most` are only counted."""
    names = list(names)
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more


def direction(metric) -> str:
    """Return the unit of a metric and which values are better, for small print."""
    better = metric.better
    if better in ("lower", "higher"):
        better += " is better"
    elif better:
        better = f"best {better}"
    return ", ".join(filter(None, (metric.unit, better)))

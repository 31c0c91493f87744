"""Scales and rows of the charts that templates draw as SVG in the page's colours."""

import dataclasses
import math
from collections.abc import Mapping, Sequence


class Scale:
    """A map from values to coordinates in pixels, linear or logarithmic.

    Attributes:
        low, high: smallest and largest value shown.
        logarithmic: whether the axis is logarithmic.
    """

    def __init__(
        self,
        values: Sequence[float | None],
        start: float,
        end: float,
        *,
        margin: float = 0.0,
        logarithmic: bool = False,
    ):
        """Fit the scale to values; None and values that are not finite are ignored.

        Args:
            start, end: coordinates of the smallest and of the largest value.
            margin: empty share of the axis beyond the values at both ends.
        """
        values = [v for v in values if v is not None and math.isfinite(v)]
        self.logarithmic = logarithmic
        low, high = self._position(min(values)), self._position(max(values))
        beyond = margin * (high - low) or (0.1 * abs(high) or 1.0) * (low == high)
        self._low, self._high = low - beyond, high + beyond
        self._start, self._end = start, end

    def _position(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value

    def __call__(self, value: float) -> float:
        share = (self._position(value) - self._low) / (self._high - self._low)
        return round(self._start + (self._end - self._start) * share, 1)

    def ticks(self, at_most: int) -> list[float]:
        """Return round values within the scale; powers of ten if it is logarithmic."""
        if self.logarithmic:
            powers = range(math.ceil(self._low), math.floor(self._high) + 1)
            return [10.0**power for power in powers][:: max(1, len(powers) // at_most)]
        span = (self._high - self._low) / at_most
        step = 10 ** math.floor(math.log10(span))
        step *= next(m for m in (1, 2, 5, 10) if span <= step * m)
        first, last = math.ceil(self._low / step), math.floor(self._high / step)
        return [step * n for n in range(first, last + 1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DotRow:
    """One row of a dot chart.

    Attributes:
        label: text at the left.
        values: subject -> value, a dot each.
        interval: mean of the values and its confidence interval.
        highlighted: whether the row is drawn in the accent colour.
    """

    label: str
    values: Mapping[str, float]
    interval: object
    highlighted: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class DotChart:
    """Rows of dots, one for each subject, over a common axis.

    Attributes:
        joined: whether lines join the dots of the same subject.
        x: scale of the axis.
    """

    rows: Sequence[DotRow]
    joined: bool
    x: Scale

    LEFT, RIGHT, ROW_HEIGHT = 270.0, 960.0, 40.0


def dot_chart(
    rows: Sequence[DotRow], *, joined: bool = False, include_zero: bool = False
) -> DotChart:
    """Return the chart of the rows; `include_zero` extends its axis to 0."""
    values = [value for row in rows for value in row.values.values()]
    for row in rows:
        values += [row.interval.low, row.interval.high, row.interval.value]
    x = Scale(
        [*values, *([0.0] if include_zero else [])],
        DotChart.LEFT,
        DotChart.RIGHT,
        margin=0.03,
    )
    return DotChart(rows=rows, joined=joined, x=x)

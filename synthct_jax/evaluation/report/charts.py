"""Scales and rows of the charts that templates draw as SVG in the page's colours."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from synthct_jax.metrics.intervals import UNLIMITED, Interval, Limits


class Scale:
    """A map from values to coordinates in pixels, linear or logarithmic."""

    def __init__(
        self,
        values: Sequence[float | None],
        start: float,
        end: float,
        *,
        limits: Limits = UNLIMITED,
        margin: float = 0.0,
        logarithmic: bool = False,
    ):
        """Fit the scale to values; None and values that are not finite are ignored.

        Args:
            start, end: coordinates of the smallest and of the largest value.
            limits: least and largest value that the axis may reach.
            margin: empty share of the axis beyond the values at both ends.
        """
        values = [v for v in values if v is not None and math.isfinite(v)]
        self.logarithmic = logarithmic
        low, high = self._position(min(values)), self._position(max(values))
        beyond = margin * (high - low) or (0.1 * abs(high) or 1.0) * (low == high)
        self._low = max(low - beyond, self._position(limits[0]))
        self._high = min(high + beyond, self._position(limits[1]))
        self._start, self._end = start, end

    def _position(self, value: float) -> float:
        if not self.logarithmic:
            return value
        return math.log10(value) if value > 0 else -math.inf

    def __call__(self, value: float) -> float:
        share = (self._position(value) - self._low) / (self._high - self._low)
        return round(self._start + (self._end - self._start) * share, 1)

    def ticks(self, about: int) -> list[float]:
        """Return some round values on the scale, powers of ten on a logarithmic one."""
        if self.logarithmic:
            powers = range(math.ceil(self._low), math.floor(self._high) + 1)
            return [10.0**power for power in powers][:: max(1, len(powers) // about)]
        span = (self._high - self._low) / about
        step = 10 ** math.floor(math.log10(span))
        step *= next(m for m in (1, 2, 5, 10) if span <= step * m)
        first, last = math.ceil(self._low / step), math.floor(self._high / step)
        return [step * n for n in range(first, last + 1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DotRow:
    """A dot for each subject, and their mean; in the accent colour if highlighted."""

    label: str
    values: Mapping[str, float]
    interval: Interval
    highlighted: bool = True


class DotChart:
    """Layout of a dot plot: its rows, and the axis that they share.

    A dot is a subject. If `joined`, a line connects the dots of each subject.
    """

    LEFT, RIGHT, ROW_HEIGHT = 270.0, 960.0, 40.0

    def __init__(
        self,
        rows: Sequence[DotRow],
        limits: Limits,
        *,
        joined: bool = False,
        include_zero: bool = False,
    ):
        """Fit the axis to the rows, and to 0 if it is to be included."""
        self.rows, self.joined = rows, joined
        values = [0.0] if include_zero else []
        for row in rows:
            values += row.values.values()
            values += [row.interval.low, row.interval.high, row.interval.value]
        self.x = Scale(values, self.LEFT, self.RIGHT, limits=limits, margin=0.03)

"""Headline metrics over the steps of a run, read from the folders of its evaluations.

They are the headlines of `metric_definitions`, and OUTSIDE, whose n is the number of
metrics that are judged.
"""

import contextlib
import dataclasses
import functools
import math
import re
from pathlib import Path
from typing import Any

from absl import logging

from synthct_jax.evaluation import metric_definitions, results
from synthct_jax.evaluation.metric_definitions import AT_LEAST_0, Metric
from synthct_jax.evaluation.results import Results
from synthct_jax.metrics import haar_features
from synthct_jax.metrics.intervals import Interval

OUTSIDE = "outside_real_vs_real"
BEST_BY = ("mae", haar_features.NAME)

_OUTSIDE = Metric(
    "Metrics worse than between real CT",
    "",
    "lower",
    0,
    AT_LEAST_0,
    "number of distribution metrics that are worse than between halves of the real CT",
)


@dataclasses.dataclass(frozen=True)
class Row:
    """An evaluation of the run: step, its folder's name, and results."""

    step: int
    folder: str
    results: Results

    @property
    def data(self) -> dict[str, Any]:
        """Facts of the evaluated data, the same in all rows of a curve."""
        names = ("source", "split", "size", "spacing_mm", "mr_subjects")
        return {name: self.results.data[name] for name in names}

    @functools.cached_property
    def metrics(self) -> dict[str, Interval]:
        """Headline metrics that have a value, and OUTSIDE, by name."""
        names = [
            name
            for group in ("paired", "distribution", "consistency")
            for name in self.results.metrics(group)
            if metric_definitions.named(name).headline
        ]
        metrics = {name: self.results.interval(name) for name in names}
        if judged := self.results.judged():
            outside = float(len(self.results.outside()))
            metrics[OUTSIDE] = Interval(value=outside, low=None, high=None, n=judged)
        return {n: each for n, each in metrics.items() if math.isfinite(each.value)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """All evaluations of a run on the same data, ascending by step."""

    rows: tuple[Row, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of any row, in their order."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.metrics))

    @property
    def best_by(self) -> str | None:
        """The metric that decides which step is best; None where none is known."""
        return next((name for name in BEST_BY if self.rows_with(name)), None)

    @property
    def best(self) -> Row | None:
        """The first row with the smallest `best_by`."""
        if (metric := self.best_by) is None:
            return None
        return min(self.rows_with(metric), key=lambda row: row.metrics[metric].value)

    def rows_with(self, metric: str) -> list[Row]:
        """Return the rows that have a value of a metric."""
        return [row for row in self.rows if metric in row.metrics]

    def reference_range(self, metric: str) -> Interval | None:
        """Return the range of real CT, by the newest row that has it."""
        if metric == OUTSIDE:
            return None
        newest = sorted(self.rows, key=lambda row: row.results.made, reverse=True)
        return next(
            filter(None, (row.results.reference_range(metric) for row in newest)), None
        )


def read_rows(folder: Path, split: str | None) -> list[Row]:
    """Return the evaluations of this version in a folder, ascending by step.

    They are in folders as `results.default_folder` names them for the split.
    """
    name = re.compile(r"(\d{6,})" + (f"_{re.escape(split)}" if split else ""))
    rows = []
    for path in folder.glob("*/metrics.json"):
        if match := name.fullmatch(path.parent.name):
            with contextlib.suppress(OSError):  # it is being replaced
                rows.append(_read(path, path.stat().st_mtime_ns, int(match[1])))
    return sorted(filter(None, rows), key=lambda row: row.step)


@functools.cache
def _read(path: Path, modified: int, step: int) -> Row | None:
    """Read an evaluation, once as long as it is not modified."""
    del modified
    try:
        return Row(step, path.parent.name, results.read_json(path))
    except ValueError as error:
        logging.warning("Not in the curve: %s", error)
        return None


def read_curve(folder: Path, split: str | None = None) -> Curve:
    """Return the evaluations on the same data as the newest, see `read_rows`."""
    rows = read_rows(folder, split)
    newest = max(rows, key=lambda row: (row.results.made, row.step), default=None)
    others = [row.folder for row in rows if row.data != newest.data]
    if others:
        logging.warning(
            "%s: evaluated on other data than %s, so not in the curve: %s",
            folder,
            newest.folder,
            ", ".join(others),
        )
    return Curve(rows=tuple(row for row in rows if row.folder not in others))


def named(metric: str) -> Metric:
    """Return the definition of a metric, as `metric_definitions.named`; of OUTSIDE."""
    return _OUTSIDE if metric == OUTSIDE else metric_definitions.named(metric)

"""Headline metrics over the steps of a run, read from the folders of its evaluations.

FOLDER/curve.json, or curve_SPLIT.json where the user chose the split:

    format            2
    data              source, split and number of subjects
    best              metric, step and value, by MAE or else Fréchet distance; or null
    reference_ranges  metric -> {value, low, high, n} of real CT, where known
    rows              ascending: {step, folder, made,
                      metrics: metric -> {value, low, high, n}}

Metrics are the headlines of `metric_definitions`, and OUTSIDE, whose n is the number of
metrics that are judged.
"""

import dataclasses
import functools
import json
import math
import re
from pathlib import Path
from typing import Any

from absl import logging

from synthct_jax.evaluation import metric_definitions, results
from synthct_jax.evaluation.metric_definitions import Metric
from synthct_jax.evaluation.results import Results
from synthct_jax.metrics import haar_features
from synthct_jax.metrics.intervals import UNLIMITED, Interval

FORMAT = 2
OUTSIDE = "outside_real_vs_real"
BEST_BY = ("mae", haar_features.NAME)

_OUTSIDE = Metric(
    "Metrics worse than between real CT",
    "",
    "lower",
    0,
    UNLIMITED,
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
        return {n: one for n, one in metrics.items() if math.isfinite(one.value)}

    def value(self, metric: str) -> float | None:
        return self.metrics[metric].value if metric in self.metrics else None


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
        return min(self.rows_with(metric), key=lambda row: row.value(metric))

    def rows_with(self, metric: str) -> list[Row]:
        """Return the rows that have a value of a metric."""
        return [row for row in self.rows if metric in row.metrics]

    def reference_range(self, metric: str) -> Interval | None:
        """Return the range of real CT, by the newest row that has it."""
        if metric == OUTSIDE:
            return None
        newest = sorted(self.rows, key=lambda row: row.results.made, reverse=True)
        ranges = (row.results.reference_range(metric) for row in newest)
        return next((one for one in ranges if one is not None), None)


class Reader:
    """Reads the evaluations in a folder, each once as long as it does not change."""

    def __init__(self, folder: Path, split: str | None = None):
        """Read those of `evaluate.default_folder` with this split."""
        self._folder = folder
        self._name = re.compile(r"(\d{6,})" + (f"_{re.escape(split)}" if split else ""))
        self._rows: dict[tuple[Path, int], Row | None] = {}

    def rows(self) -> list[Row]:
        """Return all evaluations of this version, ascending by step."""
        rows = []
        for path in self._folder.glob("*/metrics.json"):
            if not (match := self._name.fullmatch(path.parent.name)):
                continue
            try:
                key = path, path.stat().st_mtime_ns
                if key not in self._rows:
                    self._rows[key] = _read(path, int(match[1]))
            except OSError:
                continue  # it is being replaced
            rows.append(self._rows[key])
        return sorted(filter(None, rows), key=lambda row: row.step)

    def curve(self) -> Curve:
        """Return the evaluations on the same data as the newest."""
        rows = self.rows()
        newest = max(rows, key=lambda row: (row.results.made, row.step), default=None)
        same = [row for row in rows if row.data == newest.data]
        if others := [row.folder for row in rows if row.data != newest.data]:
            logging.warning(
                "%s: evaluated on other data than %s, so not in the curve: %s",
                self._folder,
                newest.folder,
                ", ".join(others),
            )
        return Curve(rows=tuple(same))


def _read(path: Path, step: int) -> Row | None:
    try:
        return Row(step, path.parent.name, results.read_json(path))
    except ValueError as error:
        logging.warning("Not in the curve: %s", error)
        return None


def file_name(split: str | None, suffix: str) -> str:
    """Return curve.SUFFIX, or curve_SPLIT.SUFFIX where the user chose the split."""
    return f"curve{f'_{split}' if split else ''}.{suffix}"


def to_json(curve: Curve) -> str:
    """Return the text of curve.json."""
    data, best = curve.rows[-1].data, curve.best
    ranges = {name: curve.reference_range(name) for name in curve.metrics}
    fields = {
        "format": FORMAT,
        "data": {
            "source": data["source"],
            "split": data["split"],
            "subjects": len(data["mr_subjects"]),
        },
        "best": best
        and {
            "metric": curve.best_by,
            "step": best.step,
            "value": best.value(curve.best_by),
        },
        "reference_ranges": _plain({name: of for name, of in ranges.items() if of}),
        "rows": [
            {
                "step": row.step,
                "folder": row.folder,
                "made": row.results.made,
                "metrics": _plain(row.metrics),
            }
            for row in curve.rows
        ],
    }
    return json.dumps(fields, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(intervals: dict[str, Interval]) -> dict[str, dict[str, float | None]]:
    return {name: dataclasses.asdict(one) for name, one in intervals.items()}


def named(metric: str) -> Metric:
    """Return the definition of a metric, as `metric_definitions.named`; of OUTSIDE."""
    return _OUTSIDE if metric == OUTSIDE else metric_definitions.named(metric)

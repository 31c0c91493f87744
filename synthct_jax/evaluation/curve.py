"""Metrics over the steps of a run: of all its evaluations, read from their folders.

FOLDER/curve.json, or curve_SPLIT.json where a split was asked for by name:

    format          1
    data            source, split and number of subjects
    best            metric, step and value, by MAE or else by Frechet distance; or null
    floors          metric -> {mean, low, high} between real CT, as far as known
    rows            ascending: {step, folder, made,
                    metrics: metric -> {value, low, high}}

Metrics are those of `catalogue`, and `OUTSIDE`. Values that are not finite are null.
"""

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

from synthct_jax.evaluation import metric_definitions, results
from synthct_jax.evaluation.metric_definitions import Metric
from synthct_jax.evaluation.results import Results
from synthct_jax.metrics import haar_features
from synthct_jax.metrics.intervals import UNLIMITED, Interval

FORMAT = 1
OUTSIDE = "outside_floor"  # how many distances are larger than between real CT
BEST_BY = ("mae", haar_features.NAME)

_OUTSIDE = Metric(
    "Metrics worse than between real CT",
    "",
    "lower",
    0,
    UNLIMITED,
    "number of distribution metrics that are worse than between halves of the real CT",
)
_DISTRIBUTION = (haar_features.NAME, "fid", "kl_real_synthetic", "wasserstein")
_CONSISTENCY = r"cycle_.+|outline_dice"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """An evaluation of the run.

    Attributes:
        step: of the checkpoint.
        folder: of its report, by name.
        made: time in UTC, ISO 8601.
        data: what it was evaluated on: source, split, size of the grid and subjects.
        metrics: by name {value, low, high}.
        floors: by name {mean, low, high}, where they are known.
        compared: how many distances have a floor.
    """

    step: int
    folder: str
    made: str
    data: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, float | None]]
    floors: Mapping[str, Mapping[str, float]]
    compared: int

    def value(self, metric: str) -> float | None:
        return self.metrics.get(metric, {}).get("value")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """All evaluations of a run on the same data, ascending by step."""

    rows: tuple[Row, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those of any row, in their order."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.metrics))

    @property
    def best_by(self) -> str | None:
        """The metric that says which step is best; None where none is known."""
        return next((name for name in BEST_BY if any(self.values(name))), None)

    @property
    def best(self) -> Row | None:
        """The first of those with the smallest `best_by`."""
        if (metric := self.best_by) is None:
            return None
        return min(self.values(metric), key=lambda row: row.value(metric))

    def values(self, metric: str) -> list[Row]:
        """The rows that have a value of it."""
        return [row for row in self.rows if row.value(metric) is not None]

    def floor(self, metric: str) -> Mapping[str, float] | None:
        """What it is between real CT; the same in all rows, but for their versions."""
        newest = sorted(self.rows, key=lambda row: row.made, reverse=True)
        return next((r.floors[metric] for r in newest if metric in r.floors), None)


class Reader:
    """Reads the evaluations in a folder, each once as long as it does not change."""

    def __init__(self, folder: Path, split: str | None = None):
        """`split`: as it was asked for by name (`evaluate.default_folder`)."""
        self._folder = folder
        self._name = re.compile(r"(\d{6,})" + (f"_{re.escape(split)}" if split else ""))
        self._known: dict[tuple[Path, int], Row | None] = {}

    def rows(self) -> list[Row]:
        """All evaluations of this version, ascending by step."""
        found = []
        for path in self._folder.glob("*/metrics.json"):
            if not (matched := self._name.fullmatch(path.parent.name)):
                continue
            try:
                key = path, path.stat().st_mtime_ns
                if key not in self._known:
                    self._known[key] = _read(path, int(matched[1]))
            except OSError:
                continue  # it is being replaced
            if (row := self._known[key]) is not None:
                found.append(row)
        return sorted(found, key=lambda row: row.step)

    def curve(self) -> Curve:
        """Those on the same data as the newest."""
        rows = self.rows()
        newest = max(rows, key=lambda row: (row.made, row.step), default=None)
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
        found = results.read_json(path)
        return of_results(found, step=step, folder=path.parent.name)
    except (KeyError, TypeError, ValueError) as error:
        logging.warning("Not in the curve: %s", error)
        return None


def of_results(results: Results, *, step: int, folder: str) -> Row:
    """Return what the curve keeps of an evaluation."""
    names = ["mae"] if results.paired else []
    names += [n for n in _DISTRIBUTION if results.interval(n) is not None]
    names += [
        name
        for name in results.metrics("consistency")
        if re.fullmatch(_CONSISTENCY, name)
    ]
    metrics, floors = {}, {}
    for name in names:
        metrics[name] = _entry(results.interval(name))
        if (reference := results.reference_range(name)) is not None:
            entry = _entry(reference)
            floors[name] = {"mean": entry.pop("value")} | entry
    distances = results.metrics("distribution")
    compared = sum(results.reference_range(n) is not None for n in distances)
    if compared:
        outside = float(len(results.outside()))
        metrics[OUTSIDE] = {"value": outside, "low": None, "high": None}
    data_names = ("source", "split", "size", "spacing_mm", "mr_subjects")
    return Row(
        step=step,
        folder=folder,
        made=results.made,
        data={name: results.data[name] for name in data_names},
        metrics=metrics,
        floors=floors,
        compared=compared,
    )


def _entry(interval: Interval) -> dict[str, float | None]:
    value = interval.value if math.isfinite(interval.value) else None
    return {"value": value, "low": interval.low, "high": interval.high}


def file_name(split: str | None, kind: str) -> str:
    """curve.json or curve.html, or with the split where one was asked for by name."""
    return f"curve{f'_{split}' if split else ''}.{kind}"


def to_json(curve: Curve) -> str:
    """The text of curve.json."""
    data = curve.rows[-1].data
    best = curve.best
    floors = {name: floor for name in curve.metrics if (floor := curve.floor(name))}
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
        "floors": floors,
        "rows": [
            {
                "step": row.step,
                "folder": row.folder,
                "made": row.made,
                "metrics": row.metrics,
            }
            for row in curve.rows
        ],
    }
    return json.dumps(fields, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def about(metric: str) -> Metric:
    """As `catalogue.named`, of OUTSIDE as well."""
    return _OUTSIDE if metric == OUTSIDE else metric_definitions.named(metric)

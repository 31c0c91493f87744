"""The numbers of an evaluation as one tidy table, and its files.

Each number is a `Row`: subject, method, region, metric, value. metrics.csv is that
table with units; metrics.json is a `Results`. Values that are not finite (the PSNR of
equal images) are null in metrics.json and empty in metrics.csv.
"""

import dataclasses
import functools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from input_pipeline import files
from synthct_jax.evaluation import metric_definitions
from synthct_jax.evaluation.metric_definitions import BODY, named
from synthct_jax.metrics import haar_features
from synthct_jax.metrics.intervals import Interval, mean_interval, value_range
from synthct_jax.runtime.jsonl import null_not_finite

FORMAT = 3

NETWORK = "network"
METHODS = {
    NETWORK: "synthetic CT",
    "water": "water in the outline of the MR",
    "histogram": "MR mapped to the CT histogram",
    "thresholds": "two thresholds of MR brightness",
    "medians": "median CT of each MR intensity",
    "bulk": "reference CT in three densities",
}
"""Methods that give a CT, and their titles: the network; baselines that know no
anatomy; and air, soft tissue and bone of the reference CT at one density each, which no
MR alone can give."""
BASELINES = ("water", "histogram", "thresholds", "medians")

REFERENCE_CT = "reference_ct"
"""In the place of a method: the subject's own reference CT."""
REAL_VS_REAL = "real_vs_real"
"""In the place of a method: one half of the real CT, compared with the other half."""

ALL_SUBJECTS = ""


class Row(NamedTuple):
    """Value of a metric for a method and a region, of one subject or of all.

    Attributes:
        subject: its name, or ALL_SUBJECTS: a mean over subjects, or the value of a
            distribution.
        method: a name in METHODS, REFERENCE_CT or REAL_VS_REAL.
        region: as `metric_definitions.BODY`.
        metric: its name in `metric_definitions`.
        value: NaN where it is not known.
        low, high: of all subjects: the 95 % interval, of REAL_VS_REAL the extremes.
        n: of all subjects: how many there are.
    """

    subject: str
    method: str
    region: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """One evaluation.

    Attributes:
        made: time in UTC, ISO 8601.
        data: data_dir, source, split, real_ct_split (of the real CT compared with:
            train where the split has none), size, spacing_mm, stored_mr_channels,
            mr_subjects and ct_subjects (name to number of slices), halves
            (`distribution.sample_sizes`), warnings.
        provenance: what made the synthetic CT: step, config, versions, ...
        rows: all numbers.
        histograms: start_hu and step_hu of the bins; counts in the body of `synthetic`
            and `real` CT.
        error_histogram: start_hu, step_hu and, by method, counts of synthetic minus
            reference CT in the body; None without reference CT.
        spectra: frequencies in cycles per pixel; log10 of the mean power of
            `synthetic` and `real` CT.
    """

    made: str
    data: Mapping[str, Any]
    provenance: Mapping[str, Any]
    rows: Sequence[Row]
    histograms: Mapping[str, Any]
    error_histogram: Mapping[str, Any] | None
    spectra: Mapping[str, Any]

    @functools.cached_property
    def _table(self) -> dict[tuple[str, str, str], dict[str, Row]]:
        """Rows by method, region and metric, and then by subject."""
        table: dict[tuple[str, str, str], dict[str, Row]] = {}
        for row in self.rows:
            key = row.method, row.region, row.metric
            table.setdefault(key, {})[row.subject] = row
        return table

    def interval(
        self, metric: str, method: str = NETWORK, region: str = BODY
    ) -> Interval | None:
        """Return the mean over subjects, or the value of a distribution; else None."""
        row = self._table.get((method, region, metric), {}).get(ALL_SUBJECTS)
        return row and Interval(value=row.value, low=row.low, high=row.high, n=row.n)

    def values(
        self, metric: str, method: str = NETWORK, region: str = BODY
    ) -> dict[str, float]:
        """Return the value of each subject that has one, by name."""
        rows = self._table.get((method, region, metric), {})
        return {name: row.value for name, row in rows.items() if name != ALL_SUBJECTS}

    def metrics(self, group: str) -> list[str]:
        """Return the network's metrics of a group (`metric_definitions.group`)."""
        return [
            metric
            for method, region, metric in self._table
            if (method, region) == (NETWORK, BODY)
            and metric_definitions.group(metric) == group
        ]

    def regions(self, kind: str) -> list[str]:
        """Return the names of the regions of a kind, such as 'tissue:liver'.

        The kind is 'tissue', 'pure', 'band' or 'border'.
        """
        regions = dict.fromkeys(region for _, region, _ in self._table)
        return [region for region in regions if region.startswith(f"{kind}:")]

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods that have values, in the order of METHODS."""
        there = {method for method, _, _ in self._table}
        return tuple(method for method in METHODS if method in there)

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(self.data["mr_subjects"])

    @property
    def paired(self) -> bool:
        """Return whether the reference CT of at least one subject is known."""
        return self.interval("mae") is not None

    def reference_range(self, metric: str) -> Interval | None:
        """Return mean and extremes of a metric of, or between, real CT.

        Those of distributions are between halves of real CT, those of consistency over
        reference CT. `n` counts real subjects.
        """
        if metric_definitions.group(metric) == "distribution":
            return self.interval(metric, REAL_VS_REAL)
        return value_range(self.values(metric, REFERENCE_CT).values())

    def is_outside(self, metric: str) -> bool | None:
        """Return whether the network is outside the reference range; None: unknown."""
        return named(metric).is_outside(
            self.interval(metric).value, self.reference_range(metric)
        )

    def judged(self) -> int:
        """Return the number of distribution metrics with a range to judge by."""
        judged = map(self.is_outside, self.metrics("distribution"))
        return sum(outside is not None for outside in judged)

    def outside(self) -> list[str]:
        """Return the distribution metrics that are worse than between real CT."""
        return [name for name in self.metrics("distribution") if self.is_outside(name)]

    def best_baseline(self) -> str:
        """Return the best baseline: by MAE, or else by Fréchet distance."""
        metric = "mae" if self.paired else haar_features.NAME
        there = [method for method in BASELINES if method in self.methods]
        return min(there, key=lambda method: self.interval(metric, method).value)

    def subject_overlap(self) -> str:
        """Return how many subjects have MR and real CT: 'all', 'some' or 'none'."""
        mr, ct = set(self.data["mr_subjects"]), set(self.data["ct_subjects"])
        if not mr & ct:
            return "none"
        return "all" if mr == ct else "some"


def mean_rows(rows: Sequence[Row]) -> list[Row]:
    """Return a row with mean and interval for each method, region and metric."""
    values: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        values.setdefault((row.method, row.region, row.metric), []).append(row.value)
    return [
        all_subjects_row(
            method, region, metric, mean_interval(of_subjects, named(metric).limits)
        )
        for (method, region, metric), of_subjects in values.items()
    ]


def all_subjects_row(method: str, region: str, metric: str, interval: Interval) -> Row:
    return Row(ALL_SUBJECTS, method, region, metric, *dataclasses.astuple(interval))


def summary(results: Results) -> list[str]:
    """Return a few lines for a terminal."""
    best = results.best_baseline()
    lines = []
    if results.paired:
        mae = {m: results.interval("mae", m) for m in results.methods}
        ours = mae.pop(NETWORK)
        ends = "" if ours.low is None else f" ({ours.low:.1f} to {ours.high:.1f})"
        subjects = f"{ours.n} subject{'' if ours.n == 1 else 's'}"
        lines.append(f"MAE in the body: {ours.value:.1f} HU{ends}, {subjects}")
        lines += [f"  {METHODS[m]}: {mean.value:.1f} HU" for m, mean in mae.items()]
        ratio = ours.value / mae[best].value
        lines.append(f"  {ratio:.0%} of the best baseline's")
    key = haar_features.NAME
    real = results.reference_range(key)
    halves = results.data["halves"]
    lines.append(
        f"{named(key).title}: {results.interval(key).value:.3g}"
        + (f", real against real {real.value:.3g}" if real else "")
        + f" ({halves['synthetic'][1]} synthetic, {halves['real'][1]} real slices)"
    )
    lines.append(f"  {METHODS[best]}: {results.interval(key, best).value:.3g}")
    if judged := results.judged():
        lines.append(
            f"{len(results.outside())} of {judged} such metrics are worse than between "
            "halves of the real CT"
        )
    return lines


# --- files ----------------------------------------------------------------------------


def default_folder(workdir: Path, step: int, split: str | None = None) -> Path:
    """Return RUN/evaluation/STEP, or STEP_SPLIT where the user chose the split."""
    return workdir / "evaluation" / (f"{step:06d}" + (f"_{split}" if split else ""))


def write_json(path: Path, results: Results) -> None:
    """Write metrics.json."""
    names = [field.name for field in dataclasses.fields(results)]
    fields = {"format": FORMAT} | {name: getattr(results, name) for name in names}
    rows = [_json(null_not_finite(row)) for row in fields.pop("rows")]
    header = _json(fields | {"columns": Row._fields}, indent=1).removesuffix("\n}")
    lines = ",\n  ".join(rows)  # a row a line
    text = f'{header},\n "rows": [\n  {lines}\n ]\n}}\n'
    path.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Results:
    """Read the results in a metrics.json.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is of another format or has unknown metrics; names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; evaluate first")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if (number := fields.pop("format")) != FORMAT:
            raise ValueError(f"format is {number}, expected {FORMAT}; evaluate again")
        if (columns := fields.pop("columns")) != list(Row._fields):
            raise ValueError(
                f"columns are {columns}, expected {list(Row._fields)}; evaluate again"
            )
        rows = [Row(*row) for row in fields.pop("rows")]
        rows = [r._replace(value=math.nan) if r.value is None else r for r in rows]
        for metric in {row.metric for row in rows}:
            named(metric)
        return Results(rows=rows, **fields)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows with their units, as in metrics.csv."""
    cells = ([*null_not_finite(row), named(row.metric).unit] for row in rows)
    files.write_csv(path, [*Row._fields, "unit"], cells)


def _json(value: Any, **options: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, **options)

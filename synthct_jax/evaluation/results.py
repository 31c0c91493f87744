"""What an evaluation found: its schema, and its files.

metrics.json is a `Results` with "format" added. Numbers that are not finite (PSNR of
equal images, a metric that needs what is not there) are null.
"""

import csv
import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from synthct_jax.evaluation import metric_definitions
from synthct_jax.metrics import haar_features

FORMAT = 2
MODEL = "model"

ANSWERS = {
    MODEL: "synthetic CT",
    "water": "water in the outline of the MR",
    "histogram": "MR mapped to the CT histogram",
    "bulk": "true CT in three densities",
}
"""What is compared, and how it is called: the model; two that know no anatomy; and air,
soft tissue and bone of the true CT at one density each, which no MR alone can give."""
TRIVIAL = ("water", "histogram")

PARTS = ("tissues", "bands", "regions")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """One evaluation, as in metrics.json.

    An ANSWER is a key of ANSWERS; 'histogram' is absent without training subjects,
    'bulk' where no truth is known. Metrics are those of `catalogue`. An INTERVAL is
    {mean, low, high, n}: mean over n subjects and its 95 % percentile bootstrap
    interval over subjects, null for one subject. A FLOOR is {mean, low, high,
    subjects}: what the metric is between real CT (`collection.Floor`), or null.

    Attributes:
        made: time in UTC, ISO 8601.
        paired: whether the truth is known, of at least one subject.
        data: data_dir, source, split, real_ct_split (that of the real CT compared with:
            train where the split has none), size, spacing_mm, stored_mr_channels,
            mr_subjects, mr_slices, ct_subjects, ct_slices, warnings.
        provenance: what made the synthetic CT: step, config, versions, ...
        distribution: ANSWER -> metric -> `collection.Comparison`: {value, low, high,
            floor: FLOOR, outside, subjects: [synthetic, real], slices: [same]};
            low and high of the model alone.
        consistency: ANSWER -> metric -> INTERVAL, with floor: FLOOR, that of the true
            CT with the outline of its MR, where known (low and high are the extreme
            subjects), and outside: whether the mean is worse than all of them.
        errors: ANSWER -> metric -> INTERVAL, in the body; null without a truth.
        tissues, bands, regions: ANSWER -> name -> {voxels, mae: INTERVAL, me: INTERVAL,
            and for tissues true_mean: INTERVAL}; or null. Bands are of the true HU.
        subjects: of each {name, slices} and ANSWER -> {consistency: metric -> value}
            and, where its truth is known, {body: metric -> value, tissues, bands,
            regions: name -> {mae, me, voxels, true_mean} or null where it has none}.
        histograms: start_hu and step_hu of the bins; counts in the body of `synthetic`
            and `real` CT.
        error_histogram: start_hu, step_hu and counts of synthetic minus true CT in the
            body; null without a truth.
        spectra: frequencies in cycles per pixel; log10 of the mean power of
            `synthetic` and `real` CT.
    """

    made: str
    paired: bool
    data: dict[str, Any]
    provenance: dict[str, Any]
    distribution: dict[str, dict[str, dict[str, Any]]]
    consistency: dict[str, dict[str, dict[str, Any]]]
    errors: dict[str, dict[str, dict[str, Any]]] | None
    tissues: dict[str, dict[str, dict[str, Any]]] | None
    bands: dict[str, dict[str, dict[str, Any]]] | None
    regions: dict[str, dict[str, dict[str, Any]]] | None
    subjects: list[dict[str, Any]]
    histograms: dict[str, Any]
    error_histogram: dict[str, Any] | None
    spectra: dict[str, Any]

    @property
    def answers(self) -> tuple[str, ...]:
        return tuple(name for name in ANSWERS if name in self.distribution)

    def best_baseline(self) -> str:
        """The better of the trivial answers: by MAE, or by Frechet distance."""
        trivial = [name for name in self.answers if name in TRIVIAL]
        if self.errors:
            return min(trivial, key=lambda name: self.errors[name]["mae"]["mean"])
        key = haar_features.NAME
        return min(trivial, key=lambda name: self.distribution[name][key]["value"])

    def judged(self) -> int:
        """How many metrics of collections are held against their floor."""
        return sum(
            entry["outside"] is not None for entry in self.distribution[MODEL].values()
        )

    def people_in_common(self) -> str:
        """Whether MR and real CT are of the same people: 'all', 'some' or 'none'."""
        mr, ct = set(self.data["mr_subjects"]), set(self.data["ct_subjects"])
        if not mr & ct:
            return "none"
        return "all" if mr == ct else "some"

    def outside(self) -> list[str]:
        """Metrics in which the model is worse than real CT among themselves."""
        return [
            name for name, entry in self.distribution[MODEL].items() if entry["outside"]
        ]


def summary(results: Results) -> list[str]:
    """A few lines for a terminal."""
    best = results.best_baseline()
    lines = []
    if results.errors:
        mae = {name: results.errors[name]["mae"] for name in results.answers}
        n = mae[MODEL]["n"]
        interval = (
            ""
            if mae[MODEL]["low"] is None
            else f" ({mae[MODEL]['low']:.1f} to {mae[MODEL]['high']:.1f})"
        )
        lines.append(
            f"MAE in the body: {mae[MODEL]['mean']:.1f} HU{interval}, "
            f"{n} subject{'' if n == 1 else 's'}"
        )
        lines += [
            f"  {ANSWERS[name]}: {mae[name]['mean']:.1f} HU"
            for name in results.answers[1:]
        ]
        lines.append(
            f"  {mae[MODEL]['mean'] / mae[best]['mean']:.0%} of the better trivial one"
        )
    key = haar_features.NAME
    entry = results.distribution[MODEL][key]
    floor = entry["floor"]
    lines.append(
        f"{metric_definitions.named(key).title}: {entry['value']:.3g}"
        + (f", real against real {floor['mean']:.3g}" if floor else "")
        + f" ({entry['slices'][0]} synthetic, {entry['slices'][1]} real slices)"
    )
    lines.append(f"  {ANSWERS[best]}: {results.distribution[best][key]['value']:.3g}")
    if results.judged():
        count = len(results.outside())
        lines.append(
            f"{count} of {results.judged()} such measures are worse than between "
            "halves of the real CT"
        )
    return lines


def write_json(path: Path, results: Results) -> None:
    fields = {"format": FORMAT, **dataclasses.asdict(results)}
    text = json.dumps(_finite(fields), indent=1, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Results:
    """The results in a metrics.json.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not what this version writes; names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; evaluate first")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        found = fields.pop("format")
        if found != FORMAT:
            raise ValueError(f"format is {found}, expected {FORMAT}; evaluate again")
        return Results(**fields)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


_COLUMNS = (
    "subject answer part name metric unit value low high floor_mean floor_low "
    "floor_high outside subjects slices"
).split()


def write_csv(path: Path, results: Results) -> None:
    """The numbers as one table, a value a row.

    Columns: subject (empty: of all), answer, part (collection, consistency, body,
    tissues, bands, regions), name (of the tissue, band or region), metric, unit, value,
    low, high, floor_mean, floor_low, floor_high, outside, subjects (synthetic), slices
    (synthetic).
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for row in to_rows(results):
            row["unit"] = metric_definitions.named(row["metric"]).unit
            writer.writerow({k: "" if v is None else v for k, v in row.items()})


def to_rows(results: Results) -> Iterator[dict[str, Any]]:
    """The rows of metrics.csv; what is empty is left out."""
    for answer in results.answers:
        for metric, entry in results.distribution[answer].items():
            yield {
                "answer": answer,
                "part": "collection",
                "metric": metric,
                **{name: entry[name] for name in ("value", "low", "high", "outside")},
                **_floor_columns(entry["floor"]),
                "subjects": entry["subjects"][0],
                "slices": entry["slices"][0],
            }
        for metric, entry in results.consistency.get(answer, {}).items():
            yield {
                "answer": answer,
                "part": "consistency",
                "metric": metric,
                **_columns(entry, results.data["mr_slices"]),
                **_floor_columns(entry["floor"]),
                "outside": entry["outside"],
            }
        slices = sum(s["slices"] for s in results.subjects if "body" in s[MODEL])
        for metric, entry in ((results.errors or {}).get(answer) or {}).items():
            yield {
                "answer": answer,
                "part": "body",
                "metric": metric,
                **_columns(entry, slices),
            }
        for part in PARTS:
            for name, entry in ((getattr(results, part) or {}).get(answer, {})).items():
                for metric in ("mae", "me"):
                    yield {
                        "answer": answer,
                        "part": part,
                        "name": name,
                        "metric": metric,
                        **_columns(entry[metric], slices),
                    }
    for subject in results.subjects:
        for answer in results.answers:
            for part in ("consistency", "body"):
                for metric, value in subject.get(answer, {}).get(part, {}).items():
                    yield {
                        "subject": subject["name"],
                        "answer": answer,
                        "part": part,
                        "metric": metric,
                        "value": value,
                        "subjects": 1,
                        "slices": subject["slices"],
                    }


def _columns(interval: dict[str, Any], slices: int) -> dict[str, Any]:
    return {
        "value": interval["mean"],
        "low": interval["low"],
        "high": interval["high"],
        "subjects": interval["n"],
        "slices": slices,
    }


def _floor_columns(floor: dict[str, Any] | None) -> dict[str, Any]:
    return (
        {f"floor_{name}": floor[name] for name in ("mean", "low", "high")}
        if (floor)
        else {}
    )


def _finite(value: Any) -> Any:
    """The same with None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""What an evaluation found: its schema, and its files.

metrics.json is a `Results` with "format" added. Numbers that are not finite (PSNR of
equal images) are null.
"""

import csv
import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from synthct_jax.metrics import haar_features, histogram, paired

FORMAT = 1
MODEL = "model"


class Metric(NamedTuple):
    """How a metric is called and read."""

    title: str
    unit: str
    better: str
    definition: str


_RANGE = f"{paired.RANGE_HU[0]:g} to {paired.RANGE_HU[1]:g} HU"
_WINDOW = f"{paired.SSIM_WINDOW} x {paired.SSIM_WINDOW} pixels"
_BINS = (
    f"bins of {histogram.STEP_HU} HU from {histogram.RANGE_HU[0]} to "
    f"{histogram.RANGE_HU[1]}, in the body; half a count added to each"
)

METRICS = {
    "mae": Metric("MAE", "HU", "lower", "mean absolute error"),
    "rmse": Metric("RMSE", "HU", "lower", "root mean squared error"),
    "me": Metric("ME", "HU", "near 0", "mean of synthetic minus true CT"),
    "psnr": Metric(
        "PSNR",
        "dB",
        "higher",
        f"peak signal-to-noise ratio over {_RANGE}, to which both are clipped",
    ),
    "ssim": Metric(
        "SSIM",
        "",
        "higher",
        f"structural similarity over {_RANGE}, in slices, uniform window of {_WINDOW}",
    ),
    haar_features.NAME: Metric(
        "Fréchet distance, Haar features v" + str(haar_features.VERSION),
        "",
        "lower",
        f"between {haar_features.DIMENSION} wavelet and intensity features of slices; "
        "not FID, and not comparable with it; it grows as slices become fewer",
    ),
    "kl_real_synthetic": Metric(
        "KL(real ‖ synthetic)", "nats", "lower", f"of histograms: {_BINS}"
    ),
    "kl_synthetic_real": Metric(
        "KL(synthetic ‖ real)", "nats", "lower", f"of histograms: {_BINS}"
    ),
    "jensen_shannon": Metric(
        "Jensen-Shannon divergence",
        "nats",
        "lower",
        f"of histograms, 0 to 0.693: {_BINS}",
    ),
}
PAIRED = ("mae", "rmse", "me", "psnr", "ssim")
DISTRIBUTION = tuple(name for name in METRICS if name not in PAIRED)

ANSWERS = {
    MODEL: "synthetic CT",
    "water": "water in the outline of the MR",
    "histogram": "MR mapped to the CT histogram",
}
"""What is compared, and how it is called: the model, and two that know no anatomy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """One evaluation, as in metrics.json.

    An ANSWER is a key of ANSWERS; 'histogram' is absent without training subjects.
    An INTERVAL is {mean, low, high, n}: mean over n subjects and its 95 % percentile
    bootstrap interval over subjects, null for one subject.

    Attributes:
        made: time in UTC, ISO 8601.
        paired: whether the truth is known, of at least one subject.
        data: data_dir, source, split, real_ct_split (that of the real CT compared with:
            train where the split has none), size, spacing_mm, stored_mr_channels,
            mr_subjects, mr_slices, ct_subjects, ct_slices, warnings.
        provenance: what made the synthetic CT: step, config, versions, ...
        distribution: ANSWER -> name in DISTRIBUTION -> {value, and subjects, slices
            and voxels (in the body) of _synthetic and of _real}.
        errors: ANSWER -> name in PAIRED -> INTERVAL, over the voxels of the body;
            null without a truth.
        tissues: ANSWER -> tissue -> {voxels, mae: INTERVAL, me: INTERVAL}; or null.
        subjects: of each {name, slices} and, where its truth is known, ANSWER ->
            {body: name in PAIRED -> value, tissues: tissue -> {mae, me, voxels} or
            null where it has none}.
        histograms: start_hu and step_hu of the bins; counts in the body of synthetic
            and real CT.
    """

    made: str
    paired: bool
    data: dict[str, Any]
    provenance: dict[str, Any]
    distribution: dict[str, dict[str, dict[str, Any]]]
    errors: dict[str, dict[str, dict[str, Any]]] | None
    tissues: dict[str, dict[str, dict[str, Any]]] | None
    subjects: list[dict[str, Any]]
    histograms: dict[str, Any]

    @property
    def answers(self) -> tuple[str, ...]:
        return tuple(name for name in ANSWERS if name in self.distribution)

    def best_baseline(self) -> str:
        """The better of the trivial answers: by MAE, or by Frechet distance."""
        trivial = [name for name in self.answers if name != MODEL]
        if self.errors:
            return min(trivial, key=lambda name: self.errors[name]["mae"]["mean"])
        key = haar_features.NAME
        return min(trivial, key=lambda name: self.distribution[name][key]["value"])


def summary(results: Results) -> list[str]:
    """A few lines for a terminal."""
    best = results.best_baseline()
    lines = []
    if results.errors:
        mae = {name: results.errors[name]["mae"] for name in results.answers}
        n = mae[MODEL]["n"]
        lines.append(
            f"MAE in the body: {mae[MODEL]['mean']:.1f} HU "
            f"({n} subject{'' if n == 1 else 's'})"
        )
        lines += [
            f"  {ANSWERS[name]}: {mae[name]['mean']:.1f} HU"
            for name in results.answers[1:]
        ]
        lines.append(
            f"  {mae[MODEL]['mean'] / mae[best]['mean']:.0%} of the better of these"
        )
    key = haar_features.NAME
    distance = results.distribution[MODEL][key]
    lines.append(
        f"{METRICS[key].title}: {distance['value']:.3g} "
        f"({distance['slices_synthetic']} synthetic, {distance['slices_real']} real "
        f"slices)"
    )
    lines.append(f"  {ANSWERS[best]}: {results.distribution[best][key]['value']:.3g}")
    return lines


def write_json(path: Path, results: Results) -> None:
    fields = {"format": FORMAT, **dataclasses.asdict(results)}
    text = json.dumps(_finite(fields), indent=1, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def write_csv(path: Path, results: Results) -> None:
    """The numbers as one table, a value a row.

    Columns: subject (empty: of all), answer, tissue (empty: of the body, or not of
    errors), metric, unit, value, low, high, n (subjects; slices for distributions).
    """
    columns = "subject answer tissue metric unit value low high n".split()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for row in to_rows(results):
            writer.writerow(row | {"unit": METRICS[row["metric"]].unit})


def to_rows(results: Results) -> Iterator[dict[str, Any]]:
    """The rows of metrics.csv; what is empty is left out."""
    for answer in results.answers:
        if results.errors:
            for metric, interval in results.errors[answer].items():
                yield {"answer": answer, "metric": metric, **_columns(interval)}
        for metric, entry in results.distribution[answer].items():
            yield {
                "answer": answer,
                "metric": metric,
                "value": entry["value"],
                "n": entry["slices_synthetic"],
            }
    for answer, tissues in (results.tissues or {}).items():
        for tissue, entry in tissues.items():
            for metric in ("mae", "me"):
                yield {
                    "answer": answer,
                    "tissue": tissue,
                    "metric": metric,
                    **_columns(entry[metric]),
                }
    for subject in results.subjects:
        for answer in results.answers:
            for metric, value in subject.get(answer, {}).get("body", {}).items():
                yield {
                    "subject": subject["name"],
                    "answer": answer,
                    "metric": metric,
                    "value": value,
                    "n": 1,
                }


def _columns(interval: dict[str, Any]) -> dict[str, Any]:
    return {"value": interval["mean"]} | {
        name: interval[name] for name in ("low", "high", "n")
    }


def _finite(value: Any) -> Any:
    """The same with None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

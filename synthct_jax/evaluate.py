"""Evaluation of a translation on prepared data, with two trivial answers beside it.

Where the truth is known (subjects with MR, CT and labels: the phantom's) errors in HU
are computed in the body and in each tissue. On all data, unpaired ones included, the
distribution of synthetic CT is compared with that of real CT. Subjects are read one
after another: memory holds one of them, features, histograms, and a slice of each for
the pictures.

A folder of results holds report.html, metrics.csv (`results.to_rows`) and metrics.json
(`results.Results`, where the schema is documented).
"""

import contextlib
import dataclasses
import datetime
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from input_pipeline import stream
from input_pipeline.prepared import Prepared, load_prepared
from input_pipeline.statistics import count_values
from synthct_jax import baselines, report, results
from synthct_jax.cases import Case, outline, read_cases, spread
from synthct_jax.distribution import Distribution
from synthct_jax.metrics import haar_features, histogram, paired
from synthct_jax.metrics.bootstrap import mean_over_subjects
from synthct_jax.metrics.frechet import frechet_distance
from synthct_jax.report_figures import Slice, middle, slice_to_show
from synthct_jax.results import MODEL, Results

Translate = Callable[[np.ndarray], np.ndarray]
"""Stored MR, int16 (slices, rows, columns, channels), to HU (slices, rows, columns)."""

_VALIDATION_SLICES = 128  # of each domain, over all subjects
_FILES = {"metrics.json", "metrics.csv", "report.html"}


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What was found, and the folder that holds it."""

    folder: Path
    results: Results

    @property
    def report(self) -> Path:
        return self.folder / "report.html"


def evaluate(
    translate: Translate,
    *,
    data_dir: Path,
    split: str,
    output_dir: Path,
    provenance: Mapping[str, Any],
    curves: Sequence[Mapping[str, Any]],
) -> Evaluation:
    """Evaluates on all subjects of a split; an evaluation in `output_dir` is replaced.

    Args:
        translate: what is evaluated.
        data_dir: prepared data.
        split: of its subjects.
        output_dir: appears whole or not at all.
        provenance: what the translation is (step, config, versions, ...); JSON.
        curves: losses of the training, rows of metrics.jsonl.

    Raises:
        FileNotFoundError, ValueError: no prepared data, no such subjects, a translation
            of another shape or not finite, or a folder that holds something else.
    """
    data_dir, output_dir = Path(data_dir), Path(output_dir)
    _check_replaceable(output_dir)
    found, slices = compute(
        translate, data_dir=data_dir, split=split, provenance=provenance
    )
    with _whole_or_not_at_all(output_dir) as folder:
        results.write_json(folder / "metrics.json", found)
        results.write_csv(folder / "metrics.csv", found)
        page = report.render(found, slices=slices, curves=curves)
        (folder / "report.html").write_text(page, encoding="utf-8")
    for line in results.summary(found):
        logging.info("%s", line)
    return Evaluation(folder=output_dir, results=found)


# Of what `validate` returns: what can choose the best checkpoint.
LOWER_IS_BETTER = ("mae", "rmse", "frechet_haar")


def validate(translate: Translate, *, data_dir: Path, split: str) -> dict[str, float]:
    """A few metrics of a few slices of each subject, to choose among checkpoints.

    Returns:
        'frechet_haar': between about _VALIDATION_SLICES slices of synthetic and real
        CT, the same each time; where the truth is known 'mae', 'rmse', 'me', 'psnr',
        'ssim' in the body too, means over subjects.
    """
    prepared = load_prepared(data_dir)
    share = {
        domain: max(1, _VALIDATION_SLICES // max(len(found.of_split(split)), 1))
        for domain, found in prepared.domains.items()
    }
    real = [
        haar_features.haar_features(ct[spread(len(ct), share["ct"]), ..., 0])
        for _, ct in stream.read_subjects(data_dir, "ct", split)
    ]
    synthetic, errors = [], []
    for case in read_cases(data_dir, prepared, split):
        chosen = spread(len(case.mr), share["mr"])
        hu = _translated(translate, case.mr[chosen], case.name)
        synthetic.append(haar_features.haar_features(hu))
        if case.truth is not None:
            errors.append(_errors(hu, case.truth[chosen], case.labels[chosen] > 0))
    found = {
        "frechet_haar": frechet_distance(
            np.concatenate(synthetic), np.concatenate(real)
        )
    }
    for name in results.PAIRED if errors else ():
        found[name] = float(np.mean([error[name] for error in errors]))
    return found


def compute(
    translate: Translate,
    *,
    data_dir: Path,
    split: str,
    provenance: Mapping[str, Any],
) -> tuple[Results, list[Slice]]:
    """The numbers of `evaluate`, and a slice of each subject to look at."""
    prepared = load_prepared(data_dir)
    real_split = split if prepared.domains["ct"].of_split(split) else "train"
    real = _real_distribution(data_dir, prepared, real_split)
    answers, notes = _answers(translate, data_dir, prepared)

    distributions = {name: Distribution() for name in answers}
    subjects: list[dict[str, Any]] = []
    slices: list[Slice] = []
    for case in read_cases(data_dir, prepared, split):
        body = outline(case.mr, "MR", prepared)
        entry: dict[str, Any] = {"name": case.name, "slices": len(case.mr)}
        for name, answer in answers.items():
            hu = answer(case, body)
            distributions[name].add(hu, body)
            if case.truth is not None:
                entry[name] = _paired_entry(hu, case, prepared.label_names)
            if name == MODEL:
                slices.append(slice_to_show(case, hu, body))
        subjects.append(entry)
        logging.info("Evaluated %s", case.name)
    slices = _beside_real(slices, real.slices)

    known = [entry for entry in subjects if MODEL in entry]
    if known and len(known) < len(subjects):
        notes.append(
            f"The truth is known of {len(known)} of {len(subjects)} subjects; errors "
            "are theirs"
        )
    found = Results(
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        paired=bool(known),
        data={
            "data_dir": str(Path(data_dir).resolve()),
            "source": prepared.source,
            "split": split,
            "real_ct_split": real_split,
            "size": prepared.size,
            "spacing_mm": prepared.spacing_mm,
            "stored_mr_channels": list(prepared.domains["mr"].channels),
            "mr_subjects": [entry["name"] for entry in subjects],
            "mr_slices": sum(entry["slices"] for entry in subjects),
            "ct_subjects": real.names,
            "ct_slices": real.distribution.slices,
            "warnings": [*prepared.warnings, *notes],
        },
        provenance=dict(provenance),
        distribution={
            name: synthetic.compare(real.distribution)
            for name, synthetic in distributions.items()
        },
        errors=_over_subjects(known, answers, "body"),
        tissues=_tissues_over_subjects(known, answers, prepared.label_names),
        subjects=subjects,
        histograms={
            "start_hu": histogram.RANGE_HU[0],
            "step_hu": histogram.STEP_HU,
            "synthetic": distributions[MODEL].counts.tolist(),
            "real": real.distribution.counts.tolist(),
        },
    )
    return found, slices


# --- answers --------------------------------------------------------------------------


def _answers(
    translate: Translate, data_dir: Path, prepared: Prepared
) -> tuple[dict[str, Callable[[Case, np.ndarray], np.ndarray]], list[str]]:
    """The model and the trivial answers: functions of a case and its MR's outline."""
    answers: dict[str, Callable[[Case, np.ndarray], np.ndarray]] = {
        MODEL: lambda case, body: _translated(translate, case.mr, case.name),
        "water": lambda case, body: baselines.water(body),
    }
    if not all(prepared.domains[domain].of_split("train") for domain in ("mr", "ct")):
        return answers, [
            "There are no training subjects of both kinds, to map histograms by"
        ]
    channels = prepared.domains["mr"].channels
    channel = channels.index("in_phase") if "in_phase" in channels else 0
    counts = []
    for domain in ("mr", "ct"):
        total = 0
        for _, images in stream.read_subjects(data_dir, domain, "train"):
            body = outline(images, domain.upper(), prepared)
            one = images[..., [channel if domain == "mr" else 0]]
            total = total + count_values(one, body)[0]
        counts.append(total)
    histogram_map = baselines.fit_histogram_map(*counts)
    answers["histogram"] = lambda case, body: histogram_map(case.mr[..., channel], body)
    return answers, []


def _translated(translate: Translate, mr: np.ndarray, name: str) -> np.ndarray:
    hu = translate(mr)
    if hu.shape != mr.shape[:3]:
        raise ValueError(f"{name}: {mr.shape} was translated to {hu.shape}")
    if not np.isfinite(hu).all():
        raise ValueError(f"{name}: the translation is not finite everywhere")
    return hu


# --- numbers --------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Real:
    """Real CT: what is compared with, and a slice of each person to look at."""

    distribution: Distribution
    names: list[str]
    slices: dict[str, np.ndarray]


def _real_distribution(data_dir: Path, prepared: Prepared, split: str) -> _Real:
    real, slices = Distribution(), {}
    for name, images in stream.read_subjects(data_dir, "ct", split):
        body = outline(images, "CT", prepared)
        real.add(images[..., 0], body)
        slices[name] = images[middle(body), ..., 0]
    return _Real(real, list(slices), slices)


def _errors(hu: np.ndarray, truth: np.ndarray, body: np.ndarray) -> dict[str, float]:
    return {
        "mae": paired.mean_absolute_error(hu, truth, body),
        "rmse": paired.root_mean_squared_error(hu, truth, body),
        "me": paired.mean_error(hu, truth, body),
        "psnr": paired.peak_signal_to_noise(hu, truth, body),
        "ssim": paired.structural_similarity(hu, truth, body),
    }


def _paired_entry(
    hu: np.ndarray, case: Case, label_names: Sequence[str]
) -> dict[str, Any]:
    found = paired.by_label(hu, case.truth, case.labels, count=len(label_names))
    return {
        "body": _errors(hu, case.truth, case.labels > 0),
        # Label 0 is what is outside of the body.
        "tissues": dict(zip(label_names[1:], found[1:], strict=True)),
    }


def _over_subjects(
    subjects: Sequence[dict[str, Any]], answers: Mapping, part: str
) -> dict[str, dict[str, dict[str, Any]]] | None:
    if not subjects:
        return None
    return {
        answer: {
            name: dataclasses.asdict(
                mean_over_subjects([entry[answer][part][name] for entry in subjects])
            )
            for name in results.PAIRED
        }
        for answer in answers
    }


def _tissues_over_subjects(
    subjects: Sequence[dict[str, Any]], answers: Mapping, label_names: Sequence[str]
) -> dict[str, dict[str, dict[str, Any]]] | None:
    if not subjects:
        return None
    table: dict[str, dict[str, dict[str, Any]]] = {answer: {} for answer in answers}
    for answer in answers:
        for tissue in label_names[1:]:
            found = [entry[answer]["tissues"][tissue] for entry in subjects]
            found = [one for one in found if one is not None]
            if found:
                table[answer][tissue] = {
                    "voxels": sum(one["voxels"] for one in found),
                    **{
                        name: dataclasses.asdict(
                            mean_over_subjects([one[name] for one in found])
                        )
                        for name in ("mae", "me")
                    },
                }
    return table


def _beside_real(
    slices: Sequence[Slice], real: Mapping[str, np.ndarray]
) -> list[Slice]:
    """Gives slices without a truth a CT of somebody, another person if there is one."""
    shown = []
    for number, one in enumerate(slices):
        if one.truth is None:
            names = [name for name in real if name != one.subject] or list(real)
            name = names[number % len(names)]
            one = dataclasses.replace(one, other_subject=name, other=real[name])
        shown.append(one)
    return shown


# --- files ----------------------------------------------------------------------------


def _check_replaceable(folder: Path) -> None:
    """An evaluation may be replaced, anything else may not."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file, expected a folder for the evaluation")
    others = {path.name for path in folder.iterdir()} - _FILES
    if others:
        raise ValueError(
            f"{folder} holds {min(others)!r}, which no evaluation has written: it is "
            "not replaced, name another folder"
        )


@contextlib.contextmanager
def _whole_or_not_at_all(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that takes its place in the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=target.parent, prefix=f".{target.name}."
    ) as parent:
        folder = Path(parent) / "new"
        folder.mkdir()
        yield folder
        _check_replaceable(target)
        old = Path(parent) / "old"
        if target.exists():
            target.rename(old)
        try:
            folder.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise

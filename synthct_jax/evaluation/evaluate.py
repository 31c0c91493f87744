"""Evaluation of a translation on prepared data, with trivial answers beside it.

Where the truth is known (subjects with MR, CT and labels: the phantom's) errors are
computed in the body and in its parts. On all data, unpaired ones included, synthetic CT
are compared with real CT as collections, and with their own MR. Subjects are read one
after another, metrics see batches of their slices: memory holds one subject, and of
the others small summaries.

A folder of results holds report.html, metrics.csv (`results.write_csv`) and
metrics.json (`results.Results`, where the schema is documented).
"""

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from input_pipeline import files
from input_pipeline.dataset import stream
from input_pipeline.dataset.manifest import Prepared, load_prepared
from input_pipeline.preparation.statistics import count_values
from synthct_jax.evaluation import (
    baselines,
    distribution,
    per_subject,
    results,
    summaries,
)
from synthct_jax.evaluation.distribution_metrics import Summary, summarise
from synthct_jax.evaluation.report import evaluation_page as report
from synthct_jax.evaluation.report import example_slices
from synthct_jax.evaluation.report.example_slices import Ranked, Slice
from synthct_jax.evaluation.results import MODEL, Results
from synthct_jax.evaluation.subjects import (
    Case,
    outline,
    read_cases,
    spacing_mm,
    translated,
)
from synthct_jax.metrics import path_length
from synthct_jax.metrics.inception import Inception

FILES = ("metrics.json", "metrics.csv", "report.html")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """What is evaluated.

    Attributes:
        translate: stored MR, int16 (slices, rows, columns, channels), to HU (slices,
            rows, columns).
        seen: stored MR to what the network sees of it, (slices, rows, columns,
            channels) in [-1, 1].
        channels: of `seen`.
        cycle: HU back to such an MR; None where there is no way back.
    """

    translate: Callable[[np.ndarray], np.ndarray]
    seen: Callable[[np.ndarray], np.ndarray]
    channels: tuple[str, ...]
    cycle: Callable[[np.ndarray], np.ndarray] | None = None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What was found, and the folder that holds it."""

    folder: Path
    results: Results

    @property
    def report(self) -> Path:
        return self.folder / "report.html"


def evaluate(
    model: Model,
    *,
    data_dir: Path,
    split: str,
    output_dir: Path,
    provenance: Mapping[str, Any],
    curves: Sequence[Mapping[str, Any]],
    inception: Inception | None = None,
) -> Evaluation:
    """Evaluates on all subjects of a split; an evaluation in `output_dir` is replaced.

    Args:
        model: what is evaluated.
        data_dir: prepared data.
        split: of its subjects.
        output_dir: appears whole or not at all.
        provenance: what the translation is (step, config, versions, ...); JSON.
        curves: losses of the training, rows of metrics.jsonl.
        inception: the network for FID and KID; without it they are left out.

    Raises:
        FileNotFoundError, ValueError: no prepared data, no such subjects, a translation
            of another shape or not finite, or a folder that holds something else.
    """
    data_dir, output_dir = Path(data_dir), Path(output_dir)
    files.check_replaceable(output_dir, FILES, what="evaluation")
    found, slices = compute(
        model,
        data_dir=data_dir,
        split=split,
        provenance=provenance,
        inception=inception,
    )
    with files.replace_folder(output_dir, FILES, what="evaluation") as folder:
        results.write_json(folder / "metrics.json", found)
        results.write_csv(folder / "metrics.csv", found)
        page = report.render(found, slices=slices, curves=curves)
        (folder / "report.html").write_text(page, encoding="utf-8")
    for line in results.summary(found):
        logging.info("%s", line)
    return Evaluation(folder=output_dir, results=found)


def compute(
    model: Model,
    *,
    data_dir: Path,
    split: str,
    provenance: Mapping[str, Any],
    inception: Inception | None = None,
) -> tuple[Results, list[Slice]]:
    """The numbers of `evaluate`, and the slices to look at."""
    prepared = load_prepared(data_dir)
    ct = prepared.domains["ct"]
    real_split = split if ct.of_split(split) else ct.held_out
    real, middles = _real_ct(data_dir, prepared, real_split, inception)
    answers, notes = _answers(model, data_dir, prepared)

    synthetic: dict[str, list[Summary]] = {}
    error_counts: dict[str, np.ndarray] = {}
    floors: list[dict[str, float]] = []
    subjects: list[dict[str, Any]] = []
    ranked: list[Ranked] = []
    for case in read_cases(data_dir, prepared, split):
        body = outline(case.mr, "MR", case.name, prepared)
        _check_body(case, body, data_dir)
        spacing = spacing_mm(case.name, "MR", prepared)
        entry: dict[str, Any] = {"name": case.name, "slices": len(case.mr)}
        for name, answer in answers.items():
            if (hu := answer(case, body)) is None:
                continue
            in_ct = per_subject.ct_outline(hu, spacing)
            found = {"consistency": per_subject.consistency(in_ct, body, spacing)}
            if name == MODEL:
                cycled, residual = _cycled(model, case.mr, hu)
                if cycled is not None:
                    found["consistency"] |= per_subject.cycle_errors(
                        model.seen(case.mr), cycled, body, model.channels
                    )
                ranked += example_slices.rank(case, hu, body, residual)
            if case.truth is not None:
                found |= per_subject.against_truth(
                    hu, case, prepared.label_names, spacing
                )
                counts = found.pop("error_counts")
                error_counts[name] = error_counts.get(name, 0) + counts
            entry[name] = found
            # As real CT is seen: in its own outline, where it has one.
            in_ct = in_ct if in_ct.any() else body
            summary = summarise(
                case.name, hu, in_ct, slice_mm=spacing[0], inception=inception
            )
            synthetic.setdefault(name, []).append(summary)
        if case.truth is not None:
            in_ct = per_subject.ct_outline(case.truth, spacing)
            floors.append(per_subject.consistency(in_ct, body, spacing))
        subjects.append(entry)
        logging.info("Evaluated %s", case.name)

    known = [entry for entry in subjects if "body" in entry[MODEL]]
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
            "ct_subjects": [one.name for one in real],
            "ct_slices": sum(one.slices for one in real),
            "warnings": [*prepared.warnings, *notes],
        },
        provenance={
            **provenance,
            **({"inception": inception.sha256} if inception else {}),
        },
        distribution=_distribution(synthetic, real),
        consistency=summaries.consistency(subjects, floors),
        errors=summaries.errors(known),
        tissues=summaries.part(known, "tissues"),
        bands=summaries.part(known, "bands"),
        regions=summaries.part(known, "regions"),
        subjects=subjects,
        histograms=summaries.histograms(synthetic[MODEL], real),
        error_histogram=summaries.error_histogram(error_counts),
        spectra=summaries.spectra(synthetic[MODEL], real),
    )
    return found, _slices(model, data_dir, prepared, split, ranked, middles)


def _check_body(case: Case, body: np.ndarray, data_dir: Path) -> None:
    """Raises ValueError, before anything is computed, where there is nobody."""
    if not body.any():
        raise ValueError(f"{data_dir}: no body is found in the MR of {case.name}")
    if case.labels is not None and not (case.labels > 0).any():
        raise ValueError(f"{data_dir}: the labels of {case.name} are all 0, outside")


# --- answers --------------------------------------------------------------------------

Answer = Callable[[Case, np.ndarray], np.ndarray | None]


def _answers(
    model: Model, data_dir: Path, prepared: Prepared
) -> tuple[dict[str, Answer], list[str]]:
    """The model and those beside it: functions of a case and its MR's outline."""
    answers: dict[str, Answer] = {
        MODEL: lambda case, body: translated(model.translate, case.mr, case.name),
        "water": lambda case, body: baselines.water(body),
    }
    notes = []
    if all(prepared.domains[domain].of_split("train") for domain in ("mr", "ct")):
        answers["histogram"] = _fit_histogram_map(data_dir, prepared)
    else:
        notes = ["There are no training subjects of both kinds, to map histograms by"]
    answers["bulk"] = lambda case, body: (
        None
        if case.truth is None
        else path_length.bulk_density(case.truth, case.labels > 0)
    )
    return answers, notes


def _fit_histogram_map(data_dir: Path, prepared: Prepared) -> Answer:
    channels = prepared.domains["mr"].channels
    channel = channels.index("in_phase") if "in_phase" in channels else 0
    counts = []
    for domain in ("mr", "ct"):
        total = 0
        for name, images in stream.read_subjects(data_dir, domain, "train"):
            body = outline(images, domain.upper(), name, prepared)
            one = images[..., [channel if domain == "mr" else 0]]
            total = total + count_values(one, body)[0]
        counts.append(total)
    histogram_map = baselines.fit_histogram_map(*counts)
    return lambda case, body: histogram_map(case.mr[..., channel], body)


def _cycled(
    model: Model, mr: np.ndarray, hu: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The MR that comes back, and how far it is off, mean over channels."""
    if model.cycle is None:
        return None, None
    cycled = model.cycle(hu)
    return cycled, np.abs(cycled - model.seen(mr)).mean(axis=-1)


# --- collections, real CT and pictures ------------------------------------------------


def _real_ct(
    data_dir: Path, prepared: Prepared, split: str, inception: Inception | None
) -> tuple[list[Summary], dict[str, np.ndarray]]:
    """What is compared with, and a slice of each person to look at."""
    real, middles = [], {}
    for name, images in stream.read_subjects(data_dir, "ct", split):
        body = outline(images, "CT", name, prepared)
        if not body.any():
            raise ValueError(f"{data_dir}: no body is found in the CT of {name}")
        slice_mm = spacing_mm(name, "CT", prepared)[0]
        real.append(
            summarise(
                name, images[..., 0], body, slice_mm=slice_mm, inception=inception
            )
        )
        middles[name] = images[example_slices.middle(body), ..., 0]
    return real, middles


def _distribution(
    synthetic: Mapping[str, Sequence[Summary]], real: Sequence[Summary]
) -> dict[str, dict[str, dict[str, Any]]]:
    reference = distribution.Reference(real)
    return {
        answer: {
            metric: dataclasses.asdict(comparison)
            for metric, comparison in distribution.compare(
                each, reference, intervals=answer == MODEL
            ).items()
        }
        for answer, each in synthetic.items()
    }


def _slices(
    model: Model,
    data_dir: Path,
    prepared: Prepared,
    split: str,
    ranked: list[Ranked],
    middles: Mapping[str, np.ndarray],
) -> list[Slice]:
    """The chosen slices, read and translated once more: memory held none of them."""
    chosen = example_slices.choose(ranked)
    wanted = {one.subject for one in chosen.values()}
    slices = {}
    for case in read_cases(data_dir, prepared, split):
        if case.name not in wanted:
            continue
        hu = translated(model.translate, case.mr, case.name)
        cycled, _ = _cycled(model, case.mr, hu)
        seen = model.seen(case.mr)
        for number, (title, one) in enumerate(chosen.items()):
            if one.subject != case.name:
                continue
            # Without a truth the CT of somebody, another person if there is one.
            names = [name for name in middles if name != case.name] or list(middles)
            other = names[number % len(names)]
            ordered = case.truth is not None or cycled is not None
            slices[title] = Slice(
                rank=title if ordered else "",
                subject=case.name,
                index=one.index,
                slices=len(hu),
                mr=seen[one.index],
                channels=model.channels,
                synthetic=hu[one.index],
                score=one.score if ordered else None,
                cycled=None if cycled is None else cycled[one.index],
                truth=None if case.truth is None else case.truth[one.index],
                other=None if case.truth is not None else middles[other],
                other_subject="" if case.truth is not None else other,
            )
    return [slices[title] for title in chosen]

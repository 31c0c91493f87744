"""Evaluation of a checkpoint on prepared data, beside baselines.

Where the reference CT is known (subjects with MR and CT on one grid) errors are
computed in the body and in its regions. On all data, unpaired ones included,
synthetic CT are compared with real CT as distributions, and with their own MR. Subjects
are read one after another: memory holds one of them, and small summaries of the others.
"""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from input_pipeline import files
from input_pipeline.countdown import Countdown
from input_pipeline.dataset.dataset import Dataset
from synthct_jax.evaluation import ct_methods, distribution, per_subject, results
from synthct_jax.evaluation.ct_methods import Model
from synthct_jax.evaluation.metric_definitions import BODY
from synthct_jax.evaluation.report import evaluation_page, example_slices
from synthct_jax.evaluation.report.example_slices import Ranked, Slice
from synthct_jax.evaluation.results import (
    NETWORK,
    REAL_VS_REAL,
    Results,
    Row,
    all_subjects_row,
)
from synthct_jax.evaluation.subjects import (
    EvaluationSubject,
    read_subjects,
    translate_checked,
)
from synthct_jax.evaluation.volume_summary import Sample, VolumeSummary, summarise
from synthct_jax.inference.loaded_model import LoadedModel, load_model, load_model_file
from synthct_jax.metrics import histogram, paired, spectrum
from synthct_jax.metrics.inception import Inception
from synthct_jax.runtime import jsonl

FILES = ("metrics.json", "metrics.csv", "report.html")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Results, and the folder that holds them."""

    folder: Path
    results: Results

    @property
    def report(self) -> Path:
        return self.folder / "report.html"


def evaluate_run(
    workdir: Path,
    *,
    step: int | None = None,
    views: int | None = None,
    data_dir: Path | None = None,
    split: str | None = None,
    output_dir: Path | None = None,
    inception: Inception | None = None,
) -> Evaluation:
    """Evaluate a checkpoint with the configuration that is stored in it.

    By default it is the best validated one, or the latest, on data of its training, on
    test subjects, or those for validation or training where there are no others, with
    its configuration's number of views, into `results.default_folder`.

    Raises:
        FileNotFoundError, ValueError: as for `evaluate` and `load_model`; or the data
            are not what the network takes, or lack a channel of the training and
            `output_dir` is not given.
    """
    loaded = load_model(workdir, step, inverse=True).with_views(views)
    data_dir = data_dir or Path(loaded.trained_on)
    network, dataset = ct_methods.open_data(loaded, data_dir)
    if output_dir is None and network is not loaded:
        raise ValueError(
            f"{data_dir} has {', '.join(network.data['mr_channels'])} alone, and "
            f"{workdir / 'evaluation'} is of {', '.join(loaded.data['mr_channels'])}: "
            "name another folder by --output"
        )
    return _evaluate_loaded(
        network,
        dataset,
        split,
        output_dir=output_dir
        or results.default_folder(workdir, loaded.identity["step"], split),
        curves=jsonl.read_rows(workdir / "metrics.jsonl"),
        inception=inception,
    )


def evaluate_model(
    model: str,
    *,
    data_dir: Path,
    output_dir: Path,
    views: int | None = None,
    split: str | None = None,
    inception: Inception | None = None,
) -> Evaluation:
    """Evaluate a model file, or a shipped model given by name.

    Args:
        views: flipped or shifted views of each slice to average over; by default as
            the model is configured.
        split: by default the first of test, validation and train with MR subjects.
        output_dir, inception: as for `evaluate`.

    Raises:
        FileNotFoundError, ValueError: as for `evaluate` and `load_model_file`; or the
            data are not what the network takes.
    """
    loaded = load_model_file(model).with_views(views)
    loaded, dataset = ct_methods.open_data(loaded, data_dir)
    options = dict(output_dir=output_dir, curves=(), inception=inception)
    return _evaluate_loaded(loaded, dataset, split, **options)


def _evaluate_loaded(
    loaded: LoadedModel, dataset: Dataset, split: str | None, **options: Any
) -> Evaluation:
    return evaluate(
        ct_methods.model_of_generator(loaded, dataset),
        dataset,
        split=split or dataset.manifest.domains["mr"].held_out,
        provenance=loaded.provenance,
        **options,
    )


def evaluate(
    model: Model,
    dataset: Dataset,
    *,
    split: str,
    output_dir: Path,
    provenance: Mapping[str, Any],
    curves: Sequence[Mapping[str, Any]],
    inception: Inception | None = None,
) -> Evaluation:
    """Evaluate a model on all subjects of a split, and write the folder of results.

    Args:
        output_dir: appears whole or not at all; an evaluation in it is replaced.
        provenance: what the translation is (step, config, versions, ...); JSON.
        curves: losses of the training, rows of metrics.jsonl.
        inception: the network for FID and KID; without it they are left out.

    Raises:
        FileNotFoundError, ValueError: no such subjects, a translation of another shape
            or not finite, or a folder that holds something else.
    """
    files.check_replaceable(output_dir, FILES, writer="evaluation")
    computed, slices = compute(
        model, dataset, split=split, provenance=provenance, inception=inception
    )
    with files.replace_folder(output_dir, FILES, writer="evaluation") as folder:
        results.write_json(folder / "metrics.json", computed)
        results.write_csv(folder / "metrics.csv", computed.rows)
        page = evaluation_page.render(computed, slices=slices, curves=curves)
        (folder / "report.html").write_text(page, encoding="utf-8")
    for line in results.summary(computed):
        logging.info("%s", line)
    return Evaluation(folder=output_dir, results=computed)


def compute(
    model: Model,
    dataset: Dataset,
    *,
    split: str,
    provenance: Mapping[str, Any],
    inception: Inception | None = None,
) -> tuple[Results, list[Slice]]:
    """Return the results that `evaluate` writes, and the slices that it shows."""
    manifest = dataset.manifest
    ct = manifest.domains["ct"]
    real_split = split if ct.of_split(split) else ct.held_out
    real, middle_slices = _summarise_real_ct(dataset, real_split, inception)
    named_baselines, warnings = ct_methods.baselines_by_name(model, dataset)

    measured = _Measurements(model, inception)
    countdown = Countdown(len(manifest.domains["mr"].of_split(split)), "subjects")
    for subject in read_subjects(dataset, split):
        _check_body(subject, dataset.folder)
        hu, spread = ct_methods.network_ct(model, subject)
        measured.add(NETWORK, per_subject.Images(hu, subject, spread))
        for name, method in named_baselines.items():
            if (hu := method(subject)) is not None:
                measured.add(name, per_subject.Images(hu, subject))
        measured.add_subject(subject)
        countdown.log(subject.name)

    paired_subjects, subjects = measured.paired_subjects, len(measured.mr_subjects)
    if 0 < paired_subjects < subjects:
        warnings.append(
            f"The reference CT of {paired_subjects} of {subjects} subjects is known; "
            "errors are theirs"
        )
    reference = distribution.Reference(real)
    network = measured.summaries[NETWORK]
    weights = {"inception": inception.sha256} if inception else {}
    computed = Results(
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        data={
            "data_dir": str(dataset.folder.resolve()),
            "source": manifest.source,
            "split": split,
            "real_ct_split": real_split,
            "size": manifest.size,
            "spacing_mm": manifest.spacing_mm,
            "stored_mr_channels": list(manifest.domains["mr"].channels),
            "mr_subjects": measured.mr_subjects,
            "ct_subjects": {volume.name: volume.slices for volume in real},
            "halves": distribution.sample_sizes(network, reference),
            "warnings": [*manifest.warnings, *warnings],
        },
        provenance={**provenance, **weights},
        rows=[
            *results.mean_rows(measured.rows),
            *_distribution_rows(measured.summaries, reference),
            *measured.rows,
        ],
        histograms={
            "start_hu": histogram.RANGE_HU[0],
            "step_hu": histogram.STEP_HU,
            "synthetic": Sample(network).counts.tolist(),
            "real": Sample(real).counts.tolist(),
        },
        error_histogram=measured.error_histogram(),
        spectra={
            "frequencies": spectrum.frequencies().tolist(),
            "synthetic": _log_mean_spectrum(network),
            "real": _log_mean_spectrum(real),
        },
    )
    slices = _example_slices(
        model, dataset, split, measured.ranked_slices, middle_slices
    )
    return computed, slices


class _Measurements:
    """Measurements collected while subjects are evaluated one after another."""

    def __init__(self, model: Model, inception: Inception | None):
        self._model, self._inception = model, inception
        self.rows: list[Row] = []
        self.summaries: dict[str, list[VolumeSummary]] = {}
        self.mr_subjects: dict[str, int] = {}
        self.paired_subjects = 0
        self.ranked_slices: list[Ranked] = []
        self._error_counts: dict[str, np.ndarray] = {}

    def add(self, method: str, images: per_subject.Images) -> None:
        """Measure the CT of one method."""
        hu, subject = images.hu, images.subject
        self.rows += per_subject.consistency_rows(method, images)
        if method == NETWORK:
            self._add_cycle(subject, hu)
        if subject.reference_ct is not None:
            self.rows += per_subject.paired_rows(method, images)
            counts = paired.error_counts(hu, subject.reference_ct, subject.body)
            self._error_counts[method] = self._error_counts.get(method, 0) + counts
        # Its own outline, as for real CT, if there is one.
        in_ct = images.mask_of_hu if images.mask_of_hu.any() else subject.outline
        name, slice_mm = subject.name, subject.spacing_mm[0]
        self.summaries.setdefault(method, []).append(
            summarise(name, hu, in_ct, slice_mm=slice_mm, inception=self._inception)
        )

    def add_subject(self, subject: EvaluationSubject) -> None:
        """Measure what does not depend on a method."""
        self.mr_subjects[subject.name] = len(subject.mr)
        if subject.reference_ct is not None:
            self.paired_subjects += 1
            self.rows += per_subject.reference_rows(subject)

    def _add_cycle(self, subject: EvaluationSubject, hu: np.ndarray) -> None:
        residual = None
        if self._model.cycle is not None:
            network_input = self._model.network_input(subject.mr)
            cycled = self._model.cycle(hu)
            residual = np.abs(cycled - network_input).mean(axis=-1)
            self.rows += per_subject.cycle_rows(
                NETWORK, subject, network_input, cycled, self._model.channels
            )
        self.ranked_slices += example_slices.rank(subject, hu, residual)

    def error_histogram(self) -> dict[str, Any] | None:
        if not self._error_counts:
            return None
        bins = {"start_hu": paired.ERROR_RANGE_HU[0], "step_hu": paired.ERROR_STEP_HU}
        return bins | {name: n.tolist() for name, n in self._error_counts.items()}


def _check_body(subject: EvaluationSubject, folder: Path) -> None:
    """Raise ValueError where there is no body."""
    if not subject.outline.any():
        raise ValueError(f"{folder}: no body is found in the MR of {subject.name}")
    if not subject.body.any():
        raise ValueError(
            f"{folder}: the labels of {subject.name} are all 0, outside the body"
        )


# --- real CT and distributions --------------------------------------------------------


def _summarise_real_ct(
    dataset: Dataset, split: str, inception: Inception | None
) -> tuple[list[VolumeSummary], dict[str, np.ndarray]]:
    """Return summaries of the real CT, and the middle slice of each subject."""
    real, middle_slices = [], {}
    for volume in dataset.subjects("ct", split):
        name, hu, body = volume.name, volume.stored[..., 0], volume.outline
        if not body.any():
            raise ValueError(f"{dataset.folder}: no body is found in the CT of {name}")
        slice_mm = volume.spacing_mm[0]
        real.append(summarise(name, hu, body, slice_mm=slice_mm, inception=inception))
        middle_slices[name] = hu[example_slices.middle(body)]
    return real, middle_slices


def _distribution_rows(
    synthetic: Mapping[str, Sequence[VolumeSummary]],
    reference: distribution.Reference,
) -> list[Row]:
    rows = []
    for method, summaries in synthetic.items():
        distances = distribution.compare(
            summaries, reference, intervals=method == NETWORK
        )
        for metric, distance in distances.items():
            rows.append(all_subjects_row(method, BODY, metric, distance.interval))
            if method == NETWORK and (between := distance.real_vs_real):
                rows.append(all_subjects_row(REAL_VS_REAL, BODY, metric, between))
    return rows


def _log_mean_spectrum(summaries: Sequence[VolumeSummary]) -> list[float]:
    power = Sample(summaries).spectra.mean(axis=0)
    return np.log10(np.maximum(power, 1e-12)).tolist()


# --- example slices -------------------------------------------------------------------


def _example_slices(
    model: Model,
    dataset: Dataset,
    split: str,
    ranked: list[Ranked],
    middle_slices: Mapping[str, np.ndarray],
) -> list[Slice]:
    """Return the chosen slices, read and translated again: none was kept in memory."""
    chosen = example_slices.choose(ranked)
    wanted = {example.subject for example in chosen.values()}
    slices = {}
    for subject in read_subjects(dataset, split):
        if subject.name not in wanted:
            continue
        hu = translate_checked(model.translate, subject.mr, subject.name)
        cycled = None if model.cycle is None else model.cycle(hu)
        network_input = model.network_input(subject.mr)
        is_paired = subject.reference_ct is not None
        is_ranked = is_paired or cycled is not None
        # Without a reference CT a slice of another person, if there is one.
        names = [name for name in middle_slices if name != subject.name]
        names = names or list(middle_slices)
        for number, (title, example) in enumerate(chosen.items()):
            if example.subject != subject.name:
                continue
            index, other = example.index, names[number % len(names)]
            slices[title] = Slice(
                rank=title if is_ranked else "",
                subject=subject.name,
                index=index,
                slices=len(hu),
                mr=network_input[index],
                channels=model.channels,
                synthetic=hu[index],
                score=example.score if is_ranked else None,
                cycled=None if cycled is None else cycled[index],
                reference_ct=subject.reference_ct[index] if is_paired else None,
                other=None if is_paired else middle_slices[other],
                other_subject="" if is_paired else other,
            )
    return [slices[title] for title in chosen]

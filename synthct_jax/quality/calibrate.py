"""Calibration: limits of a model's features, and its expected error, into its card."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from input_pipeline.countdown import Countdown
from input_pipeline.dataset.dataset import Dataset
from input_pipeline.dataset.manifest import SPLITS
from input_pipeline.intensity import AIR_HU
from synthct_jax.checkpoint import model_file
from synthct_jax.evaluation.subjects import EvaluationSubject, read_subjects
from synthct_jax.inference.loaded_model import LoadedModel, load_model_file
from synthct_jax.metrics.paired import errors
from synthct_jax.quality.features import features_of, measure_input, measure_output
from synthct_jax.quality.limits import fit_limits
from synthct_jax.quality.predicted_error import fit_error


def calibrate(model: str, data_dir: Path, output: Path) -> dict[str, Any]:
    """Write a copy of a model whose card has the limits of the people in prepared data.

    Args:
        model: a model file, or the name of a shipped model.
        data_dir: prepared MR of healthy people, of all splits. The error is fitted on
            those whose CT is known.
        output: NAME.safetensors; NAME.json appears beside it. Neither may exist.

    Returns:
        The field `quality` of the card.

    Raises:
        FileExistsError: one of the files exists.
        FileNotFoundError, ValueError: the model or the data cannot be used, the data
            have other pixels or channels than the model, or too few volumes.
    """
    model_file.check_new(output)
    loaded, dataset = load_model_file(model), Dataset.open(data_dir)
    dataset.check_compatible(ConfigDict(loaded.data))
    domain = dataset.manifest.domains["mr"]
    splits = [split for split in SPLITS if domain.of_split(split)]
    countdown = Countdown(sum(len(domain.of_split(s)) for s in splits), "volumes")
    volumes, known, mae_hu = [], [], []
    for split in splits:
        for subject in read_subjects(dataset, split):
            values, hu = measure_subject(
                loaded, select_channels(subject, dataset, loaded)
            )
            volumes.append(values)
            if subject.reference_ct is not None:
                known.append(values)
                mae_hu.append(errors(hu, subject.reference_ct, subject.body)["mae"])
            countdown.log(subject.name)
    quality = {
        "data": f"{_people(dataset)}, {len(volumes)} volumes",
        "volumes": len(volumes),
        "views": loaded.views,
        **fit_limits(volumes, features_of(loaded.data["mr_channels"])),
        "body_mae": fit_error(known, mae_hu),
    }
    model_file.copy_model(model, output, quality=quality)
    logging.info(
        "Limits of %d features; %.0f %% of the volumes get a warning when left out",
        *(len(quality["limits"]), 100 * quality["alarms"]),
    )
    return quality


def _people(dataset: Dataset) -> str:
    source = dataset.manifest.source
    return "simulated people" if source == "phantom" else f"people of {source} data"


def select_channels(
    subject: EvaluationSubject, dataset: Dataset, loaded: LoadedModel
) -> EvaluationSubject:
    """Return a subject with the MR channels that a model takes, in its order."""
    stored = list(dataset.manifest.domains["mr"].channels)
    channels = [stored.index(name) for name in loaded.data["mr_channels"]]
    return dataclasses.replace(subject, stored=subject.stored[..., channels])


def measure_subject(
    loaded: LoadedModel, mr: EvaluationSubject
) -> tuple[dict[str, float], np.ndarray]:
    """Translate a subject, and return its features and HU as `translate` has them."""
    hu, spread = loaded.translator.with_spread(loaded.params, mr.stored)
    if loaded.data["mask_outside_body"]:
        hu, spread = (
            np.where(mr.outline, image, air)
            for image, air in ((hu, np.float32(AIR_HU)), (spread, np.float32(0)))
        )
    values = measure_input(mr, loaded.data["mr_channels"])
    return values | measure_output(mr, hu, spread if loaded.has_spread else None), hu

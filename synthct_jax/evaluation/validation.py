"""A light evaluation during training, to choose among checkpoints."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from input_pipeline.dataset.dataset import Dataset
from synthct_jax.evaluation.detectors import ImageDetectors
from synthct_jax.evaluation.subjects import (
    evenly_spaced,
    read_subjects,
    translate_checked,
)
from synthct_jax.inference.translator import Translator
from synthct_jax.metrics import haar_features, paired
from synthct_jax.metrics.frechet import frechet_distance

_SLICES = 128  # of each domain, over all subjects


def check_validation(config: ConfigDict, dataset: Dataset) -> None:
    """Check that a training can be validated as its configuration says.

    Without validations (`train.evaluate_every` is 0) there is nothing to check.

    Raises:
        ValueError: `train.best_metric` needs reference CT that the data lack, or there
            are no validation subjects.
    """
    if not config.train.evaluate_every:
        return
    metric, domains = config.train.best_metric, dataset.manifest.domains
    if not all(domains[domain].of_split("validation") for domain in ("mr", "ct")):
        raise ValueError(
            f"{dataset.folder} has no MR and CT subjects to validate on: set "
            f"train.evaluate_every to 0, it is {config.train.evaluate_every}"
        )
    if metric != "frechet_haar" and not dataset.manifest.paired_names("validation"):
        raise ValueError(
            f"train.best_metric is {metric!r}, which needs the reference CT of MR "
            f"subjects; {dataset.folder} has none: set it to frechet_haar"
        )


Validator = Callable[[Mapping[str, Any]], tuple[dict[str, float], dict[str, float]]]
"""A function from weights to the metrics of `validate` and those of ImageDetectors."""


def make_validator(method: Any, config: ConfigDict, dataset: Dataset) -> Validator:
    """Return a function from a training's weights to their validation metrics.

    Every process computes all of them, so that all agree on the best step. The
    generator of `method` is not split over devices.
    """
    translator = Translator(
        method, config.data, stored_channels=dataset.manifest.domains["mr"].channels
    )
    detect = ImageDetectors(translator, config, dataset)

    def validate_weights(
        weights: Mapping[str, Any],
    ) -> tuple[dict[str, float], dict[str, float]]:
        params = jax.tree.map(lambda array: array.addressable_data(0), weights)
        metrics = validate(
            lambda mr: translator(params["to_ct"], mr),
            dataset=dataset,
            split="validation",
        )
        return metrics, detect(params)

    return validate_weights


def validate(
    translate: Callable[[np.ndarray], np.ndarray], *, dataset: Dataset, split: str
) -> dict[str, float]:
    """Return a few metrics of a few slices of each subject.

    Returns:
        'frechet_haar': between about _SLICES slices of synthetic and real CT, the same
        each time; where reference CT are known also 'mae', 'rmse', 'me' and 'psnr' in
        the body, means over subjects.
    """
    share = {
        name: max(1, _SLICES // max(len(domain.of_split(split)), 1))
        for name, domain in dataset.manifest.domains.items()
    }
    real = []
    for ct in dataset.subjects("ct", split):
        chosen = evenly_spaced(len(ct.stored), share["ct"])
        real.append(haar_features.haar_features(ct.stored[chosen, ..., 0]))
    synthetic, errors = [], []
    for subject in read_subjects(dataset, split):
        chosen = evenly_spaced(len(subject.mr), share["mr"])
        hu = translate_checked(translate, subject.mr[chosen], subject.name)
        synthetic.append(haar_features.haar_features(hu))
        if subject.reference_ct is not None:
            body = subject.body[chosen]
            if body.any():  # a few slices may be above or below everything
                errors.append(paired.errors(hu, subject.reference_ct[chosen], body))
    distance = frechet_distance(np.concatenate(synthetic), np.concatenate(real))
    names = errors[0] if errors else ()
    return {"frechet_haar": distance} | {
        name: float(np.mean([error[name] for error in errors])) for name in names
    }

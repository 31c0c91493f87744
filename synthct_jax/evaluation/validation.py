"""A light evaluation during training, to choose among checkpoints."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from input_pipeline.dataset.dataset import Dataset
from input_pipeline.dataset.manifest import Manifest
from synthct_jax.evaluation.subjects import (
    evenly_spaced,
    read_subjects,
    translate_checked,
)
from synthct_jax.metrics import haar_features, paired
from synthct_jax.metrics.frechet import frechet_distance

# Of what `validate` returns: what can choose the best checkpoint.
LOWER_IS_BETTER = ("mae", "rmse", "frechet_haar")

_SLICES = 128  # of each domain, over all subjects


def validate(
    translate: Callable[[np.ndarray], np.ndarray], *, dataset: Dataset, split: str
) -> dict[str, float]:
    """A few metrics of a few slices of each subject.

    Returns:
        'frechet_haar': between about _SLICES slices of synthetic and real CT, the same
        each time; where the truth is known 'mae', 'rmse', 'me', 'psnr' in the body too,
        means over subjects.
    """
    share = {
        domain: max(1, _SLICES // max(len(found.of_split(split)), 1))
        for domain, found in dataset.manifest.domains.items()
    }
    real = [
        haar_features.haar_features(
            ct.stored[evenly_spaced(len(ct.stored), share["ct"]), ..., 0]
        )
        for ct in dataset.subjects("ct", split)
    ]
    synthetic, errors = [], []
    for subject in read_subjects(dataset, split):
        chosen = evenly_spaced(len(subject.mr), share["mr"])
        hu = translate_checked(translate, subject.mr[chosen], subject.name)
        synthetic.append(haar_features.haar_features(hu))
        if subject.reference_ct is not None:
            body = subject.body[chosen]
            if body.any():  # a few slices may be above or below everything
                errors.append(paired.errors(hu, subject.reference_ct[chosen], body))
    found = {
        "frechet_haar": frechet_distance(
            np.concatenate(synthetic), np.concatenate(real)
        )
    }
    for name in errors[0] if errors else ():
        found[name] = float(np.mean([error[name] for error in errors]))
    return found


def check_validation(config: ConfigDict, prepared: Manifest, data_dir: Path) -> None:
    """Raises ValueError where validation is wanted and cannot be done as wanted."""
    if not config.train.evaluate_every:
        return
    metric = config.train.best_metric
    if metric not in LOWER_IS_BETTER:
        raise ValueError(
            f"train.best_metric is {metric!r}, expected one of those of which the "
            f"lowest is best: {', '.join(LOWER_IS_BETTER)}"
        )
    if metric != "frechet_haar" and "labels" not in prepared.domains:
        raise ValueError(
            f"train.best_metric is {metric!r}, which needs the true CT of MR "
            f"subjects; {data_dir} has none: set it to frechet_haar"
        )
    if not all(
        prepared.domains[domain].of_split("validation") for domain in ("mr", "ct")
    ):
        raise ValueError(
            f"{data_dir} has no MR and CT subjects to validate on: set "
            f"train.evaluate_every to 0, it is {config.train.evaluate_every}"
        )

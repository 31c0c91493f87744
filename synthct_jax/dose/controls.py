"""CT of no network, on which plans are computed as well: water, and bulk densities."""

import numpy as np

from input_pipeline.intensity import AIR_HU
from synthct_jax.dose.structures import BONE
from synthct_jax.evaluation import baselines
from synthct_jax.evaluation.subjects import EvaluationSubject
from synthct_jax.metrics import labelled, path_length

_CLASSES = (BONE, labelled.FAT, ("lung",), ("gas",))


def water(subject: EvaluationSubject) -> np.ndarray:
    """Return water in the body, HU."""
    return baselines.water(subject.body)


def bulk_density(subject: EvaluationSubject) -> np.ndarray:
    """Return one HU for bone, fat, lung, gas and soft tissue each, by the true labels.

    It is the mean of the subject's own reference CT in the class, so no other HU of a
    class comes nearer in mean squared HU. Discs are soft tissue. Without labels of
    tissues it is that of `path_length.bulk_density`.
    """
    if not subject.has_tissues:
        return path_length.bulk_density(subject.reference_ct, subject.body)
    hu = np.full(subject.body.shape, AIR_HU, np.float32)
    soft = subject.body.copy()
    for names in _CLASSES:
        tissue = subject.voxels_of(names) & subject.body
        _assign_mean(hu, subject.reference_ct, tissue)
        soft &= ~tissue
    _assign_mean(hu, subject.reference_ct, soft)
    return hu


def _assign_mean(hu: np.ndarray, reference_ct: np.ndarray, mask: np.ndarray) -> None:
    if mask.any():
        hu[mask] = reference_ct[mask].mean(dtype=np.float64)

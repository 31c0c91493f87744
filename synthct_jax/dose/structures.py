"""Targets and organs at risk, from tissue labels or from a mask that a user has drawn.

Volumes are (slices, rows, columns), slices from inferior, rows from anterior, columns
from the patient's right.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import scipy.ndimage

from synthct_jax.dose.plans import LIVER, SPINE
from synthct_jax.evaluation.subjects import EvaluationSubject
from synthct_jax.metrics import labelled

BODY, TARGET = "body", "target"

# Chosen. The vertebra is a ball of bone about a point in front of the spinal canal.
LIVER_RADIUS_MM = 20.0
VERTEBRA_RADIUS_MM = 22.0
VERTEBRA_BEFORE_CANAL_MM = 22.0
DISC_SIGMA_MM = 8.0  # smooths the voxels of disc by slice; a vertebra has the least
FROM_END_MM = 36.0  # from the centre of a target to the first and the last slice

BONE = ("cortical_bone", "marrow", "sclerotic_bone")
_DISC = ("disc",)
_CANAL = ("spinal_canal",)
_ORGANS = {
    "spinal canal": _CANAL,
    "kidneys": labelled.ORGANS["kidneys"],
    "bowel": ("bowel_wall", "bowel_content", "gas", "stool"),
    "liver": labelled.ORGANS["liver"],
}
_LIVER = (*labelled.ORGANS["liver"], *labelled.LESIONS, "vein", "artery", "bile")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Structures:
    """Regions of a plan, (slices, rows, columns) bool.

    Attributes:
        target: receives the prescribed dose.
        organs: organs at risk by name, without the target.
        body: all that is treated or spared, by the reference CT.
    """

    target: np.ndarray
    organs: Mapping[str, np.ndarray]
    body: np.ndarray

    def isocentre(self) -> np.ndarray:
        """Return the centre of mass of the target, in voxels."""
        return np.argwhere(self.target).mean(axis=0)


def sites_of_subject(subject: EvaluationSubject) -> dict[str, Structures]:
    """Return the structures of each site that a subject's labels allow.

    The liver's target is a ball at the place farthest from its surface. That of the
    spine is a vertebra near the middle of the volume. Centres are FROM_END_MM or more
    from the first and the last slice. The spine is left out where no such slice shows
    its canal, the liver where no such place is LIVER_RADIUS_MM / 2 from its surface.
    """
    targets = {LIVER: _liver_target(subject), SPINE: _vertebra(subject)}
    return {
        site: _structures(subject, target)
        for site, target in targets.items()
        if target.any()
    }


def structures_of_labels(
    labels: np.ndarray, body: np.ndarray, names: Mapping[int, str]
) -> Structures:
    """Return the structures of a user's mask, in which label 1 is the target.

    Args:
        labels: integers; all that are neither 0 nor 1 are organs at risk.
        names: of labels of organs; labels that share a name are one organ, the others
            are called by their number.

    Raises:
        ValueError: no voxel of the body has the label 1; a label is negative; or a
            name is that of no organ, or of a label that the mask has not.
    """
    values = np.unique(labels)
    present = ", ".join(f"{label:g}" for label in values)
    target = (labels == 1) & body
    if not target.any() or values[0] < 0:
        raise ValueError(
            f"the mask has labels {present}: expected some voxels of the body with 1, "
            "the target, and none below 0"
        )
    for label, name in names.items():
        if label == 1 or label not in values or name in ("", TARGET, BODY):
            raise ValueError(
                f"--organs has {label}:{name}, expected labels of the mask above 1 "
                f"({present}), and other names than {TARGET!r} and {BODY!r}"
            )
    organs: dict[str, np.ndarray] = {}
    for label in values[values > 1]:
        name = names.get(int(label), f"label {label:g}")
        organs[name] = organs.get(name, False) | (labels == label)
    return Structures(target=target, organs=organs, body=body)


def _structures(subject: EvaluationSubject, target: np.ndarray) -> Structures:
    organs = {name: subject.voxels_of(names) for name, names in _ORGANS.items()}
    return Structures(
        target=target,
        organs={
            name: organ & ~target
            for name, organ in organs.items()
            if (organ & ~target).any()
        },
        body=subject.body,
    )


def _liver_target(subject: EvaluationSubject) -> np.ndarray:
    liver = subject.voxels_of(_LIVER)
    inside = np.where(
        _away_from_ends(subject),
        scipy.ndimage.distance_transform_edt(liver, subject.spacing_mm),
        0,
    )
    if inside.max() < LIVER_RADIUS_MM / 2:
        return np.zeros_like(liver)
    centre = np.unravel_index(inside.argmax(), inside.shape)
    return _ball(subject, centre, LIVER_RADIUS_MM) & liver


def _vertebra(subject: EvaluationSubject) -> np.ndarray:
    canal = subject.voxels_of(_CANAL) & _away_from_ends(subject)
    slices = np.flatnonzero(canal.any(axis=(1, 2)))
    if not len(slices):
        return np.zeros(canal.shape, bool)
    slice_mm, row_mm, _ = subject.spacing_mm
    discs = subject.voxels_of(_DISC).sum(axis=(1, 2), dtype=np.float64)
    discs = scipy.ndimage.gaussian_filter1d(discs, DISC_SIGMA_MM / slice_mm)
    middle = slices[len(slices) // 2]
    near = slices[abs(slices - middle) * slice_mm <= VERTEBRA_RADIUS_MM]
    centre = min(near, key=lambda place: (discs[place], abs(place - middle)))
    row, column = np.argwhere(canal[centre]).mean(axis=0)
    row -= VERTEBRA_BEFORE_CANAL_MM / row_mm
    ball = _ball(subject, (centre, row, column), VERTEBRA_RADIUS_MM)
    return ball & subject.voxels_of(BONE)


def _away_from_ends(subject: EvaluationSubject) -> np.ndarray:
    """Return whether each slice is FROM_END_MM from both ends, (slices, 1, 1)."""
    count, slice_mm = len(subject.stored), subject.spacing_mm[0]
    place = np.arange(count)
    away = np.minimum(place, count - 1 - place) * slice_mm >= FROM_END_MM
    return away[:, None, None]


def _ball(subject: EvaluationSubject, centre, radius_mm: float) -> np.ndarray:
    offsets = np.ogrid[tuple(slice(n) for n in subject.stored.shape[:3])]
    return (
        sum(
            ((offset - middle) * mm) ** 2
            for offset, middle, mm in zip(
                offsets, centre, subject.spacing_mm, strict=True
            )
        )
        <= radius_mm**2
    )

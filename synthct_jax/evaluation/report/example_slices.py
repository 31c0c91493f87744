"""The example slices of a report: the best, the median and the worst."""

import dataclasses

import numpy as np

from synthct_jax.evaluation.subjects import EvaluationSubject

# Slices that show less of the body than this share of the fullest slice are left out.
_LEAST_BODY = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranked:
    """A slice and its `score`; lower is better."""

    score: float
    subject: str
    index: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slice:
    """An example slice of a subject. CT are (rows, columns) HU.

    Attributes:
        rank: 'Best', 'Median', 'Worst', or empty.
        index: number of the slice, from inferior, from 0.
        slices: number of slices of the subject.
        mr: (rows, columns, channels) in [-1, 1], the network's input.
        score: number by which the slice was ranked; None if it was not ranked.
        cycled: MR to CT and back by the inverse generator, if there is one.
        reference_ct: of the same subject, if known.
        other: CT of `other_subject`, if there is no reference CT.
    """

    rank: str
    subject: str
    index: int
    slices: int
    mr: np.ndarray
    channels: tuple[str, ...]
    synthetic: np.ndarray
    score: float | None
    cycled: np.ndarray | None = None
    reference_ct: np.ndarray | None = None
    other: np.ndarray | None = None
    other_subject: str = ""


def rank(
    subject: EvaluationSubject, hu: np.ndarray, residual: np.ndarray | None
) -> list[Ranked]:
    """Score each slice of a subject that shows enough of the body.

    The score is the mean absolute error in the body or, without a reference CT, the
    mean cycle residual or, without an inverse generator, the distance from the middle
    slice.

    Args:
        hu: synthetic CT, (slices, rows, columns).
        residual: of that shape, |MR - cycled MR| as a mean over channels; or None.
    """
    voxels = subject.body.sum(axis=(1, 2))
    shown = np.flatnonzero(voxels > _LEAST_BODY * max(voxels.max(), 1))
    if not len(shown):
        return [Ranked(score=0.0, subject=subject.name, index=len(hu) // 2)]
    if subject.reference_ct is not None:
        residual = np.abs(hu - subject.reference_ct)

    def score(index: int) -> float:
        if residual is None:
            return float(abs(index - shown[len(shown) // 2]))
        return float(residual[index][subject.body[index]].mean(dtype=np.float64))

    return [
        Ranked(score=score(index), subject=subject.name, index=int(index))
        for index in shown
    ]


def choose(ranked: list[Ranked]) -> dict[str, Ranked]:
    """Return the best, the median and the worst slice, or fewer of fewer slices."""
    order = sorted(ranked, key=lambda s: (s.score, s.subject, s.index))
    if len(order) == 1:
        return {"The only slice": order[0]}
    chosen = {"Best": order[0], "Median": order[len(order) // 2], "Worst": order[-1]}
    if len(order) == 2:
        del chosen["Median"]
    return chosen


def middle(body: np.ndarray) -> int:
    """Return the middle one of the slices that show the body."""
    filled = np.flatnonzero(body.any(axis=(1, 2)))
    return int(filled[len(filled) // 2]) if len(filled) else len(body) // 2

"""Which slices a report shows: the best, the median and the worst."""

import dataclasses

import numpy as np

from synthct_jax.evaluation.subjects import EvaluationSubject

_LEAST_BODY = 0.25  # of the largest slice's: less says little about a translation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranked:
    """A slice and how far off it is: by `score`, lower is better."""

    score: float
    subject: str
    index: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slice:
    """A slice of a subject to look at.

    Attributes:
        rank: 'Best', 'Median', 'Worst', or empty.
        subject: its name.
        index, slices: which of how many slices, from inferior.
        mr: (rows, columns, channels) in [-1, 1], the network's input.
        channels: their names.
        synthetic: (rows, columns) HU.
        score: of the slice, what it was ranked by; None where it was not.
        cycled: (rows, columns, channels), MR to CT and back by the inverse generator,
            if there is one.
        reference_ct: (rows, columns) HU of the same subject, where known.
        other, other_subject: where it is not known, HU of somebody else's CT, for the
            looks.
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

    The score is the mean absolute error in the body where the reference CT is known,
    else the mean cycle residual; without either the distance from the middle slice.

    Args:
        subject: with the outline or labels of the body.
        hu: synthetic, (slices, rows, columns).
        residual: |MR - cycled MR|, mean over channels, (slices, rows, columns).
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
    """Best, median and worst; fewer where there are fewer slices."""
    order = sorted(ranked, key=lambda one: (one.score, one.subject, one.index))
    if len(order) == 1:
        return {"The only slice": order[0]}
    chosen = {"Best": order[0], "Median": order[len(order) // 2], "Worst": order[-1]}
    if len(order) == 2:
        del chosen["Median"]
    return chosen


def middle(body: np.ndarray) -> int:
    """The middle one of the slices (slices, rows, columns) that show the body."""
    filled = np.flatnonzero(body.any(axis=(1, 2)))
    return int(filled[len(filled) // 2]) if len(filled) else len(body) // 2

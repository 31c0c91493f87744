"""Which slices a report shows: the best, the median and the worst."""

import dataclasses

import numpy as np

from synthct_jax.evaluation.subjects import Case

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
        mr: (rows, columns, channels) in [-1, 1], what the network saw.
        channels: their names.
        synthetic: (rows, columns) HU.
        score: of the slice, what it was ranked by; None where it was not.
        cycled: (rows, columns, channels), MR to CT and back, where there is a way back.
        truth: (rows, columns) HU of the same subject, where known.
        other, other_subject: where the truth is not known, HU of somebody else's CT,
            for the looks.
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
    truth: np.ndarray | None = None
    other: np.ndarray | None = None
    other_subject: str = ""


def rank(
    case: Case, hu: np.ndarray, body: np.ndarray, residual: np.ndarray | None
) -> list[Ranked]:
    """Each slice of a subject that shows enough of the body, with its score.

    The score is the mean absolute error in the body where the truth is known, else the
    mean cycle residual; without either the distance from the middle of the body.

    Args:
        hu: synthetic, (slices, rows, columns).
        body: bool, the outline that the MR shows.
        residual: |MR - cycled MR|, mean over channels, (slices, rows, columns).
    """
    inside = body if case.truth is None else case.labels > 0
    voxels = inside.sum(axis=(1, 2))
    shown = np.flatnonzero(voxels > _LEAST_BODY * max(voxels.max(), 1))
    if not len(shown):
        return [Ranked(score=0.0, subject=case.name, index=len(hu) // 2)]
    if case.truth is not None:
        off = np.abs(hu - case.truth)
    elif residual is not None:
        off = residual
    else:
        middle = shown[len(shown) // 2]
        return [
            Ranked(score=float(abs(i - middle)), subject=case.name, index=int(i))
            for i in shown
        ]
    return [
        Ranked(
            score=float(off[i][inside[i]].mean(dtype=np.float64)),
            subject=case.name,
            index=int(i),
        )
        for i in shown
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

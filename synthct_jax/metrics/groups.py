"""Two sets of samples, of which those of one subject are not independent."""

from collections.abc import Sequence

import numpy as np


def checked(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of samples (samples, features) as float64.

    Raises:
        ValueError: numbers of features differ, or fewer than two samples in a set.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(
            f"features are {a.shape} and {b.shape}, expected (samples, features) with "
            "equally many features"
        )
    if min(len(a), len(b)) < 2:
        raise ValueError(
            f"{len(a)} and {len(b)} samples, expected two or more in both sets"
        )
    return a, b


def deal(
    a: Sequence, b: Sequence, parts: int, *, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Deals subjects into parts, a subject that is in both sets into the same.

    Args:
        a, b: the subject of each sample of two sets: names or numbers.
        parts: how many; the numbers of subjects in them differ by one at most.
        rng: shuffles the subjects; without it they are dealt in order of their names,
            those in both sets first.

    Returns:
        The part, 0 to parts - 1, of each sample of `a` and of `b`.
    """
    a, b = np.asarray(a), np.asarray(b)
    shared = np.intersect1d(a, b)
    if rng is not None:
        shared = rng.permutation(shared)
    dealt = []
    for names in (a, b):
        own = np.setdiff1d(names, shared)
        if rng is not None:
            own = rng.permutation(own)
        order = np.concatenate([shared, own])
        places = np.argsort(order)
        found = places[np.searchsorted(order, names, sorter=places)]
        dealt.append(found % parts)
    return dealt[0], dealt[1]


def numbered(
    a: Sequence | None, b: Sequence | None, *, counts: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The subject of each sample as a number; the same number is the same subject.

    Args:
        a, b: the subject of each sample of two sets: names or numbers. None for both:
            each sample is a subject of its own.
        counts: how many samples the sets have.

    Raises:
        ValueError: subjects of one set only, or not one for each sample.
    """
    if a is None and b is None:
        return np.arange(counts[0]), counts[0] + np.arange(counts[1])
    if a is None or b is None:
        raise ValueError("groups are given of one set, expected both or neither")
    a, b = np.asarray(a), np.asarray(b)
    if (a.shape, b.shape) != tuple((count,) for count in counts):
        raise ValueError(
            f"groups are {a.shape} and {b.shape}, expected the subjects of each of "
            f"{counts[0]} and {counts[1]} samples"
        )
    found = np.unique(np.concatenate([a, b]), return_inverse=True)[1]
    return found[: counts[0]], found[counts[0] :]

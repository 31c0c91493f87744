"""Two sets of samples in which the samples of one subject are not independent."""

from collections.abc import Sequence

import numpy as np


def check_features(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two sets of features, (samples, features), as float64.

    Raises:
        ValueError: the numbers of features differ, or a set has fewer than two samples.
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


def assign_folds(
    a: Sequence, b: Sequence, folds: int, *, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Assign the subjects of two sets to folds of nearly equal size.

    A subject that is in both sets is in the same fold of both. The numbers of subjects
    in the folds of a set differ by one at most.

    Args:
        a, b: subject of each sample of the two sets, as names or numbers.
        folds: number of folds.
        rng: shuffles the subjects; without it they are assigned in order of their
            names, those in both sets first.

    Returns:
        Fold of each sample of a and of b, 0 to folds - 1.
    """
    a, b = np.asarray(a), np.asarray(b)
    shared = np.intersect1d(a, b)
    if rng is not None:
        shared = rng.permutation(shared)
    assigned = []
    for names in (a, b):
        own = np.setdiff1d(names, shared)
        if rng is not None:
            own = rng.permutation(own)
        order = np.concatenate([shared, own])
        sorter = np.argsort(order)
        places = sorter[np.searchsorted(order, names, sorter=sorter)]
        assigned.append(places % folds)
    return assigned[0], assigned[1]


def number_subjects(
    a: Sequence | None, b: Sequence | None, *, counts: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the subject of each sample as a number, equal for equal subjects.

    Args:
        a, b: subject of each sample of the two sets, as names or numbers. None for both
            makes each sample a subject of its own.
        counts: numbers of samples in the two sets.

    Raises:
        ValueError: subjects are given for one set only, or not one for each sample.
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
    numbers = np.unique(np.concatenate([a, b]), return_inverse=True)[1]
    return numbers[: counts[0]], numbers[counts[0] :]

"""Subjects, all of whose samples are on one side of a division."""

from collections.abc import Sequence

import numpy as np


def assign_folds(
    a: Sequence, b: Sequence, folds: int, *, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Assign the subjects of two sets to folds of nearly equal size.

    A subject that is in both sets is in the same fold of both. The numbers of subjects
    in the folds of a set differ by one at most.

    Args:
        a, b: subject of each sample of the two sets, as names or numbers.
        rng: shuffles the subjects; without it they are assigned in order of their
            names, those in both sets first.

    Returns:
        Fold of each sample of a and of b, 0 to folds - 1.
    """
    shuffle = rng.permutation if rng else np.asarray
    shared = shuffle(np.intersect1d(a, b))
    assigned = []
    for names in (a, b):
        order = np.concatenate([shared, shuffle(np.setdiff1d(names, shared))])
        sorter = np.argsort(order)
        places = sorter[np.searchsorted(order, names, sorter=sorter)]
        assigned.append(places % folds)
    return assigned[0], assigned[1]

"""The kernel distance against torchmetrics, loops over pairs and planted shifts."""

import numpy as np
import pytest

from synthct_jax.metrics.kernel import KernelSums


def kernel_distance(a, b, names_a=None, names_b=None) -> float:
    """Return the distance of two sets of slices; without names each has a subject."""
    if names_a is None:
        names_a, names_b = range(len(a)), range(len(a), len(a) + len(b))
    slices = [row[np.newaxis] for row in (*a, *b)]
    sums = KernelSums(slices, [*map(str, names_a), *map(str, names_b)])
    return sums.distance(*np.split(np.arange(len(slices)), [len(a)]))


def two_sets() -> tuple[np.ndarray, np.ndarray]:
    i, j = np.mgrid[0:9, 0:5]
    return np.sin(3.0 * i + j**2) + j, 1.5 * np.cos(2.0 * i - j) + 0.2 * i


# torchmetrics 1.9.0, torchmetrics.image.kid.poly_mmd(torch.tensor(scale * a),
# torch.tensor(scale * b)) of `two_sets`.
TORCHMETRICS = {1: 295.7930411662581, 3: 156398.54830896697}


@pytest.mark.parametrize("scale", TORCHMETRICS)
def test_distance_is_that_of_torchmetrics(scale):
    a, b = two_sets()
    distance = kernel_distance(scale * a, scale * b)
    assert distance == pytest.approx(TORCHMETRICS[scale], rel=1e-9)


def loop_over_pairs(a, b, names_a, names_b) -> float:
    def mean(x, y, names_x, names_y):
        return np.mean(
            [
                (u @ v / len(u) + 1) ** 3
                for u, of_u in zip(x, names_x, strict=True)
                for v, of_v in zip(y, names_y, strict=True)
                if of_u != of_v
            ]
        )

    return (
        mean(a, a, names_a, names_a)
        + mean(b, b, names_b, names_b)
        - 2 * mean(a, b, names_a, names_b)
    )


def test_distance_is_that_of_a_loop_over_pairs_of_different_subjects():
    a, b = two_sets()
    b = b[:7]
    # "c" is in both sets.
    names = list("aaabbbccc"), list("ccddeee")
    distance = kernel_distance(a, b, *names)
    assert distance == pytest.approx(loop_over_pairs(a, b, *names))
    volumes = [a[:3], a[3:6], a[6:], b[:2], b[2:4], b[4:]]
    sums = KernelSums(volumes, list("abccde"))
    assert sums.distance([0, 1, 2], [3, 4, 5]) == pytest.approx(distance)
    twice = loop_over_pairs(
        np.concatenate([a[:6], a[:3]]), b, list("aaabbbaaa"), names[1]
    )
    assert sums.distance([0, 1, 0], [3, 4, 5]) == pytest.approx(twice)


def draw_subjects(count: int, *, seed: int, shift: float = 0.0) -> np.ndarray:
    """Draw six slices each that differ between subjects, and little within one."""
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(count, 1, 8)) + shift
    return (own + 0.2 * rng.normal(size=(count, 6, 8))).reshape(-1, 8)


SUBJECTS = np.repeat(np.arange(5), 6), np.repeat(np.arange(5, 10), 6)


def test_distance_is_unbiased_only_without_pairs_of_one_subject():
    by_slices, by_subjects = [], []
    for seed in range(0, 200, 2):
        a, b = draw_subjects(5, seed=seed), draw_subjects(5, seed=seed + 1)
        by_slices.append(kernel_distance(a, b))
        by_subjects.append(kernel_distance(a, b, *SUBJECTS))
    uncertainty = np.std(by_subjects) / 10
    assert abs(np.mean(by_subjects)) < 3 * uncertainty
    assert np.mean(by_slices) > 10 * uncertainty


def test_distance_grows_with_a_shift_and_is_symmetric():
    a = draw_subjects(5, seed=0)
    shifted = [draw_subjects(5, seed=1, shift=shift) for shift in (0, 1, 2)]
    distances = [kernel_distance(a, b, *SUBJECTS) for b in shifted]
    assert distances[0] < distances[1] < distances[2]
    back = kernel_distance(shifted[2], a, *SUBJECTS[::-1])
    assert back == pytest.approx(distances[2])


def test_distance_of_a_single_subject_is_nan():
    a, b = two_sets()
    assert np.isnan(kernel_distance(a, b, ["a"] * 9, range(9)))

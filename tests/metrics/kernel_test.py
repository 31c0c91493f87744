"""The kernel distance against torchmetrics, loops over pairs and planted shifts."""

import numpy as np
import pytest

from synthct_jax.metrics.kernel import kernel_distance


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


def test_distance_with_and_without_groups_is_that_of_a_loop_over_pairs():
    a, b = two_sets()
    b = b[:7]
    ungrouped = kernel_distance(a, b)
    assert ungrouped == pytest.approx(loop_over_pairs(a, b, range(9), range(10, 17)))
    # "c" is in both sets.
    names_a, names_b = list("aaabbbccc"), list("ccddeee")
    grouped = kernel_distance(a, b, groups_a=names_a, groups_b=names_b)
    assert grouped == pytest.approx(loop_over_pairs(a, b, names_a, names_b))
    assert grouped != pytest.approx(ungrouped)


def draw_subjects(count: int, *, seed: int, shift: float = 0.0) -> np.ndarray:
    """Draw six slices each that differ between subjects, and little within one."""
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(count, 1, 8)) + shift
    return (own + 0.2 * rng.normal(size=(count, 6, 8))).reshape(-1, 8)


def test_distance_is_unbiased_over_subjects_only_with_groups():
    of_a, of_b = np.repeat(np.arange(5), 6), np.repeat(np.arange(5, 10), 6)
    plain, grouped = [], []
    for seed in range(0, 200, 2):
        a, b = draw_subjects(5, seed=seed), draw_subjects(5, seed=seed + 1)
        plain.append(kernel_distance(a, b))
        grouped.append(kernel_distance(a, b, groups_a=of_a, groups_b=of_b))
    uncertainty = np.std(grouped) / 10
    assert abs(np.mean(grouped)) < 3 * uncertainty
    assert np.mean(plain) > 10 * uncertainty


def test_distance_grows_with_a_shift_and_is_symmetric():
    of_a, of_b = np.repeat(np.arange(5), 6), np.repeat(np.arange(5, 10), 6)
    a = draw_subjects(5, seed=0)
    distances = [
        kernel_distance(a, b, groups_a=of_a, groups_b=of_b)
        for b in (draw_subjects(5, seed=1, shift=shift) for shift in (0, 1, 2))
    ]
    assert distances[0] < distances[1] < distances[2]
    b = draw_subjects(3, seed=2)
    assert kernel_distance(a, b) == pytest.approx(kernel_distance(b, a))


def test_distance_of_a_single_subject_is_nan():
    a, b = two_sets()
    assert np.isnan(kernel_distance(a, b, groups_a=["a"] * 9, groups_b=range(9)))


def test_features_and_groups_that_do_not_fit_are_refused():
    a, b = two_sets()
    with pytest.raises(ValueError, match="1 and 9 samples"):
        kernel_distance(a[:1], b)
    with pytest.raises(ValueError, match=r"\(9, 5\) and \(9, 4\)"):
        kernel_distance(a, b[:, :4])
    with pytest.raises(ValueError, match="one set"):
        kernel_distance(a, b, groups_b=range(9))

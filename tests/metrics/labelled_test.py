"""Errors by tissue: pure voxels, lesions kept, erased and invented, displacements."""

import numpy as np
import pytest

from synthct_jax.metrics import labelled

SHAPE = (5, 40, 40)


def disc(row: float, column: float, radius: float) -> np.ndarray:
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    inside = np.hypot(y - row, x - column) < radius
    return np.broadcast_to(inside, SHAPE).copy()


def organ_with_lesions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return masks of an organ and of its two lesions, and a CT with noise."""
    lesions = disc(14, 14, 3.5) | disc(24, 24, 3.5)
    organ = disc(20, 20, 15) & ~lesions
    rng = np.random.default_rng(0)
    ct = np.select([lesions, organ], [10.0, 110.0], -100.0) + rng.normal(0, 5, SHAPE)
    return organ, lesions, ct


def test_pure_voxels_have_no_other_tissue_beside_them_in_the_slice():
    labels = np.ones(SHAPE, np.int16)
    labels[:, :, 20:] = 2
    labels[2, 10, 5] = 3
    pure = labelled.pure_labels(labels)
    assert (pure[:, 1:-1, 19:21] == 0).all() and (pure[:, 1:-1, 21:-1] == 2).all()
    assert (pure[2, 9:12, 4:7] == 0).all() and pure[1, 10, 5] == 1
    ones = labelled.pure(labels == 1)
    np.testing.assert_array_equal(ones, pure == 1)


@pytest.mark.parametrize("kept", [1.0, 0.7, 0.2, -0.5])
def test_contrast_of_each_lesion_is_compared_with_the_reference(kept):
    organ, lesions, ct = organ_with_lesions()
    cores = labelled.lesion_cores(lesions, organ)
    synthetic = np.where(disc(14, 14, 4), 110 - kept * 100, ct) + 30
    first, second = labelled.contrasts_kept(synthetic, ct, cores, organ)
    assert first == pytest.approx(kept, abs=0.05)
    assert second == pytest.approx(1, abs=0.01)


def test_lesions_beside_an_organ_too_small_or_too_faint_do_not_count():
    organ, lesions, ct = organ_with_lesions()
    outside = disc(20, 37, 2.5)
    small = disc(10, 26, 1.2)
    cores = labelled.lesion_cores(lesions | outside | small, organ & ~small)
    assert len(cores) == 2
    faint = np.where(lesions, 110 - labelled.LEAST_CONTRAST_HU / 2, ct)
    assert labelled.contrasts_kept(ct, faint, cores, organ) == []


def test_invented_lesions_are_told_from_noise_and_from_a_wrong_level():
    organ, _, ct = organ_with_lesions()
    rng = np.random.default_rng(1)
    noisy = ct + 50 + rng.normal(0, 20, SHAPE)
    assert (labelled.deviations(noisy, ct, organ) > labelled.INVENTED_HU).mean() < 0.01
    invented = disc(24, 14, 3) & organ
    share = labelled.deviations(noisy - 80 * invented, ct, organ)
    share = (share > labelled.INVENTED_HU).mean()
    inner = labelled.pure(labelled.pure(organ))
    assert share == pytest.approx(invented[inner].mean(), rel=0.5)
    assert labelled.deviations(ct, ct, np.zeros(SHAPE, bool)).size == 0


@pytest.mark.parametrize("rows, columns", [(0, 0), (2, -1), (-1, 3), (0.5, 0)])
def test_displacement_of_an_organ_is_its_distance_in_mm(rows, columns):
    organ, _, ct = organ_with_lesions()
    moved = np.roll(ct, (int(np.ceil(rows)), columns), axis=(1, 2))
    if rows == 0.5:
        moved = (moved + ct) / 2
    distance = labelled.displacement_mm(3 * moved + 7, ct, organ, (6.0, 4.0, 2.0))
    assert distance == pytest.approx(np.hypot(4 * rows, 2 * columns), abs=0.3)


def test_displacement_is_unknown_without_the_organ_or_without_contrast():
    organ, _, ct = organ_with_lesions()
    nothing = np.zeros(SHAPE, bool)
    for synthetic, mask in ((ct, nothing), (np.zeros(SHAPE), organ)):
        distance = labelled.displacement_mm(synthetic, ct, mask, (6.0, 4.0, 4.0))
        assert np.isnan(distance)

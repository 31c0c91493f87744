"""Differences from slice to slice, with planted repetitions and flicker."""

import numpy as np
import pytest

from synthct_jax.metrics.continuity import (
    RANGE_HU,
    slice_difference_statistics,
    slice_differences,
)


def draw_body(
    slices: int = 19, *, narrower: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw HU and the mask of a body whose texture differs from slice to slice.

    Args:
        narrower: pixels by which the radius shrinks from slice to slice.
    """
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:24, 0:28] - 12.0
    body = np.array([np.hypot(x, y) < 11 - narrower * k for k in range(slices)])
    hu = np.where(body, 40 + rng.normal(0, 20, body.shape), -1024)
    return hu.astype(np.float32), body


def test_differences_are_means_over_the_union_of_both_bodies():
    hu, body = draw_body(narrower=0.3)
    hu[3, 12, 12] = 9000
    clipped = np.clip(hu, *RANGE_HU).astype(np.float64)
    expected = [
        np.abs(clipped[k + 1] - clipped[k])[body[k] | body[k + 1]].mean()
        for k in range(len(hu) - 1)
    ]
    differences = slice_differences(hu, body)
    assert differences.dtype == np.float64
    np.testing.assert_allclose(differences, expected, rtol=1e-5)
    np.testing.assert_array_equal(slice_differences(hu[:6], body[:6]), differences[:5])


def test_a_repeated_slice_has_no_difference_and_a_small_ratio():
    hu, body = draw_body()
    sound = slice_difference_statistics(slice_differences(hu, body))
    hu[8], body[8] = hu[7], body[7]
    differences = slice_differences(hu, body)
    assert differences[7] == 0 and (np.delete(differences, 7) > 0).all()
    faulty = slice_difference_statistics(differences)
    assert faulty["smallest"] == 0 and sound["smallest"] > 0.5
    assert faulty["largest"] > 1.5 * sound["largest"]


def test_a_repeated_slice_at_the_end_of_a_volume_has_a_small_ratio():
    hu, body = draw_body()
    hu[0], body[0] = hu[1], body[1]
    differences = slice_differences(hu, body)
    assert slice_difference_statistics(differences)["smallest"] == 0


def test_a_slice_that_flickers_has_a_large_ratio():
    hu, body = draw_body()
    sound = slice_difference_statistics(slice_differences(hu, body))
    hu[9][body[9]] += 60
    faulty = slice_difference_statistics(slice_differences(hu, body))
    assert faulty["largest"] > 1.3 * sound["largest"]
    assert faulty["median"] == pytest.approx(sound["median"], rel=0.1)


def test_slices_without_a_body_have_no_difference():
    hu, body = draw_body(3)
    assert slice_differences(hu[:1], body[:1]).shape == (0,)
    body[:2] = False
    differences = slice_differences(hu, body)
    assert np.isnan(differences[0]) and np.isfinite(differences[1])
    assert np.isnan(list(slice_difference_statistics(differences).values())).all()


def test_volumes_of_different_shapes_are_refused():
    hu, body = draw_body(3)
    with pytest.raises(ValueError, match=r"\(3, 24, 28\) and the body \(2, 24, 28\)"):
        slice_differences(hu, body[1:])

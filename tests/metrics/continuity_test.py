"""Changes from slice to slice, with planted repetitions and flicker."""

import numpy as np
import pytest

from synthct_jax.metrics import continuity


def bodies(slices: int = 19, *, narrower: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A body, by so many pixels narrower each slice, and texture without continuity."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:24, 0:28] - 12.0
    body = np.array([np.hypot(x, y) < 11 - narrower * k for k in range(slices)])
    hu = np.where(body, 40 + rng.normal(0, 20, body.shape), -1024)
    return hu.astype(np.float32), body


def test_jumps_are_mean_differences_in_either_body():
    hu, body = bodies(narrower=0.3)
    hu[3, 12, 12] = 9000
    clipped = np.clip(hu, *continuity.RANGE_HU).astype(np.float64)
    expected = [
        np.abs(clipped[k + 1] - clipped[k])[body[k] | body[k + 1]].mean()
        for k in range(len(hu) - 1)
    ]
    found = continuity.slice_jumps(hu, body)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    parts = continuity.slice_jumps(hu[:6], body[:6])
    np.testing.assert_array_equal(parts, found[:5])


def test_a_repeated_slice_is_found():
    hu, body = bodies()
    sound = continuity.jump_statistics(continuity.slice_jumps(hu, body))
    hu[8], body[8] = hu[7], body[7]
    jumps = continuity.slice_jumps(hu, body)
    assert jumps[7] == 0 and (np.delete(jumps, 7) > 0).all()
    found = continuity.jump_statistics(jumps)
    assert found["least"] == 0 and sound["least"] > 0.5
    assert found["most"] > 1.5 * sound["most"]
    # At the end of a volume as well.
    hu[0], body[0] = hu[1], body[1]
    assert continuity.jump_statistics(continuity.slice_jumps(hu, body))["least"] == 0


def test_a_slice_that_flickers_stands_out():
    hu, body = bodies()
    sound = continuity.jump_statistics(continuity.slice_jumps(hu, body))
    hu[9][body[9]] += 60
    found = continuity.jump_statistics(continuity.slice_jumps(hu, body))
    assert found["most"] > 1.3 * sound["most"]
    assert found["median"] == pytest.approx(sound["median"], rel=0.1)


def test_volumes_with_nothing_to_compare_have_no_number():
    hu, body = bodies(3)
    assert continuity.slice_jumps(hu[:1], body[:1]).shape == (0,)
    body[:2] = False
    jumps = continuity.slice_jumps(hu, body)
    assert np.isnan(jumps[0]) and np.isfinite(jumps[1])
    assert all(np.isnan(v) for v in continuity.jump_statistics(jumps).values())
    with pytest.raises(ValueError, match=r"\(3, 24, 28\) and the body \(2, 24, 28\)"):
        continuity.slice_jumps(hu, body[1:])

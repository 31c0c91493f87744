import numpy as np
import pytest

from input_pipeline import intensity
from synthct_jax.configs import default

KNOTS = default.get_config().data.ct_knots


def test_hu_survive_the_round_trip():
    hu = np.linspace(KNOTS[0][0], KNOTS[-1][0], 10_001).astype(np.float32)
    unit = intensity.hu_to_unit(hu, KNOTS)
    assert unit.dtype == np.float32 and unit.min() == -1 and unit.max() == 1
    back = intensity.unit_to_hu(unit, KNOTS)
    assert back.dtype == np.float32
    assert np.abs(back - hu).max() < 1e-3


def test_hu_beyond_the_knots_are_clipped():
    assert intensity.hu_to_unit(np.array([-3024, 4000]), KNOTS).tolist() == [-1, 1]


def test_two_knots_give_a_linear_window():
    window = ((-200.0, -1.0), (200.0, 1.0))
    np.testing.assert_allclose(
        intensity.hu_to_unit(np.array([-100.0, 0.0, 100.0]), window), [-0.5, 0, 0.5]
    )


@pytest.mark.parametrize(
    ("knots", "reason"),
    [
        (((0.0, -1.0),), "two or more"),
        (((0.0, -1.0), (0.0, 1.0)), "increase"),
        (((0.0, -1.0), (10.0, 0.5), (20.0, 0.5), (30.0, 1.0)), "increase"),
        (((0.0, 0.0), (10.0, 1.0)), "expected -1 to 1"),
    ],
)
def test_knots_without_an_inverse_are_refused(knots, reason):
    with pytest.raises(ValueError, match=f"data.ct_knots .*{reason}"):
        intensity.hu_to_unit(np.zeros(3), knots)


def test_int16_hu_are_rounded_and_clipped_at_air():
    stored = intensity.hu_to_int16(np.array([-3024.0, -1000.4, 39.6, 3071.0]))
    assert stored.dtype == np.int16
    assert stored.tolist() == [-1024, -1000, 40, 3071]


def test_phases_share_one_scale_and_t2_has_its_own():
    rng = np.random.default_rng(0)
    voxels = rng.uniform(0, 1, (4, 8, 8, 3)) * [100.0, 60.0, 900.0]
    mask = np.ones((4, 8, 8), bool)
    names = ("out_of_phase", "in_phase", "t2")
    scale = intensity.mr_scale(
        voxels[..., [1, 0, 2]], mask, channels=names, percentile=99.5
    )
    assert scale[0] == scale[1] == pytest.approx(99.5, abs=1.5)
    assert scale[2] == pytest.approx(895, abs=10)
    alone = intensity.mr_scale(
        voxels[..., 1:2], mask, channels=("out_of_phase",), percentile=99.5
    )
    assert alone[0] == pytest.approx(59.7, abs=1)


def test_mr_scale_is_a_percentile_of_the_body():
    voxels = np.full((1, 4, 4, 1), 5000.0)
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 1:3, 1:3] = True
    voxels[mask] = 10
    scale = intensity.mr_scale(voxels, mask, channels=("t2",), percentile=99.5)
    assert scale.tolist() == [10]
    with pytest.raises(ValueError, match="no body"):
        intensity.mr_scale(voxels, mask & False, channels=("t2",), percentile=99.5)
    with pytest.raises(ValueError, match="t2 in the body is 0"):
        intensity.mr_scale(voxels * 0, mask, channels=("t2",), percentile=99.5)


def test_mr_survives_int16_and_saturates_above_its_scale():
    scale = np.array([200.0], np.float32)
    voxels = np.array([[-5.0], [0.0], [50.0], [200.0], [390.0], [9000.0]])
    stored = intensity.mr_to_int16(voxels, scale)
    assert stored.dtype == np.int16
    np.testing.assert_allclose(
        stored[:5, 0] / intensity.MR_ONE * 200, [0, 0, 50, 200, 390], atol=0.01
    )
    unit = intensity.mr_to_unit(stored)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit[:, 0], [-1, -1, -0.5, 1, 1, 1], atol=1e-4)
    spread = intensity.mr_to_unit(stored, 0.5)
    np.testing.assert_allclose(spread[:, 0], [-1, -1, 0, 1, 1, 1], atol=1e-4)

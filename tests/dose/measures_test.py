"""Volume histograms, gamma and ranges of doses that can be computed by hand."""

import math

import numpy as np
import pytest

from synthct_jax.dose import measures

SPACING_MM = (6.0, 4.0, 4.0)


def test_statistics_of_a_ramp_are_its_quantiles():
    dose = np.linspace(0, 100, 10_001).reshape(1, 1, -1)
    everywhere = np.ones(dose.shape, bool)
    expected = {"mean": 50, "d2": 98, "d50": 50, "d98": 2}
    assert measures.statistics(dose, everywhere) == pytest.approx(expected)
    levels = np.array([0.0, 25.0, 100.0, 101.0])
    volumes = measures.volume_histogram(dose, everywhere, levels)
    np.testing.assert_allclose(volumes, [100, 75, 0.01, 0], atol=0.02)


def test_an_empty_structure_has_no_dose():
    dose = np.ones((2, 2, 2))
    values = measures.statistics(dose, dose < 0).values()
    assert all(math.isnan(value) for value in values)


@pytest.mark.parametrize(("percent", "passing"), [(1.4, 0.0), (1.6, 100.0)])
def test_gamma_in_an_even_field_is_the_difference_of_dose(percent, passing):
    reference = np.full((5, 8, 8), 80.0)
    rate = measures.gamma_pass_rate(
        reference, reference + 1.5, SPACING_MM, percent=percent, distance_mm=2.0
    )
    assert rate == passing


@pytest.mark.parametrize(("gamma", "passing"), [(0.97, 100.0), (1.03, 0.0)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gamma_on_a_slope_weighs_dose_and_distance(gamma, passing, axis):
    """Moved by s mm on a slope of g %/mm, gamma is g s / sqrt(D^2 + g^2 d^2)."""
    slope, percent, distance_mm = 1.5, 3.0, 2.0
    shift_mm = gamma * math.hypot(percent, slope * distance_mm) / slope
    position_mm = np.arange(12) * SPACING_MM[axis]
    shape = [1, 1, 1]
    shape[axis] = -1
    reference, moved = (
        np.ones((12, 12, 12)) * (20 + slope * (position_mm - mm)).reshape(shape)
        for mm in (0.0, shift_mm)
    )
    inner = np.zeros_like(reference)  # the ends have no dose beyond them
    inner[2:-2, 2:-2, 2:-2] = reference[2:-2, 2:-2, 2:-2]
    rate = measures.gamma_pass_rate(
        inner, moved, SPACING_MM, percent=percent, distance_mm=distance_mm
    )
    assert rate == passing


def test_gamma_leaves_out_what_receives_little():
    reference = np.zeros((4, 4, 4))
    criterion = {"percent": 1.0, "distance_mm": 1.0}
    other = reference + 5
    assert math.isnan(
        measures.gamma_pass_rate(reference, other, SPACING_MM, **criterion)
    )
    reference[0] = other[0] = 50
    assert measures.gamma_pass_rate(reference, other, SPACING_MM, **criterion) == 100


def test_dose_that_is_not_known_does_not_pass():
    reference = np.full((3, 4, 4), 50.0)
    rate = measures.gamma_pass_rate(
        reference, np.nan * reference, SPACING_MM, percent=1.0, distance_mm=1.0
    )
    assert rate == 0


def field(range_mm: float, gantry: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the dose of a field that enters a cube of 160 mm, and the cube.

    The dose is 100 % up to 10 mm before the range, and falls to 80 % at the range and
    to nothing 40 mm beyond it.
    """
    z, y, x = np.meshgrid(*(np.arange(50) * 4.0 - 98.0,) * 3, indexing="ij")
    body = np.maximum.reduce([abs(z), abs(y), abs(x)]) < 80
    depth = {0: y, 90: -x, 180: -y, 270: x}[gantry] + 80
    dose = np.interp(depth, [range_mm - 10, range_mm, range_mm + 40], [100, 80, 0])
    return np.where(body, dose, 0), body


@pytest.mark.parametrize("gantry", [0, 90, 180, 270])
def test_the_range_is_the_depth_of_the_distal_level(gantry):
    dose, body = field(90.0, gantry)
    ranges = measures.field_ranges_mm(
        dose,
        body,
        (4.0, 4.0, 4.0),
        isocentre=np.full(3, 24.5),
        gantry_degrees=gantry,
    )
    assert len(ranges) == 13
    np.testing.assert_allclose(ranges, 90.0, atol=1.0)
    deeper, _ = field(96.0, gantry)
    moved = measures.field_ranges_mm(
        deeper, body, (4.0, 4.0, 4.0), isocentre=np.full(3, 24.5), gantry_degrees=gantry
    )
    np.testing.assert_allclose(moved - ranges, 6.0, atol=0.3)


def test_a_line_without_dose_has_no_range():
    dose, body = field(90.0, 0)
    for nothing in (0 * dose, np.nan * dose):
        ranges = measures.field_ranges_mm(
            nothing, body, (4.0,) * 3, isocentre=np.full(3, 24.5), gantry_degrees=0
        )
        assert np.isnan(ranges).all()

"""Panels of a slice: what stands where, in which unit, and what is out of range."""

import matplotlib.colors
import numpy as np
import pytest

from synthct_jax.evaluation.report import slice_figure
from synthct_jax.evaluation.report.example_slices import Slice

SIDE = 16


@pytest.fixture
def draw(monkeypatch):
    """Return the figure of a slice in place of its PNG."""
    monkeypatch.setattr(slice_figure, "png", lambda figure: figure)

    def drawn(*, paired=True, cycled=True, error_hu=0.0, residual=(0.0, 0.1, 0.2)):
        shape = SIDE, SIDE
        mr = np.zeros((*shape, 3), np.float32)
        ct = np.zeros(shape, np.float32)
        return slice_figure.slice_figure(
            Slice(
                rank="Best",
                subject="person",
                index=0,
                slices=1,
                mr=mr,
                channels=("in_phase", "out_of_phase", "t2"),
                synthetic=ct + error_hu,
                score=0.0,
                cycled=mr + np.float32(residual) if cycled else None,
                reference_ct=ct if paired else None,
                other=None if paired else ct,
                other_subject="" if paired else "somebody",
            )
        )

    return drawn


def panels(figure):
    return {axis.get_title(): axis for axis in figure.axes if axis.get_title()}


def colour_bars(figure):
    """Return the tick labels of each colour bar."""
    return [
        [label.get_text() for label in axis.get_xticklabels()]
        for axis in figure.axes
        if not axis.get_title()
    ]


def test_each_cycle_residual_is_below_its_own_channel(draw):
    shown = panels(draw())
    for channel, residual in (("in phase", 0), ("out of phase", 5), ("t2", 10)):
        above = shown[f"MR {channel}"].get_position()
        panel = shown[f"cycle residual {channel}"]
        assert panel.get_position().x0 == above.x0
        assert panel.get_position().y1 < above.y0
        # Residuals of 0.1 are 5 % of the range from -1 to 1.
        assert panel.images[0].get_array().mean() == pytest.approx(residual)


def test_each_colour_bar_has_the_unit_of_its_map(draw):
    hu, percent = ["−300 HU", "0", "+300 HU"], ["−30 %", "0", "+30 %"]
    assert sorted(colour_bars(draw())) == sorted([hu] + 3 * [percent])
    assert colour_bars(draw(paired=False)) == 3 * [percent]
    assert colour_bars(draw(cycled=False)) == [hu]


@pytest.mark.parametrize("sign, colour", [(1, "over"), (-1, "under")])
def test_values_beyond_the_colour_bar_have_a_colour_of_their_own(draw, sign, colour):
    def colour_of(error_hu):
        image = panels(draw(error_hu=error_hu))["synthetic − reference CT"].images[0]
        return matplotlib.colors.to_hex(image.to_rgba(image.get_array())[0, 0])

    beyond = getattr(slice_figure.ERROR_COLOURS, f"get_{colour}")()
    assert colour_of(sign * 301) == matplotlib.colors.to_hex(beyond)
    assert colour_of(sign * 299) != matplotlib.colors.to_hex(beyond)


def test_without_a_reference_ct_another_subjects_ct_is_shown_and_no_error(draw):
    shown = panels(draw(paired=False))
    assert "CT of another subject, bone" in shown
    assert not any("reference CT" in title for title in shown)

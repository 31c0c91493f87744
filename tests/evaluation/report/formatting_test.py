"""Numbers and axes as a reader of the reports sees them."""

import math
from types import SimpleNamespace

import pytest

from synthct_jax.evaluation.report.charts import Scale
from synthct_jax.evaluation.report.formatting import (
    count_noun,
    format_interval,
    format_number,
    list_names,
)
from synthct_jax.evaluation.report.rendering import render_page


@pytest.mark.parametrize(
    "value, digits, text",
    [
        (12.345, 1, "12.3"),
        (-12.345, 1, "−12.3"),
        (0.012345, None, "0.0123"),
        (0.00001, None, "< 0.001"),
        (-0.00001, None, "−0.000"),
        (None, 1, "–"),
        (math.nan, None, "–"),
        (-math.inf, 2, "−∞"),
    ],
)
def test_numbers_have_their_digits_and_undefined_ones_a_dash(value, digits, text):
    assert format_number(value, digits) == text


def test_an_interval_without_ends_is_empty():
    assert format_interval(SimpleNamespace(low=-1.0, high=2.5), 1) == "−1.0 to 2.5"
    assert format_interval(SimpleNamespace(low=None, high=None), 1) == ""


def test_nouns_are_counted_and_long_lists_are_cut():
    assert (count_noun(1, "slice"), count_noun(2, "slice")) == ("1 slice", "2 slices")
    assert list_names("abcd", at_most=3) == "a, b, c and 1 more"


def test_axes_have_round_ticks_within_their_values():
    assert Scale([0, 97], 0, 100).ticks(5) == [0, 20, 40, 60, 80]
    assert Scale([0.02, 300], 0, 100, logarithmic=True).ticks(5) == [0.1, 1, 10, 100]
    scale = Scale([10, 20], 50, 150)
    assert (scale(10), scale(15), scale(20)) == (50, 100, 150)
    assert Scale([3, 3, None, math.nan], 0, 100)(3) == 50
    # All the same, and no more is possible.
    assert max(Scale([1, 1], 0, 100, limits=(0, 1)).ticks(5)) == 1


def test_values_cannot_inject_html():
    page = render_page(
        "base.html", title="<script>", subtitle="a & b", notes=["<img src=x>"]
    )
    assert "<script>" not in page and "<img" not in page
    assert "a &amp; b" in page

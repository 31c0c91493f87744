"""The rule that refuses an adapted model, and the counts of quality sheets."""

import pytest

from synthct_jax.adaptation.report import (
    BODY_MAE,
    DISTANCE,
    PASSES,
    count_lights,
    join,
    to_markdown,
    worse,
)


def rows(**changes):
    values = {"mae": (30.0, 32.9), "distance": (7.1, 7.0), "passes": (3, 3)} | changes
    keys = {"mae": BODY_MAE, "distance": DISTANCE, "passes": PASSES}
    return {
        keys[name]: {"title": name, "unit": "", "before": before, "after": after}
        for name, (before, after) in values.items()
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"mae": (30.0, 33.6)},
            "rose by 12% from 30.0 to 33.6 HU, expected 10% at",
        ),
        ({"distance": (7.1, 7.1)}, "CT is 7.1, expected less than the 7.1 of before"),
        (
            {"passes": (3, 2)},
            "2 of the site's MR pass the quality sheet, expected the",
        ),
    ],
)
def test_worse_model_is_refused_with_the_reason(changes, reason):
    assert worse(rows()) == []
    (sentence,) = worse(rows(**changes))
    assert reason in sentence


def test_model_without_limits_has_no_passes_to_lose():
    assert worse(rows(passes=(None, 0))) == []


def sheet(outcome, verdict):
    feature = {"name": "fat_peak_hu", "meaning": "peak of fat", "verdict": verdict}
    other = {"name": "rim_hu", "meaning": "rim", "verdict": "pass"}
    return {"outcome": outcome, "features": [feature, other]}


def test_table_counts_lights_and_the_features_that_are_unusual_somewhere():
    before = count_lights([sheet("pass", "pass"), sheet("warn", "warn")])
    after = count_lights([sheet("pass", "pass"), sheet("pass", "pass")])
    lines = to_markdown(join(before, after)).splitlines()[2:]
    assert lines == [
        "| quality sheet of 2 MR: pass | 1 | 2 |",
        "| quality sheet of 2 MR: look closely | 1 | 0 |",
        "| quality sheet of 2 MR: refused | 0 | 0 |",
        "| quality sheet of 2 MR: unusual, peak of fat | 1 | 0 |",
    ]
    unknown = count_lights([sheet("not calibrated", "not judged")] * 2)
    assert "pass | – | 2 |" in to_markdown(join(unknown, after))

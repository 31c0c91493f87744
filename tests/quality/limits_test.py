"""Limits of features, outcomes, and the prediction of an error."""

import numpy as np
import pytest

from synthct_jax.quality import judgement
from synthct_jax.quality.features import INPUT, OUTPUT, Feature
from synthct_jax.quality.limits import fit_limits, read_limits
from synthct_jax.quality.predicted_error import fit_error, predict_error

TABLE = {
    "noise": Feature(meaning="noise of in_phase", unit="%", stage=INPUT),
    "peak": Feature(meaning="peak of fat", unit="HU", stage=OUTPUT),
    "slices": Feature(meaning="number of slices", unit="", stage=INPUT),
}


def people(count=40, seed=0):
    rng = np.random.default_rng(seed)
    return [
        {"noise": rng.lognormal(0, 0.4), "peak": rng.normal(-100, 5), "slices": 24.0}
        for _ in range(count)
    ]


def test_limits_hold_most_healthy_people_and_no_far_ones():
    quality = fit_limits(people(), TABLE)
    assert quality["alarms"] <= 0.05
    assert quality["limits"].keys() == {"noise", "peak"}  # slices are all the same
    limits = read_limits(quality)
    warn, refuse = limits["noise"].warn, limits["noise"].refuse
    assert refuse[0] < warn[0] < 1 < warn[1] < refuse[1]
    assert limits["peak"].refuse is None
    others = [
        judgement.outcome_of(judgement.judge(values, TABLE, limits))
        for values in people(400, seed=1)
    ]
    assert others.count(judgement.PASS) > 0.85 * 400
    assert judgement.REFUSE not in others


def test_one_far_volume_does_not_hide_behind_itself():
    """It widens its own range, but is judged by the range of the others."""
    volumes = people(20)
    volumes[3]["peak"] = 200.0
    quality = fit_limits(volumes, TABLE)
    assert quality["factors"]["warn"] < 5 and quality["alarms"] == 0.05


def test_few_volumes_give_no_limits():
    with pytest.raises(ValueError, match="10 volumes or more, there are 9"):
        fit_limits(people(9), TABLE)


@pytest.fixture
def limits():
    return read_limits(
        {
            "limits": {
                "noise": {"warn": [0.5, 2.0], "refuse": [0.1, 5.0]},
                "peak": {"warn": [-110.0, -90.0]},
            }
        }
    )


@pytest.mark.parametrize(
    ("values", "outcome", "words"),
    [
        ({"noise": 1.0, "peak": -100.0}, "pass", "All 2 features"),
        ({"noise": 3.0}, "warn", "MR and CT: 1 of 1 features are unusual (noise of"),
        ({"noise": 1.0, "peak": 0.0}, "warn", "at the CT: 1 of 2"),
        ({"noise": 9.0, "peak": 0.0}, "refuse", "written by --force: 2 of 2"),
        ({"slices": 3.0}, "not calibrated", "nothing was judged"),
    ],
)
def test_outcome_is_the_worst_verdict(values, outcome, words, limits):
    findings = judgement.judge(values, TABLE, limits)
    assert judgement.outcome_of(findings) == outcome
    assert words in judgement.sentence_of(findings)
    assert (judgement.refusal(findings, "m") is None) == (outcome != "refuse")


def test_refusal_names_feature_value_and_limit(limits):
    text = judgement.refusal(judgement.judge({"noise": 9.0}, TABLE, limits), "tiny")
    assert (
        "tiny was calibrated on: noise of in_phase is 9 %, expected 0.1 to 5 %" in text
    )
    assert "--force" in text


def test_error_is_predicted_where_a_feature_tells_it():
    rng = np.random.default_rng(0)
    volumes = people(40)
    told = [30 * v["noise"] ** 0.5 * rng.lognormal(0, 0.02) for v in volumes]
    fit = fit_error([{**v, "log": np.log(v["noise"])} for v in volumes], told)
    assert fit["feature"] == "log" and fit["error"] < 0.1 * fit["error_of_mean"] + 0.02
    mae = predict_error({"body_mae": fit}, {"log": np.log(4.0)})
    assert mae["value"] == pytest.approx(60, rel=0.05)
    assert mae["low"] < mae["value"] < mae["high"]
    assert predict_error({"body_mae": fit}, {}) is None


def test_error_that_no_feature_tells_is_the_population_s():
    rng = np.random.default_rng(1)
    fit = fit_error(people(40), rng.lognormal(np.log(40), 0.2, 40))
    assert fit["feature"] is None and fit["error"] >= fit["error_of_mean"]
    mae = predict_error({"body_mae": fit}, {})
    assert mae["value"] == pytest.approx(40, rel=0.1)
    assert mae["low"] == pytest.approx(40 * np.exp(-0.33), rel=0.15)
    assert fit_error(people(9), [1.0] * 9) is None and predict_error({}, {}) is None

"""Limits of features, outcomes, and the prediction of an error."""

import dataclasses

import numpy as np
import pytest

from synthct_jax.checkpoint.model_file import find_model, read_card
from synthct_jax.quality import judgement
from synthct_jax.quality.features import (
    AMOUNT,
    CHOSEN,
    CORRELATION,
    EXCESS,
    INPUT,
    LINEAR,
    LOG,
    OUTPUT,
    RARE,
    SHARE,
    Feature,
    features_of,
)
from synthct_jax.quality.limits import fit_limits, read_limits
from synthct_jax.quality.predicted_error import fit_error, predict_error

TABLE = {
    "noise": Feature(meaning="noise of in_phase", unit="%", spread=LOG, stage=INPUT),
    "empty": Feature(meaning="empty slices", unit="%", spread=SHARE, stage=INPUT),
    "slices": Feature(meaning="slices", unit="", spread=CHOSEN, stage=INPUT),
    "peak": Feature(meaning="peak of fat", unit="HU", spread=LINEAR, stage=OUTPUT),
}


def people(count=40, seed=0):
    rng = np.random.default_rng(seed)
    return [
        {
            "noise": rng.lognormal(0, 0.4),
            "empty": 100 / (1 + np.exp(-rng.normal(-3, 0.5))),
            "peak": rng.normal(-100, 5),
            "slices": 24.0 + rng.integers(10),
        }
        for _ in range(count)
    ]


def test_limits_hold_most_healthy_people_and_no_far_ones():
    quality = fit_limits(people(), TABLE)
    assert quality["alarms"] <= 0.05
    assert quality["limits"].keys() == TABLE.keys() - {"slices"}
    limits = read_limits(quality, TABLE)
    for name in ("noise", "empty"):
        warn, refuse = limits[name].warn, limits[name].refuse
        assert 0 <= refuse[0] < warn[0] < warn[1] < refuse[1] <= 100
    assert limits["peak"].refuse is None
    others = [
        judgement.outcome_of(judgement.judge(values, TABLE, limits))
        for values in people(400, seed=1)
    ]
    assert others.count(judgement.PASS) > 0.85 * 400
    assert others.count(judgement.REFUSE) < 0.02 * 400


def test_limits_lie_beyond_the_range_on_the_scale_of_the_feature():
    volumes = [{"noise": n} for n in (1, 2, 2, 2, 4, 4, 4, 8, 8, 64)]
    quality = fit_limits(volumes, {"noise": TABLE["noise"]})
    low, high = np.log2(quality["limits"]["noise"]["warn"])
    deviation = np.std([0, 1, 1, 1, 2, 2, 2, 3, 3, 6], ddof=1)
    number = quality["deviations"]["warn"]
    assert low == pytest.approx(-number * deviation, abs=0.02)
    assert high == pytest.approx(6 + number * deviation, abs=0.02)
    others = np.std([0, 1, 1, 1, 2, 2, 2, 3, 3], ddof=1)
    assert number == pytest.approx(3 / others, abs=0.01)  # that of 64, left out


def test_rare_fault_that_nobody_has_gets_room_and_a_limit():
    volumes = [{**values, "empty": 0.0} for values in people()]
    table = {
        **TABLE,
        "empty": Feature(meaning="empty", unit="%", spread=RARE, stage=INPUT),
    }
    warn, refuse = fit_limits(volumes, table)["limits"]["empty"].values()
    assert warn[0] == refuse[0] == 0 and 0 < warn[1] < refuse[1] < 60


def test_limits_of_a_correlation_are_correlations():
    table = {"r": Feature(meaning="", unit="", spread=CORRELATION, stage=INPUT)}
    volumes = [{"r": value} for value in (-0.9, *np.linspace(0.8, 0.9, 20), 0.99)]
    warn, refuse = fit_limits(volumes, table)["limits"]["r"].values()
    assert warn[1] == refuse[1] == 1
    assert refuse[0] == -1


def test_limits_end_where_the_feature_does():
    table = {"b": dataclasses.replace(TABLE["peak"], domain=(250.0, 300.0))}
    volumes = [{"b": value} for value in np.linspace(251, 299, 20)]
    quality = fit_limits(volumes, table)
    assert quality["limits"]["b"]["warn"] == [250, 300]
    earlier = {"limits": {"b": {"warn": [240, 400]}, "gone": {"warn": [0, 1]}}}
    limits = read_limits(earlier, table)
    assert limits.keys() == {"b"} and limits["b"].warn == (250, 300)


@pytest.mark.parametrize("name", ["in_out_noncontrast", "in_noncontrast"])
def test_limits_of_shipped_cards_lie_in_the_domains(name):
    card = read_card(find_model(name))
    table = features_of(card["inputs"])
    limits = read_limits(card["quality"], table)
    assert limits
    for name, stored in card["quality"]["limits"].items():
        least, greatest = table[name].domain
        assert stored["warn"][0] < greatest and stored["warn"][1] > least
        low, high = limits[name].warn
        assert least <= low < high <= greatest


def test_too_little_of_an_amount_is_no_fault():
    table = {"a": Feature(meaning="", unit="", spread=AMOUNT, stage=INPUT)}
    volumes = [{"a": value} for value in np.linspace(30, 40, 20)]
    for low, high in fit_limits(volumes, table)["limits"]["a"].values():
        assert low == 0 and 40 <= high < 60


def test_fault_that_many_people_have_is_a_warning_all_the_same():
    table = {"noise": dataclasses.replace(TABLE["noise"], largest_usual=2.0)}
    volumes = people()
    quality = fit_limits(volumes, table)
    limits = quality["limits"]["noise"]
    assert limits["warn"][1] == 2.0 < limits["refuse"][1]
    shares = np.mean([v["noise"] > 2.0 for v in volumes])
    assert shares <= quality["alarms"] <= shares + 0.05


def test_too_little_of_a_disturbance_is_no_fault():
    table = {"noise": dataclasses.replace(TABLE["noise"], spread=EXCESS)}
    quality = fit_limits(people(), table)
    (finding,) = judgement.judge({"noise": 0.0}, table, read_limits(quality, table))
    assert finding.verdict == judgement.PASS and finding.limits.refuse[0] == 0


def test_one_far_volume_does_not_hide_behind_itself():
    """It widens its own limits, but is judged by those of the others."""
    volumes = people()
    volumes[3]["peak"] = 0.0
    quality = fit_limits(volumes, TABLE)
    assert quality["deviations"]["warn"] < 4 and quality["alarms"] == 0.05


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
        },
        TABLE,
    )


@pytest.mark.parametrize(
    ("values", "outcome", "words"),
    [
        ({"noise": 1.0, "peak": -100.0}, "pass", "All 2 features"),
        ({"noise": 3.0}, "warn", "MR and CT: 1 of 1 features are unusual (noise of"),
        ({"noise": 1.0, "peak": 0.0}, "warn", "at the CT: 1 of 2"),
        ({"noise": 9.0, "peak": 0.0}, "refuse", "written by --force: 2 of 2"),
        ({"noise": 1.0, "peak": np.nan}, "warn", "at the CT: 1 of 2"),
        ({"slices": 3.0}, "not calibrated", "nothing was judged"),
        ({"slices": np.nan}, "not calibrated", "nothing was judged"),
    ],
)
def test_outcome_is_the_worst_verdict(values, outcome, words, limits):
    findings = judgement.judge(values, TABLE, limits)
    assert judgement.outcome_of(findings) == outcome
    assert words in judgement.sentence_of(findings)
    assert (judgement.refusal(findings, "m") is None) == (outcome != "refuse")


def test_feature_that_cannot_be_measured_is_named_and_has_no_value(limits):
    (finding,) = judgement.judge({"peak": np.nan}, TABLE, limits)
    assert finding.describe() == "peak of fat cannot be measured"
    assert finding.to_json()["value"] is None
    table = {"peak": dataclasses.replace(TABLE["peak"], undefined="the CT has no fat")}
    for of_table, verdict in ((limits, "warn"), ({}, "not judged")):
        (finding,) = judgement.judge({"peak": np.nan}, table, of_table)
        assert finding.describe() == "peak of fat cannot be measured: the CT has no fat"
        assert finding.to_json()["reason"] == "the CT has no fat"
        assert finding.verdict == verdict


def test_refusal_names_feature_value_and_limit(limits):
    text = judgement.refusal(judgement.judge({"noise": 9.0}, TABLE, limits), "tiny")
    assert (
        "tiny was calibrated on: noise of in_phase is 9 %, expected 0.1 to 5 %" in text
    )
    assert "--force" in text
    table = {"cancelled": TABLE["noise"]}
    quality = {"limits": {"cancelled": {"warn": [2, 3], "refuse": [1, 4]}}}
    far = read_limits(quality, table)
    text = judgement.refusal(judgement.judge({"cancelled": -9.0}, table, far), "tiny")
    assert "expected 1 to 4 % (have the phases been exchanged?). --force writes" in text


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

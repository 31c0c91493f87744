"""The size of a study has the power that it promises."""

import numpy as np
import pytest
from simulated_readers import right_answers

from synthct_jax.reader_study import multireader, sample_size


def test_size_has_the_promised_power():
    margin, readers, spread = 0.1, 8, {"reader_sd": 0.04, "case_sd": 0.1}
    cases = sample_size.cases_needed(readers, margin=margin, **spread)
    rng = np.random.default_rng(0)
    claims = []
    for _ in range(500):
        right = right_answers(0.5, readers=readers, cases=cases, **spread, rng=rng)
        result = multireader.estimate(right)
        claims.append(multireader.equivalence(result, margin).equivalent)
    assert 0.72 < np.mean(claims) < 0.9  # 0.8, standard error 0.018


def test_more_readers_need_fewer_cases_and_a_smaller_margin_more():
    sizes = [sample_size.cases_needed(r, margin=0.1) for r in (5, 8, 12)]
    assert sizes == sorted(sizes, reverse=True)
    assert sample_size.cases_needed(12, margin=0.08) > sizes[-1]
    assert sample_size.cases_needed(3, margin=0.05) is None
    assert "more than 2000" in sample_size.format_plan(margin=0.05)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"margin": 0.5}, "--margin=0.5, expected above 0 and below 0.5"),
        ({"margin": 0.1, "reader_sd": 0.4}, "--reader_sd=0.4, expected 0 to 0.3"),
        ({"margin": 0.1, "case_sd": -1}, "--case_sd=-1, expected 0 to 0.3"),
    ],
)
def test_values_outside_their_domain_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        sample_size.cases_needed(5, **values)

"""Trials are balanced, in another order for each reader, and repeated apart."""

from collections import Counter

import numpy as np
import pytest

from synthct_jax.reader_study.design import choose_scans, make_trials
from synthct_jax.reader_study.settings import ANSWERS, PAIR, SINGLE

PAIRS = [(f"real_{i}", f"synthetic_{i}") for i in range(11)]


def trials_of(reader=1, *, design=SINGLE, repeats=0.2, seed=0):
    rng = np.random.default_rng([seed, reader])
    return make_trials(PAIRS, design=design, repeats=repeats, rng=rng)


def choose(real, synthetic, design):
    return choose_scans(real, synthetic, design=design, rng=np.random.default_rng(0))


@pytest.mark.parametrize("design", ANSWERS)
def test_both_answers_are_right_equally_often_in_each_half(design):
    trials = [trial for trial in trials_of(design=design) if not trial.repeated]
    assert len(trials) == (22 if design == SINGLE else 11)
    assert {name for t in trials for name in t.cases} == {n for p in PAIRS for n in p}
    for part in (trials, trials[: len(trials) // 2], trials[len(trials) // 2 :]):
        counts = Counter(trial.truth for trial in part)
        assert abs(counts[ANSWERS[design][0]] - counts[ANSWERS[design][1]]) <= 2


def test_truth_is_what_is_shown():
    for trial in trials_of():
        assert trial.cases[0].startswith(trial.truth)
    for trial in trials_of(design=PAIR):
        left, right = trial.cases
        assert {"left": left, "right": right}[trial.truth].startswith("synthetic")
        assert left.split("_")[1] == right.split("_")[1]


def test_repetitions_are_balanced_and_come_half_of_the_trials_later():
    trials = trials_of()
    repeated = [trial for trial in trials if trial.repeated]
    assert Counter(trial.truth for trial in repeated) == {"real": 2, "synthetic": 2}
    for trial in repeated:
        first = next(t for t in trials if t.cases == trial.cases)
        assert first.truth == trial.truth and not first.repeated
        assert trials.index(trial) - trials.index(first) >= 10
    assert not any(trial.repeated for trial in trials_of(repeats=0))


def test_readers_have_other_orders_and_names_which_the_seed_decides():
    assert trials_of() == trials_of()
    assert [t.cases for t in trials_of()] != [t.cases for t in trials_of(2)]
    assert [t.cases for t in trials_of()] != [t.cases for t in trials_of(seed=1)]
    names = [trial.name for reader in (1, 2, 3) for trial in trials_of(reader)]
    assert len(set(names)) == len(names)


def test_person_on_both_lists_is_shown_once_in_a_single_image_study():
    real, synthetic = ["a", "b", "c", "d"], ["c", "d", "e"]
    pairs = choose(real, synthetic, SINGLE)
    shown = [name for pair in pairs for name in pair]
    assert len(pairs) == 2 and len(set(shown)) == 4
    assert {name for name, _ in pairs} <= set(real)
    assert {name for _, name in pairs} <= set(synthetic)


def test_pairs_are_of_one_person_where_there_are_such():
    pairs = choose(["a", "b", "c"], ["b", "c", "d"], PAIR)
    assert sorted(pairs) == [("b", "b"), ("c", "c")]
    others = choose(["a", "b"], ["c", "d"], PAIR)
    assert len(others) == 2


def test_too_few_scans_are_refused():
    with pytest.raises(ValueError, match="1 of each kind can be shown, expected 2"):
        choose(["a", "b"], ["c"], SINGLE)

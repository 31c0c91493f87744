"""From a key and answers to the numbers and the page of a study."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import simulated_readers
from ct_pairs import write_pairs
from html_page import HtmlPage
from paths import REPOSITORY

from input_pipeline.digests import with_digest
from synthct_jax.reader_study.analysis import analyse
from synthct_jax.reader_study.answers import read_answers, read_key
from synthct_jax.reader_study.report import render_report
from synthct_jax.reader_study.settings import PAIR, SYNTHETIC


def analysed(key, documents, tmp_path):
    folder = simulated_readers.write(tmp_path / "answers", documents)
    return analyse(key, read_answers([folder], key))


def test_counts_of_park_2021_have_their_published_shares(tmp_path):
    """JMIR Med Inform 2021; 9:e23328: ten readers, 150 real and 150 synthetic images.

    Right were 1,781 of 3,000 answers (59.4 %, p < 0.001): of three groups of readers
    696 of 1,200, 726 of 1,200 and 359 of 600; and 779 of 1,500 of one kind of image
    (51.9 %, p = 0.29). Counts of single readers are not published: here they are equal
    within a group, as far as whole numbers allow.
    """
    right = [174] * 4 + [181, 182, 181, 182] + [179, 180]
    right_synthetic = [78] * 9 + [77]
    key = simulated_readers.make_key(300, 10)
    documents = {}
    for reader, (total, synthetic) in enumerate(
        zip(right, right_synthetic, strict=True), start=1
    ):
        left = {True: synthetic, False: total - synthetic}
        is_right = []
        for trial in key.trials[reader]:
            kind = trial.truth == SYNTHETIC
            is_right.append(left[kind] > 0)
            left[kind] -= 1
        documents[reader] = simulated_readers.answer(key, reader, is_right)
    pooled = analysed(key, documents, tmp_path).pooled
    assert pooled.accuracy.n == 3000
    assert round(pooled.accuracy.value * 3000) == 1781
    assert f"{100 * pooled.accuracy.value:.1f}" == "59.4"
    # Clopper-Pearson, as scipy.stats.binomtest(1781, 3000) has it.
    assert pooled.accuracy.low == pytest.approx(0.5758404676)
    assert pooled.accuracy.high == pytest.approx(0.6113099573)
    assert f"{100 * pooled.sensitivity.value:.1f}" == "51.9"
    assert pooled.sensitivity.low < 0.5 < pooled.sensitivity.high


def synthct(mode: str, *flags: str, **places) -> None:
    """Run a mode in a process of its own."""
    flags += tuple(f"{flag}={place}" for flag, place in places.items())
    command = [sys.executable, "-m", "synthct_jax.main", f"--mode={mode}", "--notune"]
    subprocess.run([*command, *flags], check=True, cwd=REPOSITORY)


def test_five_readers_of_known_skill_from_command_to_report(tmp_path):
    real, synthetic = write_pairs(tmp_path / "scans", 16)
    places = {"--key": tmp_path / "key.json", "--output": tmp_path / "kit"}
    places |= {"--real": real, "--synthetic": synthetic}
    flags = ("--readers=5", "--slices=1", "--seed=0", "--margin=0.05")
    synthct("reader_kit", *flags, **places)
    assert len(list((tmp_path / "kit").iterdir())) == 5
    key = read_key(tmp_path / "key.json")
    skills = [0.6, 0.65, 0.7, 0.75, 0.8]
    documents = simulated_readers.guess(key, skills, seed=1)
    folder = simulated_readers.write(tmp_path / "answers", documents)
    places = {"--key": tmp_path / "key.json", "--output": tmp_path / "report"}
    synthct("reader_study", **places, **{"--answers": folder})
    numbers = json.loads((tmp_path / "report" / "results.json").read_text())
    for skill, reader in zip(skills, numbers["readers"], strict=True):
        assert reader["accuracy"]["low"] <= skill <= reader["accuracy"]["high"]
    overall = numbers["accuracy"]["interval"]
    assert overall["low"] <= np.mean(skills) <= overall["high"]
    text = HtmlPage(tmp_path / "report" / "report.html")
    assert "5 points: 45 to 55 %" in text.visible
    assert "Readers tell synthetic from real" in text.visible
    rows = {row[0]: row for row in text.rows}
    for number, reader in enumerate(numbers["readers"], start=1):
        assert rows[f"Reader {number}"][1].startswith(
            f"{100 * reader['accuracy']['value']:.1f}"
        )
    assert not [link for link in text.links + text.sources if link.startswith("http")]
    for path in [*(tmp_path / "kit").iterdir(), *(tmp_path / "report").iterdir()]:
        content = path.read_text()
        assert not [s for s in key.cases.values() if Path(s).name in content], path


def test_readers_who_guess_are_equivalent_to_guessing(tmp_path):
    key = simulated_readers.make_key(200, 10, margin=0.1)
    documents = simulated_readers.guess(key, [0.5] * 10, seed=0)
    analysis = analysed(key, documents, tmp_path)
    assert analysis.equivalence.equivalent
    assert abs(analysis.kappa.value) < 0.1
    assert (
        "Equivalent to guessing: the accuracy is within 40 to 60 %"
        in HtmlPage(render_report(analysis)).visible
    )


def test_equivalence_does_not_hide_an_accuracy_above_50_percent(tmp_path):
    key = simulated_readers.make_key(400, 10, margin=0.15)
    documents = simulated_readers.guess(key, [0.56] * 10, seed=0)
    analysis = analysed(key, documents, tmp_path)
    assert (
        "Equivalent to guessing: the accuracy is within 35 to 65 %, though above 50 %"
        in HtmlPage(render_report(analysis)).visible
    )


def test_few_readers_who_guess_prove_nothing(tmp_path):
    key = simulated_readers.make_key(20, 2)
    documents = simulated_readers.guess(key, [0.5] * 2, seed=1)
    analysis = analysed(key, documents, tmp_path)
    assert not analysis.equivalence.equivalent
    assert "Undecided" in HtmlPage(render_report(analysis)).visible


def test_readers_who_are_all_right_leave_the_accuracy_without_an_interval(tmp_path):
    key = simulated_readers.make_key(20, 2)
    documents = simulated_readers.guess(key, [1.0] * 2, seed=0)
    analysis = analysed(key, documents, tmp_path)
    page = HtmlPage(render_report(analysis))
    assert "All readers were right equally often, in 100.0 %" in page.visible


def test_one_reader_gets_intervals_of_cases_alone(tmp_path):
    key = simulated_readers.make_key(40, 1)
    documents = simulated_readers.guess(key, [0.7], seed=0)
    analysis = analysed(key, documents, tmp_path)
    assert analysis.accuracy is None and analysis.kappa is None
    assert "One reader" in HtmlPage(render_report(analysis)).visible
    area = analysis.readers[0].area
    assert area.low < area.value < area.high


def test_pairs_have_accuracy_alone(tmp_path):
    key = simulated_readers.make_key(60, 4, design=PAIR, repeats=0.2)
    documents = simulated_readers.guess(key, [0.7] * 4, seed=0)
    analysis = analysed(key, documents, tmp_path)
    assert analysis.pooled.sensitivity is None and analysis.area is None
    assert analysis.accuracy.interval.low < 0.7 < analysis.accuracy.interval.high
    assert analysis.pooled.accuracy.n == 240
    assert all(count.case.startswith(SYNTHETIC) for count in analysis.cases)
    assert len(analysis.cases) == 60
    page = HtmlPage(render_report(analysis))
    assert "A pair counts under its synthetic case" in page.folded


def test_repeated_trials_tell_how_often_readers_agree_with_themselves(tmp_path):
    key = simulated_readers.make_key(40, 2, repeats=0.2)
    trials = key.trials[1]
    always = simulated_readers.answer(key, 1, [True] * len(trials))
    turned = simulated_readers.answer(
        key, 2, [not trial.repeated for trial in key.trials[2]]
    )
    analysis = analysed(key, {1: always, 2: turned}, tmp_path)
    assert [r.repeatability.value for r in analysis.readers] == [1, 0]
    assert [r.repeatability.n for r in analysis.readers] == [8, 8]
    # Repetitions are no further answers about a case.
    assert [r.accuracy.value for r in analysis.readers] == [1, 1]
    assert [r.accuracy.n for r in analysis.readers] == [40, 40]


def test_answers_of_a_reader_who_stopped_count_as_far_as_they_go(tmp_path):
    key = simulated_readers.make_key(40, 3)
    documents = simulated_readers.guess(key, [0.7] * 3, seed=0)
    documents[2]["answers"] = documents[2]["answers"][:25]
    analysis = analysed(key, documents, tmp_path)
    assert analysis.unanswered == {1: 0, 2: 15, 3: 0}
    assert analysis.pooled.accuracy.n == 105
    assert analysis.kappa.n == 25 and analysis.readers[1].area is None
    page = HtmlPage(render_report(analysis))
    assert "Reader 2 left 15 trials unanswered" in page.visible


def test_reader_without_answers_to_a_kind_is_named(tmp_path):
    key = simulated_readers.make_key(20, 3)
    documents = simulated_readers.guess(key, [0.7] * 3, seed=0)
    trials = {trial.name: trial for trial in key.trials[2]}
    documents[2]["answers"] = [
        answer
        for answer in documents[2]["answers"]
        if trials[answer["trial"]].truth == SYNTHETIC
    ]
    with pytest.raises(ValueError, match="reader 2 has answered 0 real cases"):
        analysed(key, documents, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kit": "other"}, "kit is 'other', expected 'made-up'"),
        ({"reader": 7}, "reader is 7, expected one of 1, 2"),
        ({"reader": []}, r"reader is \[\], expected one of 1, 2"),
        ({"reader": True}, "reader is True, expected one of 1, 2"),
        ({"answers": [{"trial": "x"}]}, "trial is 'x', expected one of the reader's"),
        ({"answers": []}, "reader 1 has answered nothing"),
        ({"answers": [None]}, "an answer is None, expected an object"),
        ({"answers": None}, "has no list of answers"),
    ],
)
def test_files_that_do_not_belong_to_the_key_are_named(tmp_path, change, message):
    key = simulated_readers.make_key(8, 2)
    documents = simulated_readers.guess(key, [0.5] * 2, seed=0)
    documents[1] |= change
    with pytest.raises(ValueError, match=message):
        analysed(key, documents, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confidence": 6}, "confidence is 6, expected one of 1, 2, 3, 4, 5"),
        ({"confidence": True}, "confidence is True, expected one of 1, 2, 3, 4, 5"),
        ({"answer": "left"}, "answer is 'left', expected one of real, synthetic"),
        ({"trial": []}, r"trial is \[\], expected one of the reader's trials"),
        ({"seconds": "4"}, "seconds are '4', expected a number from 0"),
        ({"seconds": float("nan")}, "seconds are nan, expected a number from 0"),
        ({"seconds": True}, "seconds are True, expected a number from 0"),
    ],
)
def test_answers_that_a_page_cannot_give_are_named(tmp_path, change, message):
    key = simulated_readers.make_key(8, 1)
    documents = simulated_readers.guess(key, [0.5], seed=0)
    documents[1]["answers"][3] |= change
    with pytest.raises(ValueError, match=message):
        analysed(key, documents, tmp_path)


def test_two_files_of_one_reader_or_two_answers_are_refused(tmp_path):
    key = simulated_readers.make_key(8, 1)
    (document,) = simulated_readers.guess(key, [0.5], seed=0).values()
    folder = simulated_readers.write(tmp_path / "a", {1: document, 2: document})
    with pytest.raises(ValueError, match="both of reader 1: keep the last"):
        read_answers([folder], key)
    document["answers"].append(document["answers"][0])
    folder = simulated_readers.write(tmp_path / "b", {1: document})
    with pytest.raises(ValueError, match="a trial is answered twice"):
        read_answers([folder], key)


def test_files_that_are_no_key_or_no_answers_are_named(tmp_path):
    path = tmp_path / "key.json"
    path.write_text('{"kit": "x"}')
    with pytest.raises(ValueError, match="key.json: not the key of a kit"):
        read_key(path)
    path.write_text("[]")
    with pytest.raises(ValueError, match="a JSON list, expected an object"):
        read_key(path)
    key = simulated_readers.make_key(8, 1)
    with pytest.raises(ValueError, match="not JSON"):
        path.write_text("{")
        read_answers([path], key)
    with pytest.raises(ValueError, match="no answers in"):
        (tmp_path / "empty").mkdir()
        read_answers([tmp_path / "empty"], key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"margin": 0.5}, "--margin=0.5, expected above 0 and below 0.5"),
        ({"design": "triple"}, "design is 'triple', expected one of single, pair"),
    ],
)
def test_key_outside_its_domain_is_named(tmp_path, change, message):
    document = {"kit": "x", "design": PAIR, "margin": 0.1, "cases": {}, "readers": {}}
    path = tmp_path / "key.json"
    path.write_text(json.dumps(with_digest(document)))
    assert read_key(path).margin == 0.1
    path.write_text(json.dumps(with_digest(document | change)))
    with pytest.raises(ValueError, match=f"key.json: not the key of a kit.*{message}"):
        read_key(path)


def test_edited_or_damaged_key_is_refused(tmp_path):
    document = {"kit": "x", "design": PAIR, "margin": 0.1, "cases": {}, "readers": {}}
    text, path = json.dumps(with_digest(document)), tmp_path / "key.json"
    for damaged in (
        text.replace("0.1", "0.4"),
        text.replace('"readers": {}', '"readers": {"1": [[null]]}'),
        text.replace("digest", "digset"),
    ):
        assert damaged != text
        path.write_text(damaged)
        with pytest.raises(ValueError, match="key.json: not the key of a kit.*digest"):
            read_key(path)

"""A reader's page in a real browser, by keyboard and mouse."""

import json

import numpy as np
import pytest
from browser import open_browser, wait_for
from ct_pairs import write_pairs

from input_pipeline.display import WINDOWS
from synthct_jax.reader_study.analysis import analyse
from synthct_jax.reader_study.answers import read_answers, read_key
from synthct_jax.reader_study.kit import make_kit
from synthct_jax.reader_study.settings import ANSWERS, SINGLE

KEYS = ("ArrowLeft", "ArrowRight")
GREY = (
    "[...document.getElementById('canvas-0').getContext('2d')"
    ".getImageData(0, 0, study.size, study.size).data].filter((_, i) => i % 4 === 0)"
)

# No timer of the page runs meanwhile.
BUSY_SECOND = "(end => { while (performance.now() < end); })(performance.now() + 1000)"


@pytest.mark.slow
@pytest.mark.parametrize("design", ANSWERS)
def test_reader_stops_goes_on_and_saves_answers_that_are_analysed(design, tmp_path):
    real, synthetic = write_pairs(tmp_path / "scans", 4)
    (page,) = make_kit(
        [real], [synthetic], output=tmp_path / "kit", key=tmp_path / "key.json",
        readers=1, design=design, slices=3, repeats=0.5, seed=0,
    )  # fmt: skip
    key = read_key(tmp_path / "key.json")
    trials = key.trials[1]
    downloads = tmp_path / "downloads"

    with open_browser(tmp_path / "profile") as browser:
        browser.open(page)
        browser.press("Enter")
        check_pictures(browser)
        check_what_is_needed_to_go_on(browser)
        for number, trial in enumerate(trials[:3]):
            browser.press(KEYS[ANSWERS[design].index(trial.truth)])
            browser.press(str(number + 2))
            browser.press("Enter")
            assert browser.run("answers.length") == number + 1
        check_another_tab(browser)
        assert browser.errors == []

    with open_browser(tmp_path / "profile") as browser:  # the tab was closed
        browser.save_downloads(downloads)
        browser.open(page, width=390, height=800)
        assert browser.run("document.body.scrollWidth") <= 390
        assert "Go on with 4 of" in browser.run("document.body.innerText")
        size = browser.run("study.size")
        browser.click("#begin")
        browser.run(BUSY_SECOND)
        for trial in trials[3:]:
            side = len(trial.cases) - 1
            browser.click(f"#canvas-{side}", at=(0.25, 0.75))
            browser.click(f"#answers button[value={trial.truth}]")
            browser.click("#confidence button[value='5']")
            browser.click("#next")
        assert "All done" in browser.run("document.body.innerText")
        browser.click("#save")
        wait_for(lambda: list(downloads.glob("*.json")))
        assert browser.errors == []

    (path,) = downloads.iterdir()
    document = json.loads(path.read_text())
    assert document["complete"]
    confidences = [answer["confidence"] for answer in document["answers"]]
    assert confidences == [2, 3, 4] + [5] * (len(trials) - 3)
    assert 1 <= document["answers"][3]["seconds"] < 60
    mark = document["answers"][3]["mark"]
    assert document["kit"] == key.kit
    assert mark["image"] == len(trials[3].cases) - 1 and mark["slice"] == 1
    assert mark["row"] == pytest.approx(0.75 * size, abs=1)
    assert mark["column"] == pytest.approx(0.25 * size, abs=1)
    analysis = analyse(key, read_answers([downloads], key))
    (reader,) = analysis.readers
    assert reader.accuracy.value == reader.repeatability.value == 1
    assert reader.accuracy.n == (8 if design == SINGLE else 4)
    assert reader.marked == pytest.approx((len(trials) - 3) / len(trials))
    assert analysis.unanswered == {1: 0}


def check_pictures(browser):
    """The canvas shows the HU of the slice in the window that is chosen."""
    hu = np.array(browser.run("[...current.images[0]]")).reshape(3, -1)
    assert np.ptp(hu) > 1000
    names = list(WINDOWS)
    for keys, window, place in (
        ("", names[0], 1),
        (["w"], names[1], 1),
        (["ArrowUp"], names[1], 2),
        (["ArrowUp", "w"], names[2], 2),
        (["ArrowDown", "ArrowDown", "ArrowDown", "w"], names[0], 0),
    ):
        for key in keys:
            browser.press(key)
        low, high = WINDOWS[window].low, WINDOWS[window].high
        expected = np.clip(255 * (hu[place] - low) / (high - low), 0, 255)
        assert np.abs(np.array(browser.run(GREY)) - expected).max() <= 0.51


def check_what_is_needed_to_go_on(browser):
    """Enter does nothing before an answer and a confidence; X takes back a mark."""
    browser.press("Enter")
    browser.press("ArrowLeft")
    browser.press("Enter")
    assert browser.run("answers.length") == 0
    browser.click("#canvas-0")
    assert browser.run("current.mark.row") > 0
    browser.press("x")
    assert browser.run("current.mark") is None


def check_another_tab(browser):
    """A page does not write over the answers of another tab, but takes them."""
    stored = "JSON.parse(localStorage.getItem(storageKey))"
    further = "[...answers, { trial: study.trials[3].name }]"
    browser.run(f"localStorage.setItem(storageKey, JSON.stringify({further}))")
    for key in ("ArrowLeft", "1", "Enter"):
        browser.press(key)
    is_loaded = "document.readyState === 'complete'"
    browser.wait(f"{is_loaded} && !started && answers.length === 4")
    assert browser.run(f"{stored}.length") == 4
    browser.run("localStorage.setItem(storageKey, JSON.stringify(answers.slice(0, 3)))")

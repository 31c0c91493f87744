"""Tables of made-up evaluations, of which it is known what must come out."""

import csv
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from synthct_jax.metrics import haar_features
from synthct_jax.sweep import plan_file as sweep_folder
from synthct_jax.sweep import sweep_page
from synthct_jax.sweep import table as sweep_table
from synthct_jax.sweep.plan_file import Run, make_plan

SUBJECTS = 24
HARD = np.linspace(0, 40, SUBJECTS)  # how much harder each person is than the first
TRUE_LIVER = np.linspace(60, 110, SUBJECTS)


def evaluation(mae, *, liver=None, distance=3.0, seed=0, step=40):
    """metrics.json of a model that is off by `mae` HU and by how hard people are.

    Args:
        liver: synthetic liver HU of each subject; None: as true.
    """
    rng = np.random.default_rng([seed, round(mae)])
    liver = TRUE_LIVER if liver is None else liver
    subjects = []
    for i in range(SUBJECTS):
        of_model = mae + HARD[i] + 0.5 * rng.standard_normal()
        subjects.append(
            {
                "name": f"p{i:02d}",
                "model": answer(of_model, true=TRUE_LIVER[i], synthetic=liver[i]),
                "water": answer(140 + HARD[i], true=TRUE_LIVER[i], synthetic=0),
                "histogram": answer(180 + HARD[i], true=TRUE_LIVER[i], synthetic=20),
            }
        )
    return {
        "format": 2,
        "provenance": {"step": step},
        "data": {"split": "test"},
        "subjects": subjects,
        "distribution": {
            "model": {haar_features.NAME: entry(distance)},
            "water": {haar_features.NAME: entry(60.0)},
            "histogram": {haar_features.NAME: entry(4.0)},
        },
    }


def answer(mae, *, true, synthetic):
    error = synthetic - true
    liver = {"mae": abs(error) + 10, "me": error, "true_mean": true, "voxels": 9}
    return {
        "body": {"mae": mae, "psnr": None, "ssim": 0.9 - mae / 1000},
        "tissues": {"liver": liver, "gas": None},
        "regions": {"fat_muscle_border": {"mae": 2 * mae}},
    }


def entry(value):
    floor = {"mean": 1.0, "low": 0.5, "high": 1.5}
    return {"value": value, "low": value - 1, "high": value + 1, "floor": floor}


def tables(found, **overrides):
    variants = list(dict.fromkeys(name for name, _ in found))
    seeds = sorted({str(seed) for _, seed in found})
    plan = make_plan("configs/phantom.py", overrides, variants, seeds)
    return sweep_table.of_evaluations(
        plan, {Run(*run): metrics for run, metrics in found.items()}
    )


@pytest.fixture(scope="module")
def paper():
    """in_out is better than in by 5 HU in everybody, and its liver follows the fat."""
    same = np.full(SUBJECTS, 85.0)
    found = {}
    for seed in range(3):
        found["in_out", seed] = evaluation(60, seed=seed, distance=2.0 + seed)
        found["in", seed] = evaluation(65, seed=seed, liver=same)
    found["supervised_in_out", 0] = evaluation(59.9, seed=9)
    return tables(found)


def row(tables, label):
    return next(row for row in tables.rows if row.label == label)


def difference(tables, variant, other, column):
    return next(
        one
        for one in tables.differences
        if (one.variant, one.other, one.column) == (variant, other, column)
    )


def test_a_variant_is_the_mean_over_seeds_and_subjects(paper):
    found = row(paper, "in_out")
    assert (found.seeds, found.subjects) == (3, SUBJECTS)
    mae = found.cells["mae"]
    assert mae.value == pytest.approx(60 + HARD.mean(), abs=0.3)
    # Mostly people's: 40 / sqrt(12) / sqrt(24), times 2 * 1.96.
    assert mae.high - mae.low == pytest.approx(9.2, rel=0.15)
    assert found.cells["border_mae"].value == pytest.approx(2 * mae.value)
    assert row(paper, "supervised_in_out").seeds == 1


def test_trivial_answers_stand_once_and_the_floor_below(paper):
    labels = [row.label for row in paper.rows]
    assert labels == [
        "in_out",
        "in",
        "supervised_in_out",
        "water in the outline of the MR",
        "MR mapped to the CT histogram",
        "real CT against real CT",
    ]
    water = paper.rows[3]
    assert water.seeds is None and water.subjects == SUBJECTS
    assert water.cells["mae"].value == pytest.approx(160)
    floor = paper.rows[5].cells
    assert list(floor) == ["frechet"] and floor["frechet"].value == 1


def test_distances_have_the_widest_reach_of_their_runs(paper):
    found = row(paper, "in_out").cells["frechet"]
    assert (found.value, found.low, found.high) == (3.0, 1.0, 5.0)


def test_a_difference_on_the_same_people_is_seen_through_how_they_differ(paper):
    found = difference(paper, "in_out", "in", "mae")
    assert found.found.value == pytest.approx(-5, abs=0.5)
    assert found.found.high < -4 and found.verdict == "in_out is better"
    assert found.found.seeds == (3, 3)
    ceiling = difference(paper, "in_out", "supervised_in_out", "mae")
    assert ceiling.found.value == pytest.approx(0.1, abs=0.3)
    assert ceiling.found.seeds == (3, 1)
    assert ceiling.verdict == "one seed, not judged"


def test_only_pairs_that_are_asked_for_are_compared(paper):
    assert {(one.variant, one.other) for one in paper.differences} == {
        ("in_out", "in"),
        ("in_out", "supervised_in_out"),
    }
    every = ["in_out", "in", "out", "t2", "in_out_t2"]
    every += [f"supervised_{name}" for name in every]
    assert sweep_table.pairs(every) == [
        ("in_out", "in"),
        ("in_out", "out"),
        ("in_out_t2", "in_out"),
        ("supervised_in_out", "supervised_in"),
        ("supervised_in_out", "supervised_out"),
        ("supervised_in_out_t2", "supervised_in_out"),
        *((name, f"supervised_{name}") for name in every[:5]),
    ]
    assert sweep_table.pairs(["in_noncontrast", "in_out_noncontrast", "in_out"]) == [
        ("in_out_noncontrast", "in_noncontrast")
    ]


def test_a_liver_that_follows_its_fat_is_told_from_one_that_does_not(paper):
    livers = {row.label: row.cells for row in paper.livers}
    assert livers["in_out"]["slope"].value == pytest.approx(1)
    assert livers["in"]["slope"].value == pytest.approx(0, abs=1e-9)
    # The same liver for everybody has no correlation with anything.
    assert np.isnan(livers["in"]["correlation"].value)
    found = difference(paper, "in_out", "in", "slope")
    assert found.found.value == pytest.approx(1) and found.verdict == "different"
    assert paper.liver_hu == (60, 110)
    off = row(paper, "in").cells["liver_level"].value
    assert off == pytest.approx(np.abs(TRUE_LIVER - 85).mean())


def test_what_is_better_depends_on_the_metric():
    seeds = (0, 1)
    found = {("in_out", seed): evaluation(70) for seed in seeds}
    found |= {("in", seed): evaluation(60) for seed in seeds}
    found = tables(found)
    assert difference(found, "in_out", "in", "mae").verdict == "in is better"
    livers = {
        ("in_out", seed): evaluation(60, liver=2 * TRUE_LIVER[::-1]) for seed in seeds
    }
    livers |= {("in", seed): evaluation(60, liver=TRUE_LIVER) for seed in seeds}
    found = difference(tables(livers), "in_out", "in", "correlation")
    assert found.found.value == pytest.approx(-2)
    assert found.verdict == "in is better"


def test_one_seed_is_not_judged():
    found = tables({("in_out", 0): evaluation(70), ("in", 0): evaluation(60)})
    found = difference(found, "in_out", "in", "mae")
    assert found.found.low > 0 and found.verdict == "one seed, not judged"


def test_no_correlation_is_beyond_1():
    noise = np.random.default_rng(0).standard_normal((2, SUBJECTS))
    for sign, end in ((1, "high"), (-1, "low")):
        livers = [sign * TRUE_LIVER + 2 * noise[0], sign * TRUE_LIVER + 60 * noise[1]]
        found = tables(
            {("in", seed): evaluation(60, liver=livers[seed]) for seed in range(2)}
        )
        correlation = found.livers[0].cells["correlation"]
        # Two seeds that far apart: about one degree of freedom, so it reaches past 1.
        assert getattr(correlation, end) == sign
        assert -1 <= correlation.low < correlation.value < correlation.high <= 1


def test_only_subjects_whom_both_have_are_compared():
    one, other = evaluation(60), evaluation(65)
    del one["subjects"][:4]
    found = tables({("in_out", 0): one, ("in", 0): other})
    assert difference(found, "in_out", "in", "mae").found.subjects == SUBJECTS - 4
    other["subjects"] = other["subjects"][:4]
    assert not tables({("in_out", 0): one, ("in", 0): other}).differences


def test_a_single_subject_is_no_proof():
    one, other = evaluation(60), evaluation(65)
    for metrics in (one, other):
        del metrics["subjects"][1:]
    found = tables({("in_out", 0): one, ("in", 0): other})
    assert difference(found, "in_out", "in", "mae").verdict == "not known"
    assert re.search(
        r"\n\| in_out \| 1 \| 1 \| \d+\.\d \|", sweep_page.to_markdown(found)
    )


def test_without_a_truth_distances_are_all_there_is():
    metrics = evaluation(60)
    metrics["subjects"] = [{"name": "a"}, {"name": "b", "model": {"consistency": {}}}]
    found = tables({("in_out", 0): metrics, ("in", 0): metrics})
    assert found.columns == ("frechet",)
    assert not found.differences and not found.livers and found.liver_hu is None
    assert "Fréchet" in sweep_page.to_markdown(found)
    assert sweep_page.to_html(found, None).count("<table>") == 1


# --- files ----------------------------------------------------------------------------


def test_markdown_has_values_with_intervals_and_says_how_to_read_them(paper):
    text = sweep_page.to_markdown(paper)
    lines = text.splitlines()
    width = lines[0].count("|")
    assert all(line.count("|") == width for line in lines[:8])
    line = next(one for one in lines if one.startswith("| in_out | 3 | 24 |"))
    assert re.search(r"\| 79\.\d \(74\.\d to 85\.\d\) \|", line)
    (line,) = [one for one in lines if one.startswith("| in_out − in |")]
    assert re.search(r"\| 3 and 3 \| \*\*−5\.\d\*\* \(−5\.\d to −4\.\d\) \|", line)
    assert "- in_out against in: in_out is better (MAE, body; MAE, liver; " in text
    assert "supervised_in_out: one seed, not judged (MAE, body; " in text
    notes = text[text.index("\n- ") :]
    assert "one seed" in notes and "not corrected for being many" in notes
    assert "--config=configs/phantom.py; test split, 24 subjects" in notes


def test_runs_that_are_missing_are_said(paper):
    assert paper.missing == (Run("supervised_in_out", 1), Run("supervised_in_out", 2))
    missing = "Not evaluated, so not in here: supervised_in_out, seed 1; supervised_"
    assert missing in sweep_page.to_markdown(paper)
    assert missing in sweep_page.to_html(paper, None)


def test_csv_has_one_value_a_row(paper):
    rows = list(csv.DictReader(io.StringIO(sweep_page.to_csv(paper))))
    (one,) = [r for r in rows if (r["row"], r["metric"]) == ("in_out", "ssim")]
    assert (one["table"], one["seeds"], one["subjects"]) == ("result", "3", "24")
    assert float(one["low"]) < float(one["value"]) < float(one["high"])
    (one,) = [r for r in rows if r["minus"] == "in" and r["metric"] == "mae"]
    assert (one["table"], one["seeds"], one["outside_0"]) == (
        "difference",
        "3 3",
        "true",
    )
    assert {r["table"] for r in rows} == {"result", "liver", "difference"}


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.links = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.links += [v for n, v in attributes if n in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else(paper):
    text = sweep_page.to_html(paper, b"png")
    page = Page(text)
    assert page.open == [] and page.links == ["data:image/png;base64,cG5n"]
    assert "not a medical device" in text
    assert "<td>79." in text and "<small>74." in text


def test_files_are_replaced_and_old_pictures_do_not_stay(paper, tmp_path):
    for pictures in (b"one", b"two", None):
        sweep_page.write(tmp_path, paper, pictures)
        path = tmp_path / "pictures.png"
        assert (path.read_bytes() if path.exists() else None) == pictures
    assert {path.name for path in tmp_path.iterdir()} == {
        "table.csv",
        "table.md",
        "table.html",
    }


def test_checkpoints_that_vanish_or_are_half_written_are_not_there(
    tmp_path, monkeypatch
):
    described = {"config": {"train": {"best_metric": "mae"}}, "metrics": {"mae": 9.0}}
    for step in (10, 20, 30, 40, 50):
        file = tmp_path / f"checkpoints/{step}/config/metadata"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(described | {"step": step}))
    (tmp_path / "checkpoints/30/config/metadata").write_text("")
    (tmp_path / "checkpoints/40/config/metadata").write_text('{"config": {"tr')
    (tmp_path / "checkpoints/50/config/metadata").write_bytes(b'{"note": "\xc3')
    listed = Path.glob

    def remove_one_that_is_listed(folder, pattern):
        found = list(listed(folder, pattern))
        assert len(found) == 5
        shutil.rmtree(tmp_path / "checkpoints/20")
        return iter(found)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "glob", remove_one_that_is_listed)
        found = sweep_folder._checkpoints(tmp_path)
    assert found == {10: described | {"step": 10}}
    assert sweep_folder.chosen_step(tmp_path) == 10

"""Comparison of evaluations that never were."""

import csv
import json

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from made_up_results import make, people

from synthct_jax import main
from synthct_jax.evaluation import results
from synthct_jax.evaluation.comparison import compare, measures
from synthct_jax.evaluation.comparison.runs import read_runs
from synthct_jax.evaluation.comparison.side_by_side import of_runs
from synthct_jax.evaluation.results import Row


@pytest.fixture
def save(tmp_path):
    """Writes an evaluation of a run; returns the run's folder."""

    def saved(run, found, evaluation="000100"):
        folder = tmp_path / run / "evaluation" / evaluation
        folder.mkdir(parents=True)
        results.write_json(folder / "metrics.json", found)
        return tmp_path / run

    return saved


def named(run, **provenance):
    return {"provenance": {"workdir": f"/runs/{run}/seed_0", **provenance}}


def measure(comparison, metric, part="body", name=""):
    (found,) = (
        one
        for one in comparison.measures
        if (one.part, one.name, one.metric) == (part, name, metric)
    )
    return found


def varied(n=12, by=30.0, seed=0):
    """MAE of people who differ much."""
    return 100 + np.random.default_rng(seed).normal(0, by, n)


def test_a_small_gain_in_everybody_is_seen_though_people_differ_much(save):
    mae = varied()
    noise = np.random.default_rng(1).normal(0, 1, len(mae))
    runs = [
        save("a", make(people(mae))),
        save("b", make(people(mae - 5 + noise))),
    ]
    comparison = of_runs(read_runs(runs))
    found = measure(comparison, "mae")
    difference = found.difference("B")
    assert difference.found.low < -5 < difference.found.high < 0
    assert difference.outside_0 and difference.verdict == measures.BETTER
    assert difference.found.mean == pytest.approx(np.mean(noise) - 5)
    # Intervals of each run on its own overlap: they do not tell.
    a, b = found.mean("A"), found.mean("B")
    assert b.high > a.mean > b.mean > a.low
    # What follows MAE does as well; in SSIM higher is better.
    ssim = measure(comparison, "ssim").difference("B")
    assert ssim.found.low > 0 and ssim.verdict == measures.BETTER
    muscle = measure(comparison, "mae", "tissues", "muscle").difference("B")
    assert muscle.found.mean == pytest.approx(2 * difference.found.mean)


def test_no_difference_is_not_distinguishable(save):
    mae = varied()
    noise = np.random.default_rng(2).normal(0, 10, len(mae))
    noise -= noise.mean()
    runs = [save("a", make(people(mae))), save("b", make(people(mae + noise)))]
    difference = measure(of_runs(read_runs(runs)), "mae").difference("B")
    assert difference.found.low < 0 < difference.found.high
    assert difference.outside_0 is False and difference.verdict == measures.SAME


def test_where_both_sides_are_wrong_distances_are_compared(save):
    # ME is MAE - 40: -10 and +5.
    a, b = (save(run, make(people([mae] * 8))) for run, mae in (("a", 30), ("b", 45)))
    found = measure(of_runs(read_runs([a, b])), "me")
    assert [found.mean(letter).mean for letter in "AB"] == [-10, 5]
    assert found.difference("B").found.mean == -5
    assert found.difference("B").verdict == measures.BETTER


@pytest.mark.parametrize("n, interval", [(1, False), (3, True)])
def test_of_few_subjects_nothing_is_called_better(n, interval, save, tmp_path):
    a, b = (save(r, make(people([m] * n))) for r, m in (("a", 90), ("b", 60)))
    comparison = compare.compare([a, b], tmp_path / "out")
    difference = measure(comparison, "mae").difference("B")
    assert (difference.found.low is not None) == interval
    assert difference.verdict == measures.TOO_FEW
    assert f"Only {n} subject" in comparison.warnings[0]
    page = (tmp_path / "out" / "compare.html").read_text()
    assert measures.TOO_FEW in page and ">better<" not in page


def test_only_subjects_in_common_are_compared(save):
    mae = people(varied())
    fewer = {name: mae[name] + 1 for name in list(mae)[3:]} | {"somebody": 0.0}
    comparison = of_runs(read_runs([save("a", make(mae)), save("b", make(fewer))]))
    assert comparison.subjects == tuple(list(mae)[3:])
    found = measure(comparison, "mae")
    assert found.mean("A").mean == pytest.approx(np.mean(list(mae.values())[3:]))
    assert found.difference("B").found.mean == pytest.approx(1)
    (told,) = (text for text in comparison.warnings if "left out" in text)
    assert "3 of A, 1 of B" in told


@pytest.mark.parametrize(
    "other, told",
    [
        ({"data": {"source": "chaos"}}, "chaos data, test split"),
        ({"data": {"spacing_mm": 2.0}}, "64 pixels of 2 mm"),
        ({"true_hu": 70.0}, "the same names, but other people"),
    ],
)
def test_the_same_name_is_not_enough_to_be_the_same_person(other, told, save):
    mae = people(varied())
    a, b = save("a", make(mae)), save("b", make(mae, **other))
    with pytest.raises(ValueError, match="no subject in common") as error:
        of_runs(read_runs([a, b]))
    for part in (str(a), str(b), told):
        assert part in str(error.value)


def test_people_with_no_subject_in_common_are_an_error_that_names_both(save):
    a = save("a", make({"somebody": 1.0}))
    b = save("b", make({"another": 1.0}, data={"split": "validation"}))
    with pytest.raises(ValueError, match="validation split, .*another") as error:
        of_runs(read_runs([a, b]))
    assert str(a) in str(error.value) and str(b) in str(error.value)


def test_what_makes_numbers_differ_is_warned_of(save):
    mae = people(varied())
    a = save("a", make(mae, paired=False))
    b = save(
        "b",
        make(
            mae,
            paired=False,
            data={"data_dir": "/data/b", "split": "train"},
            provenance={"versions": {"synthct_jax": "0.2.0", "jax": "0.10.2"}},
        ),
    )
    told = "\n".join(of_runs(read_runs([a, b])).warnings)
    for part in (
        "different splits (A: test; B: train)",
        "were trained on",
        "A: /data/a; B: /data/b",
        "different versions of synthct_jax: A 0.1.0, B 0.2.0",
    ):
        assert part in told
    assert "jax: A 0.10.2" not in told


def test_without_a_truth_what_needs_none_is_compared(save, tmp_path):
    mae = varied()
    a = save("a", make(people(mae), paired=False))
    b = save("b", make(people(mae - 10), paired=False))
    comparison = compare.compare([a, b], tmp_path / "out")
    assert {one.part for one in comparison.measures} == {"consistency"}
    cycle = measure(comparison, "cycle_in_phase", "consistency").difference("B")
    assert cycle.found.mean == pytest.approx(-1)
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "Cycle error, in phase" in page and "In the body" not in page


def test_a_metric_that_one_run_alone_has_is_shown_and_not_compared(save, tmp_path):
    first, second = make(people(varied())), make(people(varied()))
    for subject in second.subjects:
        second.rows.append(Row(subject, "network", "body", "cycle_out_of_phase", 3.0))
    paths = [save("a", first), save("b", second)]
    comparison = compare.compare(paths, tmp_path / "out")
    found = measure(comparison, "cycle_out_of_phase", "consistency")
    assert found.mean("A") is None and found.mean("B").mean == 3
    assert found.difference("B") is None


def test_fields_that_differ_are_shown_and_others_not(save):
    config = {"seed": 0, "data": {"mr_channels": ["in_phase"]}, "model": {"width": 8}}
    other = config | {"data": {"mr_channels": ["in_phase", "t2"]}, "method": "x"}
    a = save("a", make(people(varied()), **named("in", config=config)))
    b = save("b", make(people(varied()), step=200, **named("in_t2", config=other)))
    comparison = of_runs(read_runs([a, b]))
    assert [run.label for run in comparison.runs] == ["in", "in_t2"]
    assert comparison.configuration == {
        "step": {"A": 100, "B": 200},
        "data.mr_channels": {"A": ["in_phase"], "B": ["in_phase", "t2"]},
        "method": {"A": None, "B": "x"},
    }


def test_of_a_run_the_newest_evaluation_is_taken_and_another_can_be_named(save):
    mae = people(varied())
    old = make(mae, step=200, made="2026-11-01T10:00:00+00:00")
    new = make(mae, step=100, made="2026-11-02T10:00:00+00:00")
    run = save("a", old, "000200")
    save("a", new, "000100")
    newest, named_one = read_runs([run, run / "evaluation" / "000200"])
    assert (newest.step, newest.folder.name) == (100, "000100")
    assert named_one.step == 200
    # They are of one run: steps tell them apart.
    assert [newest.label, named_one.label] == ["step 100", "step 200"]


def test_all_runs_are_compared_with_the_first(save, tmp_path):
    mae = varied()
    paths = [
        save(run, make(people(mae + more), worse=worse, **named(run)))
        for run, more, worse in (("a", 0, 1.0), ("b", -5, 0.4), ("c", 7, 2.0))
    ]
    comparison = compare.compare(paths, tmp_path / "out")
    stored = json.loads((tmp_path / "out" / "compare.json").read_text())
    (mae_found,) = (
        one
        for one in stored["measures"]
        if (one["part"], one["metric"]) == ("body", "mae")
    )
    assert mae_found["differences"]["B"]["mean"] == pytest.approx(-5)
    assert mae_found["differences"]["C"]["verdict"] == "worse"
    assert stored["subjects"] == list(people(mae))
    assert stored["collections"]["wasserstein"]["B"]["outside"] is False
    with (tmp_path / "out" / "compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    (row,) = (
        r
        for r in rows
        if (r["table"], r["run"], r["part"], r["metric"])
        == ("difference", "C", "body", "mae")
    )
    assert float(row["value"]) == pytest.approx(7)
    assert (row["minus"], row["unit"], row["outside_0"]) == ("A", "HU", "True")
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "MAE is <b>5.0 HU lower</b> than that of A" in page
    assert "MAE is <b>7.0 HU higher</b> than that of A" in page
    assert "outside 0, better" in page and "outside 0, worse" in page
    assert "worse than real" in page and "like real" in page
    assert "<script" not in page and "http" not in page
    assert len(comparison.runs) == 3


def test_numbers_that_are_not_there_are_left_out(save, tmp_path):
    found = make(people(varied()))
    for i, row in enumerate(found.rows):
        missing = row.subject == found.subjects[0] and row.metric == "ssim"
        if missing or row.metric == "share_air" and row.method == "network":
            found.rows[i] = row._replace(value=float("nan"))
    paths = [save("a", make(people(varied()))), save("b", found)]
    comparison = compare.compare(paths, tmp_path / "out")
    assert measure(comparison, "ssim").difference("B").found.n == 11
    assert measure(comparison, "mae").difference("B").found.n == 12


def test_a_comparison_is_replaced_and_nothing_else_is(save, tmp_path):
    paths = [save(run, make(people(varied()))) for run in "ab"]
    out = tmp_path / "out"
    compare.compare(paths, out)
    compare.compare(paths, out)
    assert {path.name for path in out.iterdir()} == set(compare.FILES)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="notes.txt.*no comparison has written"):
        compare.compare(paths, out)
    run = paths[0]
    with pytest.raises(ValueError, match="is not replaced"):
        compare.compare(paths, run)


def test_runs_that_cannot_be_read_are_named(save, tmp_path):
    good = save("a", make(people(varied())))
    (tmp_path / "empty").mkdir()
    for path, error, told in (
        (tmp_path / "nowhere", FileNotFoundError, "there is no folder .*nowhere"),
        (tmp_path / "empty", FileNotFoundError, "empty has no metrics.json"),
        (good, ValueError, "names .*a/evaluation/000100 twice"),
    ):
        with pytest.raises(error, match=told):
            read_runs([good, path])
    with pytest.raises(ValueError, match="names 1, expected 2"):
        read_runs([good])
    old = tmp_path / "old" / "evaluation" / "000100"
    old.mkdir(parents=True)
    (old / "metrics.json").write_text('{"format": 1}')
    with pytest.raises(ValueError, match="old/evaluation/000100.*format is 1"):
        read_runs([good, tmp_path / "old"])


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
def test_the_mode_writes_a_folder_where_it_was_started(
    save, tmp_path, monkeypatch, capsys
):
    paths = [save(run, make(people(varied()))) for run in "ab"]
    monkeypatch.chdir(tmp_path)
    with flagsaver.flagsaver():
        flags.FLAGS.unparse_flags()
        runs = ",".join(map(str, paths))
        argv = main.parse_flags(["main", "--mode=compare", f"--runs={runs}"])
        assert main.main(argv) == 0
    assert "comparison/compare.html" in capsys.readouterr().out
    assert (tmp_path / "comparison" / "compare.html").is_file()

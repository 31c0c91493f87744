"""Comparison of made-up evaluations."""

import csv

import numpy as np
import pytest
import scipy.stats
from absl import flags
from absl.testing import flagsaver
from html_page import HtmlPage
from made_up_results import make, subjects

from synthct_jax import main
from synthct_jax.evaluation import results
from synthct_jax.evaluation.comparison import documents
from synthct_jax.evaluation.comparison.compare import compare
from synthct_jax.evaluation.comparison.inputs import read_groups
from synthct_jax.evaluation.results import NETWORK, Row
from synthct_jax.metrics import intervals

B_MINUS_A = ("B", "A")


@pytest.fixture
def save(tmp_path):
    """Write an evaluation of a run; return the run's folder."""

    def saved(run, evaluation, name="000100"):
        folder = tmp_path / run / "evaluation" / name
        folder.mkdir(parents=True)
        results.write_json(folder / "metrics.json", evaluation)
        return tmp_path / run

    return saved


@pytest.fixture
def compared(save):
    """Compare evaluations of runs a, b, ..."""

    def compared_runs(*evaluations):
        runs = zip("abc", evaluations, strict=False)
        return compare(read_groups([save(name, each) for name, each in runs]))

    return compared_runs


def workdir(run, **provenance):
    return {"provenance": {"workdir": f"/runs/{run}/seed_0", **provenance}}


def varied(n=12, by=30.0, seed=0):
    """MAE of subjects who differ much."""
    return 100 + np.random.default_rng(seed).normal(0, by, n)


def test_small_gain_in_every_subject_is_significant_though_subjects_differ_much(
    compared,
):
    mae = varied()
    noise = np.random.default_rng(1).normal(0, 1, len(mae))
    comparison = compared(make(subjects(mae)), make(subjects(mae - 5 + noise)))
    measure = comparison.measure("mae")
    difference = measure.differences[B_MINUS_A]
    assert difference.interval.low < -5 < difference.interval.high < 0
    assert difference.verdict == intervals.BETTER
    assert difference.interval.value == pytest.approx(np.mean(noise) - 5)
    # Intervals of each run on its own overlap, which decides nothing.
    a, b = measure.means["A"], measure.means["B"]
    assert b.high > a.value > b.value > a.low
    # What follows MAE improves as well; in SSIM higher is better.
    ssim = comparison.measure("ssim").differences[B_MINUS_A]
    assert ssim.interval.low > 0 and ssim.verdict == intervals.BETTER
    muscle = comparison.measure("mae", "tissue:muscle").differences[B_MINUS_A]
    assert muscle.interval.value == pytest.approx(2 * difference.interval.value)


def test_single_runs_are_compared_by_the_paired_t_interval(compared):
    mae = varied()
    other = mae + np.random.default_rng(3).normal(4, 3, len(mae))
    comparison = compared(make(subjects(mae)), make(subjects(other)))
    interval = comparison.measure("mae").differences[B_MINUS_A].interval
    expected = scipy.stats.ttest_rel(other, mae).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx(expected)


def test_interval_around_0_is_no_significant_difference(compared):
    mae = varied()
    noise = np.random.default_rng(2).normal(0, 10, len(mae))
    comparison = compared(
        make(subjects(mae)), make(subjects(mae + noise - noise.mean()))
    )
    difference = comparison.measure("mae").differences[B_MINUS_A]
    assert difference.interval.low < 0 < difference.interval.high
    assert difference.verdict == "no significant difference"


def test_folder_of_seeds_is_one_group_whose_interval_covers_both_seeds(save):
    mae, rng = varied(), np.random.default_rng(4)
    for variant, gain in (("a", 0), ("b", -5)):
        for seed, shift in enumerate((-3, 0, 3)):
            errors = mae + gain + shift + rng.normal(0, 1, len(mae))
            save(f"{variant}/seed_{seed}", make(subjects(errors), **workdir(variant)))
    root = save("c/seed_0", make(subjects(mae - 5), **workdir("c"))).parent.parent
    comparison = compare(read_groups([root / "a", root / "b", root / "c"]))
    assert [len(group.runs) for group in comparison.groups] == [3, 3, 1]
    measure = comparison.measure("mae")
    # Three seeds that differ by 3 HU: t of about 4 degrees times 3 * sqrt(2 / 3).
    difference = measure.differences[B_MINUS_A]
    assert difference.interval.high - difference.interval.low > 10
    assert difference.verdict == intervals.SAME
    assert measure.differences["C", "A"].verdict == intervals.ONE_SEED
    assert "seed" not in comparison.configuration


def test_metrics_with_a_best_value_are_compared_by_the_distance_from_it(compared):
    # ME is MAE - 40: -10 and +5.
    measure = compared(*(make(subjects([mae] * 8)) for mae in (30, 45))).measure("me")
    assert [measure.means[name].value for name in "AB"] == [-10, 5]
    assert [measure.distances[name].value for name in "AB"] == [10, 5]
    assert measure.differences[B_MINUS_A].interval.value == -5
    assert measure.differences[B_MINUS_A].verdict == intervals.BETTER


@pytest.mark.parametrize("n, interval", [(1, False), (3, True)])
def test_too_few_subjects_give_no_verdict(n, interval, save, tmp_path):
    a, b = (save(r, make(subjects([m] * n))) for r, m in (("a", 90), ("b", 60)))
    comparison = documents.compare_runs([a, b], tmp_path / "out")
    difference = comparison.measure("mae").differences[B_MINUS_A]
    assert (difference.interval.low is not None) == interval
    assert difference.verdict == intervals.TOO_FEW_SUBJECTS
    assert f"Only {n} subject" in comparison.warnings[0]
    page = (tmp_path / "out" / "compare.html").read_text()
    assert intervals.TOO_FEW_SUBJECTS in page and "significantly better" not in page


def test_only_subjects_in_common_are_compared(compared):
    mae = subjects(varied())
    fewer = {name: mae[name] + 1 for name in list(mae)[3:]} | {"somebody": 0.0}
    comparison = compared(make(mae), make(fewer))
    assert comparison.subjects == tuple(list(mae)[3:])
    measure = comparison.measure("mae")
    assert measure.means["A"].value == pytest.approx(np.mean(list(mae.values())[3:]))
    assert measure.differences[B_MINUS_A].interval.value == pytest.approx(1)
    (warning,) = (text for text in comparison.warnings if "left out" in text)
    assert "3 of A, 1 of B" in warning


def test_subjects_with_other_numbers_of_voxels_are_not_the_same(compared):
    other = make(subjects(varied()))
    for i, row in enumerate(other.rows):
        if row.metric == "voxels" and row.subject == "subject_0":
            other.rows[i] = row._replace(value=row.value + 1)
    comparison = compared(make(subjects(varied())), other)
    assert "subject_0" not in comparison.subjects and len(comparison.subjects) == 11


@pytest.mark.parametrize(
    "other, message",
    [
        ({"data": {"source": "chaos"}}, "chaos data, test split"),
        ({"data": {"spacing_mm": 2.0}}, "64 pixels of 2 mm"),
        ({"muscle_hu": 70.0}, "the same names, but other subjects"),
        ({"mae": {"another": 1.0}}, "mm, another"),
    ],
)
def test_evaluations_without_a_common_subject_are_refused_naming_both(
    other, message, save
):
    """Those of one name are not the same if their images differ."""
    mae = subjects(varied())
    a, b = save("a", make(mae)), save("b", make(**{"mae": mae} | other))
    with pytest.raises(ValueError, match="no subject in common") as error:
        compare(read_groups([a, b]))
    for part in (str(a), str(b), message):
        assert part in str(error.value)


def test_other_reasons_for_different_numbers_are_warned_of(compared):
    mae = subjects(varied())
    other = make(
        mae,
        paired=False,
        data={"data_dir": "/data/b", "split": "train"},
        provenance={"versions": {"synthct_jax": "0.2.0", "jax": "0.10.2"}},
    )
    warnings = "\n".join(compared(make(mae, paired=False), other).warnings)
    for part in (
        "different splits (A: test; B: train)",
        "used for training",
        "A: /data/a; B: /data/b",
        "different versions of synthct_jax: A 0.1.0, B 0.2.0",
    ):
        assert part in warnings
    assert "jax: A 0.10.2" not in warnings


def test_without_a_reference_ct_consistency_is_compared(save, tmp_path):
    mae = varied()
    a = save("a", make(subjects(mae), paired=False))
    b = save("b", make(subjects(mae - 10), paired=False))
    comparison = documents.compare_runs([a, b], tmp_path / "out")
    names = {measure.metric for measure in comparison.measures if measure.values}
    assert names == {"outline_dice", "cycle_in_phase"}
    cycle = comparison.measure("cycle_in_phase").differences[B_MINUS_A]
    assert cycle.interval.value == pytest.approx(-1)
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "Cycle error, in phase" in page and "In the body" not in page


def test_metric_of_one_run_alone_is_shown_and_not_compared(save, tmp_path):
    mae = subjects(varied())
    extra = tuple(Row(name, NETWORK, "body", "cycle_out_of_phase", 3.0) for name in mae)
    paths = [save("a", make(mae)), save("b", make(mae, extra_rows=extra))]
    comparison = documents.compare_runs(paths, tmp_path / "out")
    measure = comparison.measure("cycle_out_of_phase")
    assert list(measure.means) == ["B"] and measure.means["B"].value == 3
    assert not measure.differences
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "Cycle error, out of phase" in page


def test_only_fields_that_differ_are_shown(compared):
    config = {"seed": 0, "data": {"mr_channels": ["in_phase"]}, "model": {"width": 8}}
    other = config | {"data": {"mr_channels": ["in_phase", "t2"]}, "method": "x"}
    comparison = compared(
        make(subjects(varied()), **workdir("in", config=config)),
        make(subjects(varied()), step=200, **workdir("in_t2", config=other)),
    )
    assert [group.label for group in comparison.groups] == ["in", "in_t2"]
    assert comparison.configuration == {
        "step": {"A": 100, "B": 200},
        "data.mr_channels": {"A": ["in_phase"], "B": ["in_phase", "t2"]},
        "method": {"A": None, "B": "x"},
    }


def test_newest_evaluation_of_a_run_is_taken_unless_another_is_named(save):
    mae = subjects(varied())
    old = make(mae, step=200, made="2026-11-01T10:00:00+00:00")
    new = make(mae, step=100, made="2026-11-02T10:00:00+00:00")
    run = save("a", old, "000200")
    save("a", new, "000100")
    newest, named = read_groups([run, run / "evaluation" / "000200"])
    assert (newest.runs[0].step, newest.runs[0].folder.name) == (100, "000100")
    assert named.runs[0].step == 200
    # Both are of one run: their own folders distinguish them.
    assert [newest.label, named.label] == ["step 100", "step 200"]


def test_every_run_is_compared_with_the_first(save, tmp_path):
    mae = varied()
    paths = [
        save(run, make(subjects(mae + more), worse=worse, **workdir(run)))
        for run, more, worse in (("a", 0, 1.0), ("b", -5, 0.4), ("c", 7, 2.0))
    ]
    comparison = documents.compare_runs(paths, tmp_path / "out")
    assert comparison.subjects == tuple(subjects(mae))
    assert [group.label for group in comparison.groups] == ["a", "b", "c"]
    with (tmp_path / "out" / "compare.csv").open() as file:
        rows = list(csv.DictReader(file))

    def row(table, group, metric, region="body"):
        (matching,) = (
            r
            for r in rows
            if (r["table"], r["group"], r["metric"]) == (table, group, metric)
            and r["region"] == region
        )
        return matching

    better, worse = (row("difference", name, "mae") for name in "BC")
    assert float(better["value"]) == pytest.approx(-5)
    assert float(worse["value"]) == pytest.approx(7)
    assert (worse["minus"], worse["unit"], worse["seeds"]) == ("A", "HU", "1 1")
    assert (better["verdict"], worse["verdict"]) == ("better", "worse")
    like_real, not_like_real = (row("value", n, "wasserstein") for n in "BC")
    assert (like_real["outside"], not_like_real["outside"]) == ("0", "1")
    assert like_real["real_value"] == "6.0"
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "MAE of B is 5.0 HU lower than that of A" in page
    assert "MAE of C is 7.0 HU higher than that of A" in page
    assert "B is significantly better" in page and "A is significantly better" in page
    assert "worse than real CT" in page and "like real CT" in page
    assert "not corrected for multiple comparisons" in page


def test_page_is_complete_in_one_file(compared):
    comparison = compared(*[make(subjects(varied()))] * 2)
    texts = documents.render("table", comparison, pictures=b"png")
    page = HtmlPage(texts["table.html"])  # refuses a tag that is not closed
    assert page.links == [] and page.sources == ["data:image/png;base64,cG5n"]
    assert "<script" not in texts["table.html"]
    assert "not a medical device" in texts["table.html"]


def test_undefined_numbers_are_left_out(compared):
    evaluation = make(subjects(varied()))
    for i, row in enumerate(evaluation.rows):
        undefined = row.subject == "subject_0" and row.metric == "ssim"
        if undefined or row.metric == "share_air":
            evaluation.rows[i] = row._replace(value=float("nan"))
    comparison = compared(make(subjects(varied())), evaluation)
    assert documents.render("table", comparison)
    assert comparison.measure("ssim").differences[B_MINUS_A].interval.n == 11
    assert comparison.measure("mae").differences[B_MINUS_A].interval.n == 12


def test_comparison_replaces_an_older_one_and_nothing_else(save, tmp_path):
    paths = [save(run, make(subjects(varied()))) for run in "ab"]
    out = tmp_path / "out"
    documents.compare_runs(paths, out)
    documents.compare_runs(paths, out)
    names = {f"compare.{kind}" for kind in ("html", "md", "csv")}
    assert {path.name for path in out.iterdir()} == names
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="notes.txt.*no comparison has written"):
        documents.compare_runs(paths, out)
    run = paths[0]
    with pytest.raises(ValueError, match="is not replaced"):
        documents.compare_runs(paths, run)


def test_runs_without_a_readable_evaluation_are_named(save, tmp_path):
    good = save("a", make(subjects(varied())))
    (tmp_path / "empty").mkdir()
    for path, error, message in (
        (tmp_path / "nowhere", FileNotFoundError, "there is no folder .*nowhere"),
        (tmp_path / "empty", FileNotFoundError, "empty has no metrics.json"),
        (good, ValueError, "names .*a/evaluation/000100 twice"),
    ):
        with pytest.raises(error, match=message):
            read_groups([good, path])
    with pytest.raises(ValueError, match="names 1, expected 2"):
        read_groups([good])
    old = tmp_path / "old" / "evaluation" / "000100"
    old.mkdir(parents=True)
    (old / "metrics.json").write_text('{"format": 1}')
    with pytest.raises(ValueError, match="old/evaluation/000100.*format is 1"):
        read_groups([good, tmp_path / "old"])


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
def test_mode_writes_to_the_working_directory_by_default(
    save, tmp_path, monkeypatch, capsys
):
    paths = [save(run, make(subjects(varied()))) for run in "ab"]
    monkeypatch.chdir(tmp_path)
    with flagsaver.flagsaver():
        flags.FLAGS.unparse_flags()
        runs = ",".join(map(str, paths))
        argv = main.parse_flags(["main", "--mode=compare", f"--runs={runs}"])
        assert main.main(argv) == 0
    assert "comparison/compare.html" in capsys.readouterr().out
    assert (tmp_path / "comparison" / "compare.html").is_file()

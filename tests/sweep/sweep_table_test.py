"""Tables of made-up evaluations of a sweep."""

import re

import numpy as np
import pytest
from made_up_results import make, subjects

from synthct_jax.evaluation.comparison import documents, tables
from synthct_jax.evaluation.comparison.inputs import EvaluatedRun
from synthct_jax.metrics import intervals
from synthct_jax.sweep import pictures, plan_file, table
from synthct_jax.sweep.plan_file import SweepRun, make_plan

SUBJECTS = 24
HARD = np.linspace(0, 40, SUBJECTS)  # how much harder each subject is than the first
REFERENCE_LIVER = np.linspace(60, 110, SUBJECTS)
LIVER = "tissue:liver"


def evaluation(mae, *, liver=REFERENCE_LIVER, seed=0, **fields):
    """A run that is off by `mae` HU and by how hard subjects are.

    Args:
        liver: synthetic liver HU of each subject.
    """
    noise = 0.5 * np.random.default_rng([seed, round(mae)]).standard_normal(SUBJECTS)
    livers = zip(REFERENCE_LIVER.tolist(), np.asarray(liver).tolist(), strict=True)
    names = subjects(HARD)
    return make(
        subjects(mae + HARD + noise),
        liver_hu=dict(zip(names, livers, strict=True)),
        baselines={"water": subjects(140 + HARD), "histogram": subjects(180 + HARD)},
        **fields,
    )


def comparison_of(evaluations, **overrides):
    variants = list(dict.fromkeys(name for name, _ in evaluations))
    seeds = sorted({str(seed) for _, seed in evaluations})
    plan = make_plan("configs/phantom.py", overrides, variants, seeds)
    evaluated = {
        SweepRun(*run): EvaluatedRun(folder=plan_file.Path("/x"), results=results)
        for run, results in evaluations.items()
    }
    return table.compare_variants(plan, evaluated)


@pytest.fixture(scope="module")
def paper():
    """in_out is better than in by 5 HU in every subject, and its liver follows fat."""
    same = np.full(SUBJECTS, 85.0)
    evaluations = {}
    for seed in range(3):
        evaluations["in_out", seed] = evaluation(60, seed=seed, worse=1 + seed)
        evaluations["in", seed] = evaluation(65, seed=seed, liver=same)
    evaluations["supervised_in_out", 0] = evaluation(50, seed=9)
    return comparison_of(evaluations)


def difference(comparison, variant, other, metric="mae", region="body"):
    return comparison.measure(metric, region).differences[variant, other]


def test_variant_is_the_mean_over_seeds_and_subjects(paper):
    mae = paper.measure("mae").means["in_out"]
    assert mae.n == SUBJECTS and mae.value == pytest.approx(60 + HARD.mean(), abs=0.3)
    # Mostly subjects': 40 / sqrt(12) / sqrt(24), times 2 * 1.96.
    assert mae.high - mae.low == pytest.approx(9.2, rel=0.15)
    border = paper.measure("mae", "border:fat_muscle").means["in_out"]
    assert border.value == pytest.approx(2 * mae.value)
    rows = {row[0].text: row for row in tables.summary(paper).rows}
    assert [cell.text for cell in rows["in_out"][1:3]] == ["3", "24"]
    assert rows["supervised_in_out"][1].text == "1"


def test_baselines_stand_once_and_real_against_real_below(paper):
    rows = tables.summary(paper).rows
    assert [row[0].text for row in rows] == [
        "in_out",
        "in",
        "supervised_in_out",
        "water in the outline of the MR",
        "MR mapped to the CT histogram",
        "real CT against real CT",
    ]
    head = [cell.text for cell in tables.summary(paper).head]
    assert rows[3][1].text == ""
    assert rows[3][head.index("MAE")].text == "160.0"
    notes = {cell.text: cell.note for cell in tables.summary(paper).head}
    assert notes["ME, liver"] == "HU, distance from 0"
    real = {title: cell.text for title, cell in zip(head, rows[-1], strict=True)}
    assert real.pop("Fréchet distance, Haar features") == "1"
    assert real.pop("KL(real ‖ synthetic)") == "0.01"
    assert not any(text for title, text in real.items() if title)


def test_distribution_distance_has_the_extremes_of_the_seeds_intervals(paper):
    measure = paper.measure("frechet_haar_v1")
    distance = measure.means["in_out"]
    ends = distance.value, distance.low, distance.high
    assert ends == pytest.approx((6, 0.9 * 3, 1.1 * 9))
    assert measure.outside["in_out"] == 3


def test_paired_difference_is_seen_through_differences_between_subjects(paper):
    result = difference(paper, "in_out", "in")
    assert result.interval.value == pytest.approx(-5, abs=0.5)
    assert result.interval.high < -4 and result.verdict == intervals.BETTER
    ceiling = difference(paper, "in_out", "supervised_in_out")
    assert ceiling.interval.value == pytest.approx(10, abs=0.3)
    assert ceiling.interval.low > 0 and ceiling.verdict == intervals.ONE_SEED


def test_only_planned_pairs_are_compared(paper):
    assert paper.pairs == (("in_out", "in"), ("in_out", "supervised_in_out"))
    every = ["in_out", "in", "out", "t2", "in_out_t2"]
    every += [f"supervised_{name}" for name in every]
    assert table.planned_pairs(every) == [
        ("in_out", "in"),
        ("in_out", "out"),
        ("in_out_t2", "in_out"),
        ("supervised_in_out", "supervised_in"),
        ("supervised_in_out", "supervised_out"),
        ("supervised_in_out_t2", "supervised_in_out"),
        *((name, f"supervised_{name}") for name in every[:5]),
    ]
    assert table.planned_pairs(["in_noncontrast", "in_out_noncontrast", "in_out"]) == [
        ("in_out_noncontrast", "in_noncontrast")
    ]


def test_liver_that_follows_its_fat_is_distinguished_from_one_that_does_not(paper):
    slope = paper.measure("hu_slope", LIVER)
    assert slope.means["in_out"].value == pytest.approx(1)
    assert slope.means["in"].value == pytest.approx(0, abs=1e-9)
    # The same liver for everyone has no correlation with anything.
    assert np.isnan(paper.measure("hu_correlation", LIVER).means["in"].value)
    result = difference(paper, "in_out", "in", "hu_slope", LIVER)
    assert result.interval.value == pytest.approx(1) and result.verdict == "different"
    assert any("(60 to 110 HU)" in note for note in tables.notes(paper))
    level = paper.measure("me", LIVER).distances["in"].value
    assert level == pytest.approx(np.abs(REFERENCE_LIVER - 85).mean())


def test_better_side_depends_on_the_metric():
    livers = {"in_out": 2 * REFERENCE_LIVER[::-1], "in": REFERENCE_LIVER}
    comparison = comparison_of(
        {
            (name, seed): evaluation(mae, liver=livers[name], seed=seed)
            for name, mae in (("in_out", 70), ("in", 60))
            for seed in (0, 1)
        }
    )
    assert difference(comparison, "in_out", "in").verdict == intervals.WORSE
    correlation = difference(comparison, "in_out", "in", "hu_correlation", LIVER)
    assert correlation.interval.value == pytest.approx(-2)
    assert correlation.verdict == intervals.WORSE
    assert "in is significantly better (MAE; " in tables.verdicts(comparison)[0]


def test_interval_of_a_correlation_stays_within_1():
    noise = np.random.default_rng(0).standard_normal((2, SUBJECTS))
    for sign, end in ((1, "high"), (-1, "low")):
        livers = sign * REFERENCE_LIVER + np.array([[2], [60]]) * noise
        comparison = comparison_of(
            {("in", seed): evaluation(60, liver=livers[seed]) for seed in range(2)}
        )
        correlation = comparison.measure("hu_correlation", LIVER).means["in"]
        # Two seeds that far apart: about one degree of freedom, so it reaches to 1.
        assert getattr(correlation, end) == pytest.approx(sign, abs=0.01)
        assert -1 <= correlation.low < correlation.value < correlation.high <= 1


def test_difference_is_over_subjects_of_both_variants():
    first = make(subjects(60 + HARD))
    few = make(dict(list(subjects(65 + HARD).items())[4:]))
    comparison = comparison_of({("in_out", 0): first, ("in", 0): few})
    assert difference(comparison, "in_out", "in").interval.n == SUBJECTS - 4
    assert comparison.measure("mae").means["in_out"].n == SUBJECTS


def test_variants_without_common_subjects_are_tabulated_without_difference():
    # The liver of the same name has another contrast phase.
    with_contrast, without = evaluation(60), evaluation(65, muscle_hu=40.0)
    comparison = comparison_of({("in_out", 0): with_contrast, ("in", 0): without})
    assert not comparison.measure("mae").differences
    assert list(comparison.measure("mae").means)[:2] == ["in_out", "in"]
    assert "| in | 1 | 24 |" in tables.to_markdown(comparison)


def test_without_a_reference_ct_distances_of_distributions_are_left():
    unpaired = make(subjects(60 + HARD), paired=False)
    comparison = comparison_of({("in_out", 0): unpaired, ("in", 0): unpaired})
    titles = [cell.text for cell in tables.summary(comparison).head[3:]]
    assert titles == ["Fréchet distance, Haar features", "KL(real ‖ synthetic)"]
    assert not tables.pairwise(comparison)
    assert "Fréchet" in documents.render("table", comparison)["table.html"]


# --- files ----------------------------------------------------------------------------


def test_markdown_has_values_with_intervals_and_says_how_to_read_them(paper):
    text = tables.to_markdown(paper, "--config=configs/phantom.py")
    lines = text.splitlines()
    table_lines = [line for line in lines if line.startswith("| ")]
    assert len({line.count("|") for line in table_lines[:8]}) == 1
    line = next(text for text in lines if text.startswith("| in_out | 3 | 24 |"))
    assert re.search(r"\| 79\.\d \(74\.\d to 85\.\d\) \|", line)
    (line,) = [text for text in lines if text.startswith("| in_out − in |")]
    assert re.search(r"\| 3 and 3 \| \*\*−5\.\d\*\* \(−5\.\d to −4\.\d\) \|", line)
    assert (
        "- in_out against in: in_out is significantly better (MAE; MAE, liver" in text
    )
    assert "supervised_in_out: one seed, not judged (MAE; " in text
    notes = text[text.index("**How to read") :]
    assert "one seed" in notes and "not corrected for multiple comparisons" in notes
    assert lines[0] == "--config=configs/phantom.py"
    (missing,) = paper.warnings
    assert missing.startswith("Not evaluated, so left out: supervised_in_out, seed 1; ")
    for shown in documents.render("table", paper).values():
        assert missing in shown or shown.startswith("table,group")


def test_files_are_replaced(tmp_path, monkeypatch):
    plan = make_plan("configs/phantom.py", {}, ["in"], ["0"])
    plan_file.add_to_folder(plan, tmp_path)
    run = EvaluatedRun(folder=tmp_path, results=make(subjects(60 + HARD)))
    monkeypatch.setattr(plan_file, "find_evaluation", lambda folder, _: run)
    for shown in (b"first", b"second"):
        monkeypatch.setattr(pictures, "draw", lambda folder, runs, shown=shown: shown)
        table.write_tables(tmp_path)
        assert (tmp_path / "pictures.png").read_bytes() == shown
    names = {f"table.{kind}" for kind in ("html", "md", "csv")}
    names |= {"sweep.json", "pictures.png"}
    assert {path.name for path in tmp_path.iterdir()} == names

"""Evaluation of known translations of a small made-up data set."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from html_page import HtmlPage

from input_pipeline.dataset.dataset import Dataset
from input_pipeline.dataset.manifest import Domain, Manifest, Subject
from input_pipeline.dataset.subject_volume import SubjectVolume
from input_pipeline.intensity import mr_to_unit
from synthct_jax.evaluation import (
    distribution,
    evaluate,
    metric_definitions,
    results,
    validation,
)
from synthct_jax.evaluation.ct_methods import Model
from synthct_jax.evaluation.subjects import read_subjects
from synthct_jax.metrics import haar_features
from synthct_jax.metrics.intervals import Interval

NAMES = ("outside", "fat", "muscle", "bone", "absent")
HU = np.array([-1024, -100, 60, 700])
MR = np.array([0, 14000, 8000, 1500])
PROVENANCE = {"step": 7, "workdir": "/runs/<a&b>", "config": {"seed": 0}}


def person(seed: int, slices: int = 5, size: int = 32):
    """MR (two channels), CT and labels of somebody, as stored."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] - (size - 1) / 2
    labels = np.zeros((slices, size, size), np.int16)
    labels[:, np.hypot(x, 1.2 * y) < 13] = 1
    labels[:, np.hypot(x, 1.2 * y) < rng.uniform(8, 11)] = 2
    labels[:, np.hypot(x, y - 4) < 2.5] = 3
    noise = rng.normal(0, 10, labels.shape)
    ct = np.where(labels > 0, HU[labels] + noise, -1024).round().astype(np.int16)
    mr = np.where(labels > 0, MR[labels] + 20 * noise, 0).round().astype(np.int16)
    return {
        "mr": np.stack([mr // 2, mr], axis=-1),
        "ct": ct[..., None],
        "labels": labels[..., None],
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class MadeUpDataset(Dataset):
    """A data set in memory: images by subject and domain."""

    images: dict = dataclasses.field(default_factory=dict)

    def subjects(self, domain, split):
        subjects = self.manifest.domains[domain].of_split(split)
        assert subjects, "such a split must not be read"
        for subject in subjects:
            yield SubjectVolume(
                name=subject.name,
                domain=domain,
                stored=self.images[subject.name][domain],
                spacing_mm=self.spacing_mm(subject),
            )


def made_up_data(*, test: int = 3, labels: bool = True):
    """Make data with four people for training, and some with everything for test.

    With labels, there is also one for validation.

    Returns:
        Arguments of `evaluate` and `validate`, and a function from MR to its CT.
    """
    people = {f"person_{i}": person(i) for i in range(4 + test + labels)}
    split = {name: "train" if i < 4 else "test" for i, name in enumerate(people)}
    if labels:
        split[f"person_{4 + test}"] = "validation"
    # Training subjects have one kind of image each; without labels so has everyone.
    has = {
        "mr": [n for i, n in enumerate(people) if i % 2 == 0 or (labels and i > 3)],
        "ct": [n for i, n in enumerate(people) if i % 2 == 1 or (labels and i > 3)],
        "labels": [n for n in people if labels and split[n] != "train"],
    }
    domains = {
        domain: Domain(
            channels={"mr": ("t2", "in_phase"), "ct": ("hu",)}.get(domain, ("l",)),
            subjects=tuple(
                Subject(
                    name=name,
                    split=split[name],
                    slices=5,
                    affine=tuple(map(tuple, np.diag([4.0, 4, 6, 1]))),
                    scale=(),
                )
                for name in names
            ),
            statistics={},
        )
        for domain, names in has.items()
        if names
    }
    manifest = Manifest(
        source="made_up",
        size=32,
        spacing_mm=4.0,
        mask_outside_body=True,
        mr_percentile=99.5,
        seed=0,
        domains=domains,
        label_names=NAMES if labels else (),
    )
    dataset = MadeUpDataset(folder=Path("data"), manifest=manifest, images=people)
    by_slice = {
        mr.tobytes(): ct[..., 0]
        for images in people.values()
        for mr, ct in zip(images["mr"], images["ct"], strict=True)
    }

    def perfect(mr: np.ndarray) -> np.ndarray:
        return np.array([by_slice[image.tobytes()] for image in mr], np.float32)

    return {"dataset": dataset, "split": "test"}, perfect


def run(translate, data, folder, *, cycle=None, curves=(), with_spread=None):
    model = Model(
        with_spread=with_spread,
        translate=translate,
        network_input=lambda mr: mr_to_unit(mr[..., [1]]),
        channels=("in_phase",),
        cycle=cycle,
    )
    return evaluate.evaluate(
        model, output_dir=folder, provenance=PROVENANCE, curves=curves, **data
    )


@pytest.fixture(scope="module", autouse=True)
def few_resamples():
    """Intervals of distances take most of the time; `distribution_test` tests them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "RESAMPLES", 20)
        yield


@pytest.fixture(scope="module")
def perfect_evaluation(tmp_path_factory):
    """Evaluation without an error, of a training with losses."""
    data, perfect = made_up_data()
    curves = [
        {"step": s, "cycle_ct": 3 / s, "cycle_mr": 2 / s, "learning_rate": 1e-4}
        for s in range(1, 40)
    ] + [{"step": 20, "validation_mae": 90.0, "validation_psnr": None}]
    return run(perfect, data, tmp_path_factory.mktemp("perfect"), curves=curves)


@pytest.fixture(scope="module")
def shifted_evaluation(tmp_path_factory):
    """Evaluation of a CT that is 30 HU too dense, in and outside of the body."""
    data, perfect = made_up_data()
    return run(lambda mr: perfect(mr) + 30, data, tmp_path_factory.mktemp("shifted"))


def test_spread_beside_errors_is_of_the_network_alone(tmp_path, perfect_evaluation):
    """The CT is 30 HU too dense, with a spread that covers half of the slices."""
    data, perfect = made_up_data()

    def with_spread(mr):
        hu = perfect(mr) + 30
        return hu, np.where(np.arange(len(hu)) % 2, 5, 40)[:, None, None] + 0 * hu

    evaluated = run(
        lambda mr: with_spread(mr)[0], data, tmp_path / "out", with_spread=with_spread
    ).results
    assert evaluated.interval("mae").value == pytest.approx(30)
    assert 20 < evaluated.interval("spread_coverage").value < 80
    factor = evaluated.interval("spread_factor").value
    assert factor == pytest.approx(30 / 5 / 1.645, rel=1e-3)
    methods = {row.method for row in evaluated.rows if row.metric == "spread_factor"}
    assert methods == {"network"}
    names = perfect_evaluation.results.metrics("paired")
    assert "mae" in names and "spread_coverage" not in names


def test_perfect_translation_has_no_error(perfect_evaluation):
    evaluated = perfect_evaluation.results
    errors = {name: evaluated.interval(name) for name in evaluated.metrics("paired")}
    assert [errors[name].value for name in ("mae", "rmse", "me")] == [0, 0, 0]
    assert errors["psnr"].value == np.inf
    assert errors["bone_dice"].value == 1 and errors["bone_hd95"].value == 0
    assert errors["path_length_mae"].value == pytest.approx(0, abs=1e-6)
    # SSIM needs seven slices, these volumes have five.
    assert errors["ssim"].n == 0
    assert not evaluated.outside()
    stored = results.read_json(perfect_evaluation.folder / "metrics.json")
    assert np.isnan(stored.interval("psnr").value)  # no infinity in JSON
    assert stored.data == evaluated.data


def test_planted_shift_is_reported_in_every_tissue(shifted_evaluation):
    evaluated = shifted_evaluation.results
    assert evaluated.interval("me") == Interval(value=30, low=30, high=30, n=3)
    assert evaluated.interval("mae").value == 30
    tissues = evaluated.regions("tissue")
    assert tissues == ["tissue:fat", "tissue:muscle", "tissue:bone"]  # in nobody: none
    assert {evaluated.interval("me", region=name).value for name in tissues} == {30}


def test_baselines_are_evaluated_beside_the_network(shifted_evaluation):
    evaluated = shifted_evaluation.results
    mae = {
        method: evaluated.interval("mae", method).value for method in evaluated.methods
    }
    fat = evaluated.interval("mae", "water", "tissue:fat")
    assert fat.value == pytest.approx(100, rel=0.02)
    muscle = evaluated.interval("me", "water", "tissue:muscle")
    assert muscle.value == pytest.approx(-60, rel=0.02)
    # Fat is bright on MR and dark on CT: the mapped histogram swaps it with bone.
    assert evaluated.interval("me", "histogram", "tissue:fat").value > 100
    assert mae["network"] < min(mae["water"], mae["histogram"])
    # Its bone is as dark as air on MR, its fat and muscle are 20 HU off or less.
    fat = evaluated.interval("me", "thresholds", "tissue:fat")
    assert fat.value == pytest.approx(0, abs=2)
    for tissue in ("fat", "muscle", "bone"):
        median = evaluated.interval("me", "medians", f"tissue:{tissue}")
        assert median.value == pytest.approx(0, abs=4)
    assert evaluated.best_baseline() == "medians"
    assert "MAE in the body: 30.0 HU (30.0 to 30.0), 3 subjects" in results.summary(
        evaluated
    )


def test_unpaired_data_have_no_errors_and_the_report_says_so(tmp_path):
    data, _ = made_up_data(test=4, labels=False)
    evaluation = run(
        lambda mr: np.where(mr[..., 1] > 4000, 50.0, -1000), data, tmp_path / "out"
    )
    evaluated = evaluation.results
    assert not evaluated.paired and not evaluated.metrics("paired")
    assert not evaluated.regions("tissue")
    # They need a reference CT.
    assert not {"thresholds", "medians", "bulk"} & set(evaluated.methods)
    assert any("two thresholds" in text for text in evaluated.data["warnings"])
    distance = evaluated.interval(haar_features.NAME)
    assert distance.value > 0 and distance.low is None
    # Two real CT: one against the other, and synthetic CT of as many.
    halves = {"synthetic": [1, 5], "real": [1, 5], "first_real": 1}
    assert evaluated.data["halves"] == halves
    assert evaluated.reference_range(haar_features.NAME).n == 2
    assert evaluated.is_outside(haar_features.NAME) is None
    assert evaluated.judged() == 0  # two subjects judge nothing
    page = HtmlPage(evaluation.report)
    assert "MR and CT are of different subjects" in page.text
    assert "The real CT is of another subject" in page.text
    assert "There are only 2 subjects" in page.text
    assert not any(row[0].startswith("MAE") for row in page.rows)


def test_pairs_without_labels_have_errors_in_the_body_and_by_hu(tmp_path):
    data, perfect = made_up_data(test=1)
    manifest = data["dataset"].manifest
    images_alone = {name: manifest.domains[name] for name in ("mr", "ct")}
    manifest = dataclasses.replace(manifest, domains=images_alone, label_names=())
    data["dataset"] = dataclasses.replace(data["dataset"], manifest=manifest)
    evaluation = run(lambda mr: perfect(mr) + 30, data, tmp_path / "out")
    evaluated = evaluation.results
    assert evaluated.interval("me").value == pytest.approx(30)
    assert evaluated.interval("me", region="band:bone").value == pytest.approx(30)
    assert not evaluated.regions("tissue")
    assert "differs from the reference CT by 30 HU" in HtmlPage(evaluation.report).text


def test_cycle_error_is_reported_by_channel(tmp_path):
    data, perfect = made_up_data(test=1)
    back = {}

    def translate(mr):
        hu = perfect(mr)
        back[hu.tobytes()] = mr_to_unit(mr[..., [1]])
        return hu

    def cycle(hu):
        return back[hu.tobytes()] - 0.1  # 5 % of [-1, 1]

    evaluated = run(translate, data, tmp_path / "out", cycle=cycle).results
    assert evaluated.interval("cycle_in_phase").value == pytest.approx(5)
    assert evaluated.interval("cycle_in_phase", "water") is None
    outline = evaluated.interval("outline_dice")
    assert outline.value == pytest.approx(
        evaluated.reference_range("outline_dice").value
    )
    assert outline.value > 0.9


def test_split_without_ct_is_compared_with_training_ct(tmp_path):
    data, _ = made_up_data(test=1, labels=False)
    evaluation = run(lambda mr: mr[..., 0] * 0.0, data, tmp_path / "out")
    assert evaluation.results.data["real_ct_split"] == "train"
    assert "The test split has no CT" in HtmlPage(evaluation.report).text


def test_json_and_csv_hold_the_same_numbers(shifted_evaluation):
    evaluated, folder = shifted_evaluation.results, shifted_evaluation.folder
    stored = json.loads((folder / "metrics.json").read_text())
    assert stored["format"] == results.FORMAT
    assert stored["provenance"] == PROVENANCE
    read = results.read_json(folder / "metrics.json")
    assert read.interval("mae", "water") == evaluated.interval("mae", "water")
    assert [row[:4] for row in read.rows] == [row[:4] for row in evaluated.rows]
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(evaluated.rows)
    body = {
        row["method"]: float(row["value"])
        for row in rows
        if (row["subject"], row["region"], row["metric"]) == ("", "body", "mae")
    }
    assert body == {m: evaluated.interval("mae", m).value for m in evaluated.methods}
    assert {row["unit"] for row in rows if row["metric"] == "mae"} == {"HU"}
    assert {row["subject"] for row in rows} == {"", "person_4", "person_5", "person_6"}


def test_results_with_an_unknown_metric_are_refused(shifted_evaluation, tmp_path):
    text = (shifted_evaluation.folder / "metrics.json").read_text()
    (tmp_path / "metrics.json").write_text(text.replace('"mae"', '"old"'))
    with pytest.raises(ValueError, match="metrics.json: .*unknown metric old"):
        results.read_json(tmp_path / "metrics.json")


def test_mean_over_subjects_has_an_interval_within_the_limits(tmp_path):
    data, perfect = made_up_data()
    evaluated = run(
        lambda mr: perfect(mr) + 0.2 * mr[..., 0] - 300, data, tmp_path / "o"
    )
    for row in evaluated.results.rows:
        low, high = metric_definitions.named(row.metric, row.region).limits
        assert not row.value < low and not row.value > high
        if row.low is not None:
            assert low <= row.low <= row.high <= high, row
    dice = evaluated.results.interval("bone_dice")
    values = list(evaluated.results.values("bone_dice").values())
    assert dice.value == pytest.approx(np.mean(values)) and dice.n == 3


def test_new_metric_needs_only_its_definition(tmp_path, monkeypatch):
    data, perfect = made_up_data(test=1)
    definition = metric_definitions.Metric(
        "Largest error", "HU", "lower", 0, (0.0, np.inf), "largest absolute error",
        lambda ct: float(np.abs(ct.hu - ct.reference_ct)[ct.body].max()),
    )  # fmt: skip
    monkeypatch.setitem(metric_definitions.PAIRED, "largest_error", definition)
    done = run(lambda mr: perfect(mr) + 30, data, tmp_path / "out")
    assert done.results.interval("largest_error").value == 30
    assert "largest_error" in (tmp_path / "out" / "metrics.csv").read_text()
    assert "Largest error" in done.report.read_text()


def test_report_is_one_file_without_network(perfect_evaluation):
    report = perfect_evaluation.report
    page = HtmlPage(report)
    assert sorted(path.name for path in report.parent.iterdir()) == sorted(
        ("report.html", "metrics.json", "metrics.csv")
    )
    assert not page.links and "http" not in page.text
    assert {source.partition(",")[0] for source in page.sources} == {
        "data:image/png;base64"
    }
    assert "not a medical device" in page.text
    assert "/runs/<a&b>" in page.text
    for rank in ("Best", "Median", "Worst"):
        assert f"{rank}: person_" in page.text
    assert len(page.pictures) == 6  # three slices, histograms, spectra, losses


def test_earlier_evaluation_is_replaced_only_by_a_whole_one(tmp_path, monkeypatch):
    data, perfect = made_up_data(test=1)
    run(lambda mr: perfect(mr) + 30, data, tmp_path / "out")
    again = run(perfect, data, tmp_path / "out")
    assert results.read_json(again.folder / "metrics.json").interval("mae").value == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]  # nothing left behind
    before = (tmp_path / "out" / "metrics.json").read_bytes()

    def fail(*args, **kwargs):
        raise RuntimeError("no space left")

    monkeypatch.setattr(evaluate.evaluation_page, "render", fail)
    with pytest.raises(RuntimeError):
        run(lambda mr: perfect(mr) + 30, data, tmp_path / "out")
    assert (tmp_path / "out" / "metrics.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="thesis.tex"):
        run(perfect, data, tmp_path / "out")


@pytest.mark.parametrize(
    ("translate", "message"),
    [
        (lambda mr: mr[..., 0][:, ::2] * 1.0, r"person_4: .* was translated to"),
        (lambda mr: np.full(mr.shape[:3], np.nan), "person_4: .* not finite"),
    ],
)
def test_broken_translation_is_refused(tmp_path, translate, message):
    data, _ = made_up_data(test=1)
    with pytest.raises(ValueError, match=message):
        run(translate, data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_validation_translates_few_slices_and_ranks_models(monkeypatch):
    data, perfect = made_up_data()
    monkeypatch.setattr(validation, "_SLICES", 6)
    seen = []

    def shifted(mr):
        seen.append(len(mr))
        return perfect(mr) + 30

    evaluated = validation.validate(shifted, **data)
    assert seen == [2, 2, 2]
    assert evaluated["mae"] == evaluated["me"] == 30
    best = validation.validate(perfect, **data)
    assert best["mae"] == 0
    assert best["frechet_haar"] == pytest.approx(0, abs=1e-6)
    assert best["frechet_haar"] < evaluated["frechet_haar"]


def test_validation_of_unpaired_data_has_only_the_frechet_distance():
    data, _ = made_up_data(test=4, labels=False)
    evaluated = validation.validate(lambda mr: mr[..., 1] / 100.0, **data)
    assert list(evaluated) == ["frechet_haar"]


def test_validation_skips_slices_without_a_body():
    data, perfect = made_up_data()
    images = data["dataset"].images

    def validate_without_bodies(*names):
        for name in names:
            images[name]["labels"] = np.zeros_like(images[name]["labels"])
        return validation.validate(lambda mr: perfect(mr) + 30, **data)

    assert validate_without_bodies("person_4")["mae"] == 30
    assert list(validate_without_bodies("person_5", "person_6")) == ["frechet_haar"]


def test_only_what_the_reference_ct_shows_counts_as_body():
    """The mask of the CT cuts a part of the skin away; gas inside stays."""
    data, _ = made_up_data(test=1)
    (name,) = (s.name for s in data["dataset"].manifest.domains["mr"].of_split("test"))
    images = data["dataset"].images[name]
    labels, ct = images["labels"][..., 0], images["ct"][..., 0]
    cut = labels > 0
    cut[..., :-1] &= labels[..., 1:] == 0
    gas = np.zeros_like(cut)
    gas[:, 15:17, 15:17] = True
    images["ct"] = np.where(cut | gas, -1024, ct)[..., None]
    (subject,) = read_subjects(**data)
    assert cut.sum() > 0
    np.testing.assert_array_equal(subject.body, (labels > 0) & ~cut)
    np.testing.assert_array_equal(
        subject.voxels_of(["fat"]), (labels == NAMES.index("fat")) & ~cut
    )

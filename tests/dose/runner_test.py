"""The check of many plans: what is kept, what is reported, and what is refused."""

import csv
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from input_pipeline.scans.nifti import write_nifti
from input_pipeline.volume import UnusableScan, Volume
from synthct_jax.dose import runner
from synthct_jax.dose.cases import Case, case_of_files
from synthct_jax.dose.plans import check_gantry
from synthct_jax.dose.structures import Structures
from synthct_jax.evaluation.results import NETWORK

SPACING_MM = (6.0, 4.0, 4.0)


@dataclasses.dataclass
class FixedPlan:
    """Dose that is the target's, more where the CT is denser."""

    target: np.ndarray
    fields: int

    def dose_on(self, hu):
        return np.stack([self.target * (100 + hu / 10)] * self.fields) / self.fields


class CountedEngine:
    """An engine of this test that counts its plans."""

    def __init__(self, *settings):
        self.planned, self.settings = [], settings

    def optimise(self, hu, structures, spacing_mm, plan):
        self.planned.append(plan.name)
        fixed = FixedPlan(structures.target, len(plan.gantry_degrees))
        return fixed, fixed.dose_on(hu)

    def as_engine(self) -> runner.Engine:
        return runner.Engine(
            version="counted 1", settings=self.settings, optimise=self.optimise
        )


def make_case(name: str, difference_hu: float) -> Case:
    body = np.zeros((8, 20, 20), bool)
    body[:, 2:18, 2:18] = True
    target, organ = np.zeros_like(body), np.zeros_like(body)
    target[3:5, 8:12, 8:12] = True
    organ[3:5, 13:15, 8:12] = True
    hu = np.where(body, 0.0, -1024.0).astype(np.float32)
    return Case(
        name=name,
        spacing_mm=SPACING_MM,
        reference_ct=hu,
        cts={
            NETWORK: hu + np.float32(difference_hu),
            "water": hu,
            "bulk": hu,
        },
        sites={
            "liver": Structures(target=target, organs={"kidneys": organ}, body=body)
        },
    )


def check(cases, output, engine):
    return runner.check_cases(
        cases, len(cases), engine=engine.as_engine(), output=output, source={"data": 1}
    )


def test_the_report_holds_each_plan_and_the_means_over_subjects(tmp_path):
    output = tmp_path / "dose"
    page = check([make_case("a", 10.0), make_case("b", 30.0)], output, CountedEngine())
    assert sorted(path.name for path in output.iterdir()) == [
        "dose.csv",
        "dose.json",
        "report.html",
    ]
    text = page.read_text()
    assert "liver, photons" in text and "liver, protons" in text
    assert text.count("<figure>") == 4
    lines = csv.DictReader((output / "dose.csv").read_text().splitlines())
    rows = {
        (r["subject"], r["method"], r["plan"], r["structure"], r["quantity"]): r
        for r in lines
    }
    key = (NETWORK, "liver_photons", "target", "mean_difference")
    assert float(rows["a", *key]["value"]) == pytest.approx(1.0, abs=1e-4)
    assert float(rows["b", *key]["value"]) == pytest.approx(3.0, abs=1e-4)
    mean = rows["", *key]
    assert float(mean["value"]) == pytest.approx(2.0, abs=1e-4) and mean["n"] == "2"
    assert float(mean["low"]) == pytest.approx(2 - 12.706, abs=1e-2)
    assert mean["unit"] == "% of prescribed dose"
    for criterion in ("gamma_1_1", "gamma_2_2", "gamma_3_3"):
        gamma = rows["a", NETWORK, "liver_protons", "body", criterion]
        assert float(gamma["value"]) == 100
    content = json.loads((output / "dose.json").read_text())
    assert content["engine"] == "counted 1" and content["data"] == 1


def test_a_finished_plan_is_not_computed_again(tmp_path):
    engine, cases = CountedEngine(), [make_case("a", 10.0), make_case("b", 30.0)]
    check(cases[:1], tmp_path / "dose", engine)
    assert engine.planned == ["liver_photons", "liver_protons"]
    before = (tmp_path / "dose" / "dose.csv").read_text()
    check(cases[:1], tmp_path / "dose", engine)
    assert len(engine.planned) == 2
    assert (tmp_path / "dose" / "dose.csv").read_text() == before
    check(cases, tmp_path / "dose", engine)
    assert len(engine.planned) == 4
    check([make_case("a", 11.0)], tmp_path / "dose", engine)
    assert len(engine.planned) == 6
    finer = CountedEngine(3.0)
    check(cases[:1], tmp_path / "dose", finer)
    assert len(finer.planned) == 2


@pytest.mark.parametrize("content", ["", '{"subject": "a"}', "[1]", b"\xff"])
def test_a_damaged_kept_plan_is_named_and_computed_again(tmp_path, caplog, content):
    case, engine = make_case("a", 10.0), CountedEngine()
    check([case], tmp_path / "dose", engine)
    damaged = sorted((tmp_path / "dose_plans").iterdir())[0]
    whole = damaged.read_text()
    damaged.write_bytes(content if isinstance(content, bytes) else content.encode())
    check([case], tmp_path / "dose", engine)
    assert len(engine.planned) == 3 and damaged.read_text() == whole
    assert f"{damaged}: expected a finished plan" in caplog.text


def test_a_plan_that_cannot_be_optimised_is_named(tmp_path):
    def optimise(*_):
        raise ValueError("half of the target receives 0 %")

    engine = runner.Engine(version="none 1", settings=(), optimise=optimise)
    with pytest.raises(ValueError, match="a, liver_photons: half of the target"):
        runner.check_cases(
            [make_case("a", 0.0)], 1, engine=engine, output=tmp_path / "o", source={}
        )


def test_outputs_that_cannot_be_written_are_refused_first(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "load_engine", CountedEngine().as_engine)
    (tmp_path / "dose_plans").touch()
    with pytest.raises(ValueError, match="dose_plans is a file, expected a folder"):
        runner.check_files("none", "none", "none", output=tmp_path / "dose")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="holds 'dose_plans', which no dose check"):
        runner.check_files("none", "none", "none", output=Path("."))


def test_warnings_of_cases_are_on_the_page_and_in_the_numbers(tmp_path):
    warned = dataclasses.replace(make_case("b", 0.0), sites={}, warnings=("b is out",))
    page = check([make_case("a", 0.0), warned], tmp_path / "dose", CountedEngine())
    assert "b is out" in page.read_text()
    content = json.loads((tmp_path / "dose" / "dose.json").read_text())
    assert content["warnings"] == ["b is out"]


def test_an_interrupted_check_leaves_no_report_and_keeps_its_plans(tmp_path):
    class Interrupted(CountedEngine):
        def optimise(self, hu, structures, spacing_mm, plan):
            if self.planned:
                raise KeyboardInterrupt
            return super().optimise(hu, structures, spacing_mm, plan)

    case = make_case("a", 10.0)
    with pytest.raises(KeyboardInterrupt):
        check([case], tmp_path / "dose", Interrupted())
    assert not (tmp_path / "dose").exists()
    engine = CountedEngine()
    check([case], tmp_path / "dose", engine)
    assert engine.planned == ["liver_protons"]


def test_subjects_without_a_target_are_refused(tmp_path):
    case = dataclasses.replace(make_case("a", 0.0), sites={})
    with pytest.raises(ValueError, match="no subject has a target"):
        check([case], tmp_path / "dose", CountedEngine())


def write(path, image, pixel_mm, moved_mm=0.0):
    affine = np.diag([-pixel_mm, -pixel_mm, 5.0, 1.0])
    affine[0, 3] = moved_mm
    volume = Volume(
        voxels=image[..., None].astype(np.float32),
        affine=affine,
        modality="CT",
        channels=("hu",),
    )
    write_nifti(path, image.astype(np.int16), volume)
    return str(path)


@pytest.mark.parametrize("pixel_mm", [2.0, 5.0])
def test_files_are_read_on_the_dose_grid(tmp_path, pixel_mm):
    y, x = np.mgrid[:60, :60] * pixel_mm - 29.5 * pixel_mm
    away_mm = np.hypot(x, y) * np.ones((8, 1, 1))
    hu = np.where(away_mm < 24 * pixel_mm, 40, -1000)
    labels = np.select([away_mm < 20, (away_mm < 40) & (x > 0)], [1, 2], 0)
    truth = write(tmp_path / "ct.nii.gz", hu, pixel_mm)
    mask = write(tmp_path / "mask.nii.gz", labels, pixel_mm)
    case = case_of_files(truth, truth, mask, organs={2: "cord"})
    grid_mm = max(pixel_mm, 4.0)
    assert case.spacing_mm == pytest.approx((5.0, grid_mm, grid_mm))
    np.testing.assert_array_equal(case.cts[NETWORK], case.reference_ct)
    (structures,) = case.sites.values()
    area = structures.target.sum() / 8 * grid_mm**2
    assert area == pytest.approx(np.pi * 20**2, rel=0.1)
    assert set(structures.organs) == {"cord"}
    (at_the_end,) = case.warnings  # 8 slices of 5 mm
    assert at_the_end.startswith("The centre of the target lies 18 mm from the first")
    moved = write(tmp_path / "moved.nii.gz", labels, pixel_mm, moved_mm=4.0)
    with pytest.raises(UnusableScan, match="moved.nii.gz and .*ct.nii.gz lie up to 4"):
        case_of_files(truth, truth, moved, organs={})
    empty = write(tmp_path / "empty.nii.gz", 2 * (labels == 2), pixel_mm)
    with pytest.raises(ValueError, match="empty.nii.gz: the mask has labels 0, 2"):
        case_of_files(truth, truth, empty, organs={})
    air = write(tmp_path / "air.nii.gz", np.full_like(hu, -1000), pixel_mm)
    with pytest.raises(UnusableScan, match="air.nii.gz: no voxel of a body"):
        case_of_files(truth, air, mask, organs={})


def test_a_structure_that_the_dose_grid_loses_is_refused(tmp_path):
    y, x = np.mgrid[:60, :60] * 2.0 - 59
    away_mm = np.hypot(x, y) * np.ones((8, 1, 1))
    labels = np.select([away_mm < 20, abs(x - 31) < 1.5], [1, 2], 0) * np.ones(
        (8, 1, 1)
    )
    truth = write(tmp_path / "ct.nii.gz", np.where(away_mm < 48, 40, -1000), 2.0)
    mask = write(tmp_path / "mask.nii.gz", labels, 2.0)
    with pytest.raises(ValueError, match="mask.nii.gz: label 2 has .* are 4 mm"):
        case_of_files(truth, truth, mask, organs={})


def test_a_target_cut_by_the_body_is_counted(tmp_path):
    y, x = np.mgrid[:60, :60] * 4.0 - 118
    away_mm = np.hypot(x, y) * np.ones((20, 1, 1))
    labels = ((abs(x - 90) < 20) & (abs(y) < 10)) * np.ones((20, 1, 1))
    truth = write(tmp_path / "ct.nii.gz", np.where(away_mm < 96, 40, -1000), 4.0)
    mask = write(tmp_path / "mask.nii.gz", labels, 4.0)
    case = case_of_files(truth, truth, mask, organs={})
    drawn, kept = int(labels.sum()), case.sites["target"].target.sum()
    assert 0 < kept < drawn
    (cut,) = case.warnings
    assert cut.startswith(f"{drawn - kept} of {drawn} voxels of the target lie outside")


def test_a_missing_engine_is_named(monkeypatch):
    monkeypatch.delattr("synthct_jax.dose.engine", raising=False)
    monkeypatch.delitem(sys.modules, "synthct_jax.dose.engine", raising=False)
    monkeypatch.setitem(sys.modules, "pyRadPlan", None)
    with pytest.raises(ValueError, match="dose needs pyRadPlan, which is not inst"):
        runner.load_engine()


@pytest.mark.parametrize("angles", [["360"], ["-1"], ["left"], ["10", "10.0"]])
def test_directions_outside_a_turn_are_refused(angles):
    with pytest.raises(ValueError, match=f"--gantry has '{angles[-1]}'"):
        check_gantry(angles)

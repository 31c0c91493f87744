"""HU of organs, by labels and by regions."""

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from paths import REPOSITORY
from tiny_run import tiny_run

from input_pipeline.phantom import TISSUES, draw_subject
from input_pipeline.scans.nifti import write_nifti
from input_pipeline.volume import Volume
from synthct_jax.evaluation import organs
from synthct_jax.evaluation.ct_files import SYNTHETIC_CT

AFFINE = np.diag([-2.0, -3.0, 5.0, 1.0])  # axial order: i, j, k are column, row, slice
GRID = {
    "slices_rows_columns": [4, 5, 6],
    "spacing_mm": [5, 3, 2],
    "first_voxel_ras_mm": [0, 0, 0],
}
LIVER = {"name": "dome", "organ": "liver", "slice": 1, "row": 2, "column": 3}
LABELS = ("1:liver", "2:lung")


def save(path: Path, values: np.ndarray, affine=AFFINE) -> str:
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), affine), path)
    return str(path)


@pytest.fixture
def ct(tmp_path) -> str:
    """A CT of 60 HU with a voxel of 200 HU, as an output of translate."""
    hu = np.full((6, 5, 4), 60.0)
    hu[3, 2, 1] = 200
    (tmp_path / "out").mkdir()
    save(tmp_path / "out" / SYNTHETIC_CT, hu)
    return str(tmp_path / "out")


def regions(path: Path, grid=GRID, **fields) -> str:
    region = LIVER | {"radius_mm": 3} | fields
    path.write_text(json.dumps({"grid": grid, "regions": [region]}))
    return str(path)


def test_labels_stored_in_another_order_are_measured(ct, tmp_path):
    labels = np.zeros((6, 5, 4))
    labels[3, :2, 1], labels[3, 2, 1], labels[0, 0, 0] = 1, 2, 7
    flipped = AFFINE @ np.diag([1, 1, -1, 1])
    flipped[2, 3] = 15
    mask = save(tmp_path / "mask.nii.gz", labels[:, :, ::-1], flipped)
    table = tmp_path / "organs.csv"
    text = organs.report(f"{ct},{ct}", [mask], (*LABELS, "3:gas"), output=table)
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["voxels"] for row in rows[:3]] == ["2", "1", "0"]
    assert rows[0]["median"] == "60.0" and rows[0]["in_range"] == "True"
    assert rows[1]["outside"] == "1.0" and rows[1]["in_range"] == "False"
    assert rows[2]["median"] == ""  # the mask does not have it
    assert len(rows) == 6 and text.endswith("2 of 4 medians are in range")


def test_regions_are_discs_in_one_slice(ct, tmp_path):
    row, *others = organs.measure([ct], [regions(tmp_path / "r.json")], labels={})
    # Rows are 3 mm and columns 2 mm apart: 5 pixels are within 3 mm.
    assert (row.region, row.voxels, others) == ("dome", 5, [])
    assert (row.median, row.outside, row.percentile_95) == (60, 0.2, 172)
    (enhanced,) = organs.measure(
        [ct], [regions(tmp_path / "r.json")], labels={}, contrast="portal_venous"
    )
    assert row.in_range and not enhanced.in_range


def test_unusable_masks_are_refused_by_name(ct, tmp_path):
    def refused(match, mask, labels=LABELS):
        with pytest.raises(ValueError, match=match):
            organs.report(ct, [mask], labels)

    whole = save(tmp_path / "m.nii.gz", np.ones((6, 5, 4)))
    refused("--organs must say which organ", whole, ())
    refused("'livr', expected one of liver, spleen", whole, ("1:livr",))
    refused("gas; did you mean kidney", whole, ("1:Kidneys",))
    refused("'liver', expected LABEL:ORGAN", whole, ("liver",))
    halves = save(tmp_path / "half.nii.gz", np.full((6, 5, 4), 0.5))
    refused(r"half.nii.gz: a voxel is 0.5, expected integer labels", halves)
    shifted = AFFINE.copy()
    shifted[1, 3] = 4
    moved = save(tmp_path / "moved.nii.gz", np.ones((6, 5, 4)), shifted)
    refused("moved.nii.gz and .*out.* lie up to 4 mm apart.*on the grid of the", moved)
    small = GRID | {"slices_rows_columns": [4, 5, 7]}
    refused(
        r"small.json has .* \(4, 5, 7\) and .* has",
        regions(tmp_path / "small.json", small),
    )
    refused("'dome': slice 4, expected 0 to 3", regions(tmp_path / "r.json", slice=4))
    (tmp_path / "x.json").write_text("{}")
    refused("x.json: neither labels in NIfTI nor regions", str(tmp_path / "x.json"))


def test_regions_of_the_repository_cover_every_organ(tmp_path):
    for path in (REPOSITORY / "configs" / "regions").glob("*.json"):
        grid = json.loads(path.read_text())["grid"]
        affine = np.diag([-1.0, -1.0, 1.0, 1.0])
        affine[:3, :3] *= grid["spacing_mm"][::-1]
        affine[:3, 3] = grid["first_voxel_ras_mm"]
        shape = grid["slices_rows_columns"][::-1]
        ct = save(tmp_path / "ct.nii", np.zeros(shape), affine)
        rows = organs.measure([ct], [str(path)], labels={})
        assert {row.organ for row in rows} == set(organs.tissues.ORGANS)
        assert len({row.region for row in rows}) == len(rows)
        assert min(row.voxels for row in rows) >= 10


def test_rule_of_thresholds_is_measured_on_an_mr(tmp_path):
    tiny = tiny_run()
    subject = draw_subject(7, size=64, spacing_mm=6.0, slices=4, slice_mm=9.0)
    volume = Volume(
        voxels=subject.mr,
        affine=subject.affine,
        modality="MR",
        channels=("in_phase", "out_of_phase", "t2"),
    )
    mr, labels = tmp_path / "in_phase.nii.gz", tmp_path / "labels.nii.gz"
    write_nifti(mr, subject.mr[..., 0], volume)
    write_nifti(labels, subject.labels.astype(np.int16), volume)
    fat = f"{TISSUES.index('subcutaneous_fat')}:fat"
    table = organs.report(
        str(mr), [str(labels)], [fat], data_dir=tiny.data_dir, output=None
    )
    assert "1 of 1 medians are in range" in table
    with pytest.raises(FileNotFoundError, match="not a prepared data set"):
        organs.report(str(mr), [str(labels)], [fat], data_dir=tmp_path)

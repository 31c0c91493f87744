"""Errors of one CT file against another."""

import csv

import numpy as np
import pytest

from input_pipeline.scans.nifti import write_nifti
from input_pipeline.volume import UnusableScan, Volume
from synthct_jax.evaluation import score


@pytest.fixture
def files(tmp_path):
    """A reference CT, one that is 10 HU denser, its middle as a mask, and one moved."""
    y, x = np.mgrid[:40, :40] - 19.5
    hu = np.where(np.hypot(x, y) < 15, 50, -1000) * np.ones((8, 1, 1))
    hu[:, 18:22, 18:22] = 800
    middle = (np.hypot(x, y) < 5) * np.ones((8, 1, 1))
    images = {"ct": hu, "denser": hu + 10, "mask": middle, "moved": hu}
    for name, image in images.items():
        affine = np.diag([-4.0, -4.0, 5.0, 1.0])
        affine[0, 3] = 4.0 * (name == "moved")
        volume = Volume(
            voxels=image[..., None].astype(np.float32),
            affine=affine,
            modality="CT",
            channels=("hu",),
        )
        write_nifti(tmp_path / f"{name}.nii.gz", image.astype(np.int16), volume)
    return {name: str(tmp_path / f"{name}.nii.gz") for name in images}


def test_errors_are_those_of_the_body_or_of_a_mask(files, tmp_path):
    output = tmp_path / "scores.csv"
    text = score.report(files["denser"], files["ct"], output=output)
    assert "mae" in text and "10.000 HU" in text
    lines = csv.DictReader(output.read_text().splitlines())
    rows = {(line["region"], line["metric"]): line for line in lines}
    for region in ("body", "band:soft_tissue", "band:bone"):
        assert float(rows[region, "me"]["value"]) == pytest.approx(10)
    assert float(rows["body", "bone_dice"]["value"]) == 1
    assert rows["body", "mae"]["unit"] == "HU"
    within = score.score(files["ct"], files["ct"], files["mask"])
    errors = {row.metric: row.value for row in within if row.region == "body"}
    assert errors["mae"] == 0 and errors["ssim"] == 1


def test_files_on_other_grids_are_refused_by_name(files):
    with pytest.raises(UnusableScan, match="moved.nii.gz and .*ct.nii.gz lie up to 4"):
        score.score(files["moved"], files["ct"])
    with pytest.raises(UnusableScan, match="moved.nii.gz and .*ct.nii.gz lie up to 4"):
        score.score(files["ct"], files["ct"], files["moved"])
    with pytest.raises(FileNotFoundError, match="nothing.nii"):
        score.score("nothing.nii", files["ct"])

"""The written CT series lies on its MR in every geometry, by other programs as well.

    python -m pytest -s -n0 tests/input_pipeline/series_geometry_test.py

prints how many geometries were read back, and the largest distance of a voxel from its
place. Geometries are oblique, left-handed or not, and anisotropic.
"""

import itertools
import re
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from fake_dicom import Geometry, write_series
from programs import need
from scipy.stats import special_ortho_group

from input_pipeline.scans.dicom_geometry import LPS_TO_RAS
from input_pipeline.scans.dicom_reader import read_dicom
from input_pipeline.scans.dicom_writer import CtSeries
from input_pipeline.volume import Volume, to_axial

TOLERANCE_MM = 1e-4
RAS = np.diag([*np.diag(LPS_TO_RAS), 1.0])


def draw_volume(rng: np.random.Generator, folder: Path) -> Volume:
    """Draw an MR: every fifth is read from DICOM, the others are made up."""
    shape = tuple(int(n) for n in rng.integers(2, (4, 6, 6)))
    spacing = np.exp(rng.uniform(np.log(0.3), np.log(9.0), 3))
    if rng.integers(5) == 0:
        geometry = Geometry(
            shape=shape,
            row_mm=round(spacing[0], 6),
            column_mm=round(spacing[1], 6),
            step_mm=round(spacing[2], 6),
            first_lps=tuple(rng.uniform(-300, 300, 3)),
            degrees=tuple(rng.uniform(-180, 180, 3)),
        )
        values = rng.integers(0, 900, shape)

        def with_echo(image, _):
            image.EchoTime = 4.6
            return image

        write_series(folder, values, geometry=geometry, modality="MR", edit=with_echo)
        return read_dicom(folder, modality="MR", channels=("in_phase",))
    affine = np.eye(4)
    affine[:3, :3] = special_ortho_group.rvs(3, random_state=rng) * spacing
    if rng.integers(2):
        affine[:3, 0] *= -1
    affine[:3, 3] = rng.uniform(-300, 300, 3)
    voxels = np.zeros((*shape, 1), np.float32)
    return Volume(voxels=voxels, affine=affine, modality="MR", channels=("in_phase",))


def as_axial(values: np.ndarray, affine: np.ndarray) -> Volume:
    voxels = np.asarray(values, np.float32)[..., None]
    return to_axial(
        Volume(voxels=voxels, affine=affine, modality="CT", channels=("hu",))
    )


def by_ours(paths) -> Volume:
    return to_axial(read_dicom(Path(paths[0]).parent, modality="CT"))


def by_simple_itk(paths) -> Volume:
    image = SimpleITK.ReadImage(paths)
    affine = np.eye(4)
    directions = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = directions * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return as_axial(SimpleITK.GetArrayFromImage(image), RAS @ affine)


def by_dcm2niix(paths) -> Volume:
    folder = Path(paths[0]).parent
    command = ["dcm2niix", "-b", "n", "-f", "ct", "-o", folder.parent, folder]
    subprocess.run(command, check=True, capture_output=True)
    image = nibabel.load(folder.parent / "ct.nii")
    return as_axial(np.asarray(image.dataobj).T, image.affine)


def by_dcmtk(paths) -> Volume:
    """Take positions and pixels from what DCMTK prints of each file."""
    positions, planes = [], []
    for path in paths:
        command = ["dcmdump", "+L", "-M", path]
        options = dict(check=True, capture_output=True, encoding="latin-1")
        done = subprocess.run(command, **options)
        element = re.compile(r"^\((\w{4},\w{4})\) \w\w \[?([^\]#]*)", re.MULTILINE)
        texts = dict(element.findall(done.stdout))
        position, cosines, spacing = (
            np.array(texts[tag].strip().split("\\"), float)
            for tag in ("0020,0032", "0020,0037", "0028,0030")
        )
        shape = [int(texts[tag].split()[0]) for tag in ("0028,0010", "0028,0011")]
        stored = [int(word, 16) for word in texts["7fe0,0010"].strip().split("\\")]
        planes.append(np.reshape(stored, shape) + float(texts["0028,1052"]))
        positions.append(position)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = cosines[:3] * spacing[1], cosines[3:] * spacing[0]
    affine[:3, 2] = (positions[-1] - positions[0]) / (len(positions) - 1)
    affine[:3, 3] = positions[0]
    return as_axial(np.stack(planes), RAS @ affine)


def check(readers, *, count: int, seed: int, folder: Path) -> None:
    """Write random series, read each back by all readers, and compare every voxel."""
    rng = np.random.default_rng(seed)
    worst_mm, left_handed = 0.0, 0
    for number in range(count):
        case = folder / str(number)
        volume = draw_volume(rng, case / "mr")
        left_handed += np.linalg.det(volume.affine) < 0
        axial = to_axial(volume)
        hu = rng.permutation(axial.voxels.size).reshape(axial.voxels.shape[:3]) - 100.0
        with CtSeries(case / "ct", axial) as series:
            series.write(hu)
        for reader in readers:
            ct = reader(series.paths)
            np.testing.assert_array_equal(ct.voxels[..., 0], hu)
            ends = [(0, n - 1) for n in hu.shape[::-1]]
            corners = np.array([(*c, 1) for c in itertools.product(*ends)]).T
            away = (ct.affine @ corners - axial.affine @ corners)[:3]
            worst_mm = max(worst_mm, np.linalg.norm(away, axis=0).max())
            assert worst_mm < TOLERANCE_MM, (number, reader.__name__)
    assert 0 < left_handed < count
    names = ", ".join(reader.__name__ for reader in readers)
    print(
        f"\n{count} geometries, {left_handed} left-handed, read {names}: "
        f"at most {worst_mm:.1e} mm away"
    )


@pytest.mark.parametrize("count", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_series_is_read_back_in_its_place(tmp_path, count):
    check((by_ours, by_simple_itk), count=count, seed=count, folder=tmp_path)


def test_series_is_in_its_place_for_other_programs(tmp_path):
    need("dcm2niix", "dcmdump")
    check((by_dcm2niix, by_dcmtk), count=12, seed=3, folder=tmp_path)

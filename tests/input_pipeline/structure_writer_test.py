"""A structure set has the regions that it was given, on its CT series, in any geometry.

Its polygons are filled again in two ways: by matplotlib in the places that SimpleITK
gives them, and by plastimatch, a program of radiotherapy.
"""

import shutil
import subprocess
from pathlib import Path

import fake_dicom
import numpy as np
import pydicom
import pytest
import scipy.ndimage
import SimpleITK
from fake_dicom import Geometry, write_enhanced_mr, write_mr
from matplotlib.path import Path as Polygon
from programs import need

from input_pipeline.scans.dicom_reader import read_dicom
from input_pipeline.scans.dicom_writer import CtSeries
from input_pipeline.scans.structure_writer import (
    Region,
    trace_outlines,
    write_structures,
)
from input_pipeline.volume import Volume, to_axial

GEOMETRIES = {
    "axial": Geometry(shape=(5, 20, 17), degrees=(0, 0, 0)),
    "oblique": Geometry(shape=(5, 30, 24)),
    "head to foot": Geometry(shape=(4, 21, 26), degrees=(0, 180, 0)),
    "sagittal": Geometry(shape=(6, 20, 16), degrees=(0, 90, 0)),
    "coronal, oblique": Geometry(shape=(7, 18, 20), degrees=(97, 8, -5)),
}


def mr_of(folder: Path, geometry: Geometry) -> Volume:
    write_mr(folder / "mr", geometry=geometry)
    return to_axial(read_dicom(folder / "mr", modality="MR"))


def draw_mask(shape, seed: int = 0) -> np.ndarray:
    """Draw parts with holes, parts within holes, and parts that touch at a corner."""
    noise = np.random.default_rng(seed).normal(size=shape)
    mask = scipy.ndimage.gaussian_filter(noise, 0.8) > 0
    mask[0, :9, :9] = True
    mask[0, 2:7, 2:7] = False
    mask[0, 4, 4] = mask[0, 5, 5] = True
    return mask


def write(folder: Path, volume: Volume, *masks: np.ndarray, **options):
    """Write a series and its regions; return their paths."""
    with CtSeries(folder / "ct", volume, **options) as series:
        series.write(np.zeros(volume.voxels.shape[:3], np.float32))
    regions = [
        Region(name=f"REGION_{n}", description="drawn", mask=mask, colour=(255, 0, n))
        for n, mask in enumerate(masks)
    ]
    write_structures(folder / "structures.dcm", series, regions)
    return series, folder / "structures.dcm"


def read_masks(path: Path, series: CtSeries) -> list[np.ndarray]:
    """Fill the polygons of each region in the places that SimpleITK gives them."""
    image = SimpleITK.ReadImage(series.paths)
    columns, rows, slices = image.GetSize()
    centres = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1)
    uids = [pydicom.dcmread(name).SOPInstanceUID for name in series.paths]
    masks = []
    for region in pydicom.dcmread(path).ROIContourSequence:
        mask = np.zeros((slices, rows, columns), bool)
        for contour in region.get("ContourSequence", []):
            points = np.reshape(np.array(contour.ContourData, float), (-1, 3))
            assert len(points) == contour.NumberOfContourPoints
            places = np.array(
                [image.TransformPhysicalPointToContinuousIndex(p) for p in points]
            )
            index = uids.index(contour.ContourImageSequence[0].ReferencedSOPInstanceUID)
            assert np.abs(places[:, 2] - index).max() < 1e-3
            polygon = Polygon(np.vstack([places[:, :2], places[:1, :2]]), closed=True)
            inside = polygon.contains_points(centres.reshape(-1, 2))
            mask[index] ^= inside.reshape(rows, columns)
        masks.append(mask)
    return masks


def fill_by_plastimatch(path: Path, series: CtSeries) -> np.ndarray:
    """Return the mask that plastimatch makes of the first region."""
    folder = Path(series.paths[0]).parent
    command = ["plastimatch", "convert", f"--input={path}", f"--referenced-ct={folder}"]
    output = path.parent / "plastimatch"
    command += [f"--output-prefix={output}", "--prefix-format=nrrd"]
    subprocess.run(command, check=True, capture_output=True)
    image = SimpleITK.ReadImage(next(output.glob("*REGION_0*")))
    return SimpleITK.GetArrayFromImage(image) > 0


@pytest.mark.parametrize("name", GEOMETRIES)
def test_regions_are_read_back_by_plastimatch(tmp_path, name):
    if shutil.which("plastimatch") is None:
        pytest.skip("plastimatch is not installed (Debian package of this name)")
    volume = mr_of(tmp_path, GEOMETRIES[name])
    mask = draw_mask(volume.voxels.shape[:3])
    series, path = write(tmp_path, volume, mask)
    again = fill_by_plastimatch(path, series)
    np.testing.assert_array_equal(again, series.in_order_of_files(mask))


@pytest.mark.parametrize("name", GEOMETRIES)
def test_regions_are_read_back_voxel_for_voxel(tmp_path, name):
    volume = mr_of(tmp_path, GEOMETRIES[name])
    shape = volume.voxels.shape[:3]
    masks = draw_mask(shape), np.ones(shape, bool), np.zeros(shape, bool)
    series, path = write(tmp_path, volume, *masks)
    for mask, again in zip(masks, read_masks(path, series), strict=True):
        np.testing.assert_array_equal(again, series.in_order_of_files(mask))


def test_regions_of_a_made_up_volume_are_read_back(tmp_path):
    volume = Volume(
        voxels=np.zeros((4, 30, 22, 1), np.float32),
        affine=fake_dicom.oblique([0, 1, 2], [-1, -1, 1]),
        modality="MR",
        channels=("t2",),
    )
    mask = draw_mask((4, 30, 22))
    series, path = write(tmp_path, volume, mask)
    np.testing.assert_array_equal(read_masks(path, series)[0], mask)


def test_polygon_of_thousands_of_corners_is_written_whole(tmp_path):
    """Its coordinates have more than the 64 kB of an element in explicit syntaxes."""
    volume = mr_of(tmp_path, Geometry(shape=(2, 50, 50), degrees=(0, 0, 0)))
    mask = np.zeros((2, 50, 50), bool)
    mask[0] = True
    mask[0, 1:-1:2, 1:-1:2] = False
    series, path = write(tmp_path, volume, mask)
    (again,) = read_masks(path, series)
    np.testing.assert_array_equal(again, mask)
    assert path.stat().st_size > 2**16 + 4096  # of one polygon, and all else


def test_hole_is_a_keyhole_of_one_polygon():
    mask = np.ones((9, 9), bool)
    mask[2:4, 2:4] = mask[6, 6] = False
    (polygon,) = trace_outlines(mask)
    x, y = np.vstack([polygon, polygon[:1]]).T
    area = abs((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()) / 2
    # A square of 9 pixels without 5, and half a pixel for the eight and four corners.
    assert area == pytest.approx(81 - 5 - 4 / 8 + 8 / 8)
    assert np.abs(polygon - np.roll(polygon, 1, axis=0)).sum(axis=1).min() > 0


def test_structure_set_is_of_the_patient_study_and_space_of_its_series(tmp_path):
    volume = mr_of(tmp_path, Geometry())
    series, path = write(tmp_path, volume, draw_mask(volume.voxels.shape[:3]))
    images = [pydicom.dcmread(name) for name in series.paths]
    structures = pydicom.dcmread(path)
    for keyword in (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "StudyInstanceUID",
        "StudyDate",
        "AccessionNumber",
        "FrameOfReferenceUID",
    ):
        assert structures[keyword].value == images[0][keyword].value, keyword
    assert str(structures.PatientName) == "Döe^Jane"
    assert structures.SeriesInstanceUID != images[0].SeriesInstanceUID
    assert structures.SyntheticData == "YES"
    assert "not for diagnosis or treatment" in structures.StructureSetDescription
    (space,) = structures.ReferencedFrameOfReferenceSequence
    assert space.FrameOfReferenceUID == images[0].FrameOfReferenceUID
    (study,) = space.RTReferencedStudySequence
    assert study.ReferencedSOPInstanceUID == images[0].StudyInstanceUID
    (of_series,) = study.RTReferencedSeriesSequence
    assert of_series.SeriesInstanceUID == images[0].SeriesInstanceUID
    assert [i.ReferencedSOPInstanceUID for i in of_series.ContourImageSequence] == [
        image.SOPInstanceUID for image in images
    ]


def test_mask_of_another_shape_is_refused(tmp_path):
    volume = mr_of(tmp_path, Geometry())
    with pytest.raises(ValueError, match=r"not on the scan's grid"):
        write(tmp_path, volume, np.ones((5, 12, 8), bool))
    assert not (tmp_path / "structures.dcm").exists()


def assert_conforms(path, *others):
    """dicom3tools finds no error but the tag that is newer than it is."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian package dicom3tools)")
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    assert "RTStructureSet" in lines
    errors = [s for s in lines if s.startswith("Error") and "0008,0x001c" not in s]
    assert not errors, "\n".join(errors)
    done = subprocess.run(["dcentvfy", path, *others], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stdout + done.stderr


@pytest.mark.parametrize("pseudonymise", [False, True])
def test_structure_set_conforms_to_the_standard(tmp_path, pseudonymise):
    need("dciodvfy", "dcentvfy")
    volume = mr_of(tmp_path, Geometry())
    mask = draw_mask(volume.voxels.shape[:3])
    series, path = write(
        tmp_path, volume, mask, np.zeros_like(mask), pseudonymise=pseudonymise
    )
    mr = [] if pseudonymise else fake_dicom.files(tmp_path / "mr")
    assert_conforms(path, *series.paths, *mr)


def test_structure_set_of_an_enhanced_file_conforms(tmp_path):
    write_enhanced_mr(tmp_path / "one.dcm")
    mr = read_dicom(tmp_path / "one.dcm", modality="MR", channels=("in_phase",))
    series, path = write(tmp_path, mr, draw_mask(mr.voxels.shape[:3]))
    assert_conforms(path, *series.paths)


def test_many_random_masks_are_filled_again_by_their_polygons():
    rng = np.random.default_rng(0)
    for _ in range(150):
        rows, columns = rng.integers(1, 30, 2)
        noise = scipy.ndimage.gaussian_filter(rng.normal(size=(rows, columns)), 0.6)
        mask = noise > rng.normal(0, 0.1)
        polygons = trace_outlines(mask)
        assert len(polygons) == scipy.ndimage.label(mask)[1]
        centres = [(x, y) for y in range(rows) for x in range(columns)]
        filled = np.zeros(rows * columns, bool)
        for corners in polygons:
            polygon = Polygon(np.vstack([corners, corners[:1]]), closed=True)
            filled ^= polygon.contains_points(centres)
        np.testing.assert_array_equal(filled.reshape(rows, columns), mask)

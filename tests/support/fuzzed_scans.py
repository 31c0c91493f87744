"""Small scans in every format that is read, to be damaged, and their readers.

A flipped bit of a pixel cannot be noticed in a scan, so most readers only assert that
all is finite. Those that return something read what may not change unnoticed.
"""

import zipfile
from pathlib import Path
from typing import Any

import fake_dicom
import nibabel
import numpy as np
import openjpeg.utils
import pydicom
import SimpleITK
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless

from input_pipeline.scans.dicom_writer import CtSeries
from input_pipeline.scans.read_scan import read_scan
from input_pipeline.volume import to_axial

GEOMETRY = fake_dicom.Geometry(shape=(2, 4, 5))


def write_mr(folder: Path) -> None:
    fake_dicom.write_mr(folder, geometry=GEOMETRY)


def write_ct(folder: Path) -> None:
    fake_dicom.write_ct(folder, geometry=GEOMETRY)


def write_enhanced(folder: Path) -> None:
    fake_dicom.write_enhanced_mr(folder / "image.dcm", geometry=GEOMETRY)


def write_series(folder: Path) -> None:
    fake_dicom.write_mr(folder, geometry=fake_dicom.Geometry(shape=(3, 4, 5)))


def write_rle(folder: Path) -> None:
    write_ct(folder)
    for path in fake_dicom.files(folder):
        image = pydicom.dcmread(path)
        image.compress(RLELossless, generate_instance_uid=False)
        image.save_as(path)


def write_jpeg_2000(folder: Path) -> None:
    geometry = fake_dicom.Geometry(shape=(2, 32, 32), degrees=(0.0, 0.0, 0.0))
    values = fake_dicom.write_ct(folder, geometry=geometry)
    for path in fake_dicom.files(folder):
        image = pydicom.dcmread(path)
        fragment = openjpeg.utils.encode_array(image.pixel_array)
        image.PixelData = encapsulate([fragment])
        image["PixelData"].VR = "OB"
        image.file_meta.TransferSyntaxUID = JPEG2000Lossless
        image.save_as(path)
    volume = read_scan(folder, modality="CT")
    np.testing.assert_array_equal(volume.voxels[..., 0], values)


def write_nifti(folder: Path, suffix: str = ".nii") -> None:
    for name in ("in_phase", "out_of_phase"):
        values = np.arange(60, dtype=np.float32).reshape(5, 4, 3)
        image = nibabel.Nifti1Image(values, np.diag([-2, -1.5, 5, 1]))
        nibabel.save(image, folder / f"{name}{suffix}")


def write_packed_nifti(folder: Path) -> None:
    write_nifti(folder, ".nii.gz")


def write_meta_image(folder: Path) -> None:
    _write_itk(folder, in_phase=".mha", out_of_phase=".mhd")


def write_nrrd(folder: Path) -> None:
    _write_itk(folder, in_phase=".nrrd", out_of_phase=".nrrd")


def _write_itk(folder: Path, **suffixes: str) -> None:
    for name, suffix in suffixes.items():
        values = np.arange(60, dtype=np.float32).reshape(5, 4, 3)
        image = SimpleITK.GetImageFromArray(values)
        image.SetSpacing((2, 1.5, 5))
        SimpleITK.WriteImage(image, folder / f"{name}{suffix}")


def write_zip(folder: Path) -> None:
    write_nifti(folder)
    with zipfile.ZipFile(folder / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.glob("*.nii"):
            archive.write(path, path.name)
            path.unlink()


def read_mr(folder: Path) -> None:
    volume = _read_finite(folder, "MR")
    CtSeries(folder / "ct", to_axial(volume))  # can inherit the headers


def read_ct(folder: Path) -> None:
    _read_finite(folder, "CT")


def read_in_phase(folder: Path) -> None:
    _read_finite(folder, "MR", ("in_phase",))


def read_phases(folder: Path) -> None:
    _read_finite(folder, "MR")


def read_zip(folder: Path) -> None:
    _read_finite(folder / "scan.zip", "MR")


def read_series(folder: Path) -> Any:
    volume = _read_finite(folder, "MR")
    return volume.voxels.tolist(), volume.affine.tolist()


def _read_finite(scan: Path, modality: str, channels=None):
    volume = read_scan(scan, modality=modality, channels=channels)
    assert np.isfinite(volume.voxels).all() and np.isfinite(volume.affine).all()
    assert min(volume.spacing_mm) > 0
    return volume

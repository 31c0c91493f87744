"""Reader of volumes in one file a channel, and writer of NIfTI.

NIfTI-1 and NIfTI-2 are read by nibabel; other formats see `itk_images`.
"""

import dataclasses
import gzip
import os
from collections.abc import Sequence

import nibabel
import numpy as np

from input_pipeline.files import atomic_file
from input_pipeline.intensity import AIR_HU
from input_pipeline.scans import itk_images
from input_pipeline.scans.alignment import check_same_grid, grids_apart_mm, onto_grid
from input_pipeline.scans.quiet import quiet
from input_pipeline.volume import (
    Origin,
    UnusableScan,
    Volume,
    from_axial,
    unusable_on_error,
)

_ROUNDING_MM = 1e-4
SUFFIXES = (".nii", ".nii.gz")
READ_SUFFIXES = (*SUFFIXES, *itk_images.SUFFIXES)
_SCANNER = 1  # the space relative to the scanner
_MM_PER_UNIT = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}


def volume_suffix(path: str) -> str:
    """Return the suffix of the name of a file that is read here, '' of any other."""
    return next((s for s in READ_SUFFIXES if path.lower().endswith(s)), "")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NiftiOrigin(Origin):
    """A NIfTI file's grid, and the code that says what its RAS is relative to."""

    space: int


def read_nifti(
    paths: Sequence[str | os.PathLike], *, modality: str, channels: Sequence[str]
) -> Volume:
    """Read one file a channel, as stored: array axes i, j, k are column, row, slice.

    Values are scaled as the header says. CT below AIR_HU becomes AIR_HU. T2 beside the
    phases may lie on another grid, and is resampled onto theirs.

    Raises:
        FileNotFoundError: names the file.
        UnusableScan: a file is no NIfTI image, is truncated, is not one 3-D volume of
            finite numbers on an orthogonal grid, or (unless it is T2) lies on another
            grid than the others; names the file, or both.
        ValueError: not one file for each channel.
    """
    paths = [os.fspath(path) for path in paths]
    if not channels or len(paths) != len(channels):
        raise ValueError(
            f"{len(paths)} file{'s' if len(paths) != 1 else ''} given, "
            f"{len(channels)} channels expected: {', '.join(channels)}"
        )
    read = [_read_file(path) for path in paths]
    # The phases are the reference, wherever T2 stands in the order of channels.
    first = next((i for i, channel in enumerate(channels) if channel != "t2"), 0)
    _, origin = read[first]
    voxels = []
    for path, channel, (values, other) in zip(paths, channels, read, strict=True):
        if modality == "CT":
            values = np.maximum(values, AIR_HU)
        elif channel == "t2" and grids_apart_mm(origin, other) > _ROUNDING_MM:
            values = onto_grid(
                values, other.affine, origin, source=path, grid_source=paths[first]
            )
        else:
            check_same_grid(paths[first], origin, path, other, within_mm=_ROUNDING_MM)
        voxels.append(values)
    return Volume(
        voxels=np.stack(voxels, axis=-1),
        affine=origin.affine,
        modality=modality,
        channels=tuple(channels),
        source=",".join(paths),
        origin=origin,
    )


def _read_file(path: str) -> tuple[np.ndarray, NiftiOrigin]:
    """Read (slices, rows, columns) float32, and its position."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: no such file")
    if path.lower().endswith(itk_images.SUFFIXES):
        values, affine = itk_images.read_image(path)
        _check_orthogonal(path, "direction", affine)
        space = _SCANNER
    else:
        values, affine, space = _read_nifti(path)
    if min(values.shape) < 2:
        raise UnusableScan(
            f"{path}: {values.shape} slices, rows and columns, expected one "
            "3-D volume of at least 2 voxels along each axis"
        )
    bad = values.size - np.count_nonzero(np.isfinite(values))
    if bad:
        raise UnusableScan(
            f"{path}: {bad} of {values.size} voxels are NaN or infinite, expected "
            "finite numbers"
        )
    return values, NiftiOrigin(affine=affine, shape=values.shape, space=space)


def _read_nifti(path: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Return values, affine, and the code of the space, see `NiftiOrigin`."""
    with unusable_on_error(path, "not a NIfTI file"), quiet("nibabel"):
        image = nibabel.load(path)
    # Also true of NIfTI-2, and of .hdr/.img pairs; Analyze files have no orientation.
    if not isinstance(image, nibabel.Nifti1Pair):
        raise UnusableScan(
            f"{path}: a {type(image).__name__}, expected a NIfTI file (.nii, .nii.gz)"
        )
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise UnusableScan(
            f"{path}: an image of shape {image.shape}, expected one 3-D volume"
        )
    with unusable_on_error(path, "the position in its header is damaged"):
        affine, space = _affine(path, image)
    if image.get_data_dtype().kind not in "iuf":
        raise UnusableScan(
            f"{path}: values of type {image.get_data_dtype()}, expected real numbers"
        )
    # A cut .nii fails on its length, a cut .nii.gz in the decompressor. Values beyond
    # float32 become infinite, and are refused as such.
    overflow = np.errstate(over="ignore", invalid="ignore")
    with unusable_on_error(path, "truncated, damaged or too large"), overflow:
        values = np.asarray(image.dataobj, dtype=np.float32).reshape(shape)
    return np.ascontiguousarray(values.transpose(2, 1, 0)), affine, space


def _affine(path: str, image: nibabel.Nifti1Pair) -> tuple[np.ndarray, int]:
    """Return the sform, or else the qform, in mm, and its code, both checked."""
    header = image.header
    sform, sform_code = header.get_sform(coded=True)
    try:
        qform, qform_code = header.get_qform(coded=True)
    except ValueError as error:  # a quaternion longer than 1
        qform, qform_code = None, 0
        if sform is None:
            raise UnusableScan(f"{path}: qform is damaged: {error}") from error
    if sform is None and qform is None:
        raise UnusableScan(
            f"{path}: neither sform nor qform says where the volume lies in the "
            "patient, expected one of them"
        )
    name, affine, space = "sform", sform, int(sform_code)
    if sform is None:
        name, affine, space = "qform", qform, int(qform_code)
    affine = np.array(affine, np.float64)
    _check_orthogonal(path, name, affine)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    sizes = np.abs(np.array(header["pixdim"][1:4], np.float64))
    if not np.allclose(lengths, sizes, rtol=0.01):
        raise UnusableScan(
            f"{path}: {name} has a spacing of {np.round(lengths, 4).tolist()} and "
            f"pixdim {np.round(sizes, 4).tolist()}, expected the same"
        )
    if sform is not None and qform is not None and sform_code == qform_code:
        corner = np.array([*np.array(image.shape[:3]) - 1, 1])
        apart = np.abs((sform - qform) @ np.array([[0, 0, 0, 1], corner]).T).max()
        if apart > 0.1 * sizes.min():
            raise UnusableScan(
                f"{path}: sform and qform are {apart:.2f} apart in the same space, "
                "expected them to agree"
            )
    unit = header.get_xyzt_units()[0]
    if unit not in _MM_PER_UNIT:
        raise UnusableScan(f"{path}: spatial unit is {unit!r}, expected mm")
    affine[:3] *= _MM_PER_UNIT[unit]
    return affine, space


def _check_orthogonal(path: str, name: str, affine: np.ndarray) -> None:
    """Raise UnusableScan unless the axes of a grid are finite and perpendicular."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or lengths.min() <= 0:
        raise UnusableScan(
            f"{path}: {name} is {affine.tolist()}, expected finite axes above 0"
        )
    directions = affine[:3, :3] / lengths
    shear = np.abs(directions.T @ directions - np.eye(3)).max()
    if shear > 1e-3:
        raise UnusableScan(
            f"{path}: {name} is sheared, its axes are up to "
            f"{np.degrees(np.arcsin(shear)):.1f} degrees off perpendicular; expected "
            "an orthogonal grid"
        )


def write_nifti(path: str | os.PathLike, voxels: np.ndarray, volume: Volume) -> None:
    """Write voxels on the grid of a volume, in the array order it was stored in.

    The file appears whole or not at all.

    Args:
        path: ends with .nii or .nii.gz; its folder exists.
        voxels: (slices, rows, columns) as `volume.voxels`. Integers are written as
            int16, others as float32.
        volume: gives the position of the voxels; in axial order if it has an origin.

    Raises:
        FileExistsError: there is such a file.
        ValueError: another shape or grid, suffix, or integers beyond 16 bits.
    """
    path = os.fspath(path)
    if not path.endswith(SUFFIXES):
        raise ValueError(f"{path}: expected a name that ends with .nii or .nii.gz")
    if os.path.exists(path):
        raise FileExistsError(f"{path} exists already")
    image = _place_on_grid(voxels, volume)
    with atomic_file(path) as new:
        nibabel.save(image, new)


def encode_nifti(voxels: np.ndarray, volume: Volume, *, step: float) -> bytes:
    """Return the content of a .nii.gz file, as `write_nifti` places it.

    Args:
        voxels: integers, (slices, rows, columns); they count steps.
        volume: see `write_nifti`.
        step: intensity of one integer step, the header's scl_slope.

    Raises:
        ValueError: another shape, or integers beyond 16 bits.
    """
    image = _place_on_grid(voxels, volume)
    image.header.set_slope_inter(step, 0)
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)


def _place_on_grid(voxels: np.ndarray, volume: Volume) -> nibabel.Nifti1Image:
    """Return an image in the array order of the file that `volume` was read from."""
    if voxels.shape != volume.voxels.shape[:3]:
        raise ValueError(
            f"voxels of shape {voxels.shape}, expected {volume.voxels.shape[:3]}"
        )
    affine = volume.affine
    if volume.origin is not None:
        voxels = from_axial(voxels, affine, volume.origin)
        affine = volume.origin.affine
    space = getattr(volume.origin, "space", _SCANNER)
    dtype = np.float32
    if voxels.dtype.kind in "iu":
        dtype = np.int16
        limits = np.iinfo(dtype)
        if voxels.size and (voxels.min() < limits.min or voxels.max() > limits.max):
            raise ValueError(
                f"integers from {voxels.min()} to {voxels.max()}, expected 16 bits"
            )
    image = nibabel.Nifti1Image(voxels.transpose(2, 1, 0).astype(dtype), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=space)
    image.set_qform(affine, code=space)
    return image

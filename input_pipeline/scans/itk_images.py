"""Reader of MetaImage and NRRD files, by SimpleITK."""

import re

import numpy as np

from input_pipeline.volume import UnusableScan

SUFFIXES = (".mha", ".mhd", ".nrrd")
_DIMENSIONS = re.compile(rb"^\s*NDims\s*=(.*)$", re.MULTILINE)
_HEADER_BYTES = 4096
_RAS_OF_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_image(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Return values (slices, rows, columns), and the affine in RAS mm.

    Raises:
        UnusableScan: SimpleITK is not installed or cannot read the file, or it is not
            one 3-D volume of real numbers; names the file.
    """
    try:
        import SimpleITK
    except ImportError as error:
        raise UnusableScan(
            f"{path}: MetaImage and NRRD are read by SimpleITK, which is not "
            "installed: pip install SimpleITK"
        ) from error
    _check_dimensions(path)
    try:
        image = SimpleITK.ReadImage(path)
    except RuntimeError as error:  # only the last line says why
        reason = str(error).strip().rpartition("\n")[2]
        raise UnusableScan(f"{path}: not a readable image: {reason}") from error
    values = SimpleITK.GetArrayViewFromImage(image)
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise UnusableScan(
            f"{path}: an image of {image.GetDimension()} dimensions with "
            f"{image.GetNumberOfComponentsPerPixel()} values a voxel, expected one 3-D "
            "volume with one"
        )
    if values.dtype.kind not in "iuf":
        raise UnusableScan(
            f"{path}: values of type {values.dtype}, expected real numbers"
        )
    affine = np.eye(4)
    directions = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = directions * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return np.array(values, np.float32), _RAS_OF_LPS @ affine


def _check_dimensions(path: str) -> None:
    """Refuse a MetaImage of another NDims: a large one makes ITK end the process."""
    if path.lower().endswith(".nrrd"):
        return
    with open(path, "rb") as file:
        for value in _DIMENSIONS.findall(file.read(_HEADER_BYTES)):
            if value.strip() != b"3":
                raise UnusableScan(
                    f"{path}: NDims is {value.decode('latin-1').strip()!r}, expected 3"
                )

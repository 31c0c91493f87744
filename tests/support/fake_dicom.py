"""Small DICOM scans of a patient who does not exist, and every way to spoil them.

The default scan is oblique and its spacings all differ, so that swapped axes, flips and
shifts cannot hide. Voxel values follow from the position in the patient (`landmark`).
"""

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

IN_PHASE_MS, OUT_OF_PHASE_MS, T2_MS = 4.6, 2.3, 70.0  # at 1.5 T

Edit = Callable[[Dataset, int], Dataset | None]


def rotation(degrees: tuple[float, float, float]) -> np.ndarray:
    """Return the (3, 3) rotation about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one, two = [i for i in range(3) if i != axis]
        turn = np.eye(3)
        turn[one, one] = turn[two, two] = np.cos(angle)
        turn[one, two], turn[two, one] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def oblique(axes, signs, degrees=(8, -6, 11)) -> np.ndarray:
    """Return an affine whose (column, row, slice) run mostly along the given axes."""
    affine = np.eye(4)
    affine[:3, :3] = (
        rotation(degrees) @ np.eye(3)[:, axes] * signs * np.array([2.25, 1.5, 6.0])
    )
    affine[:3, 3] = (10.5, -20.25, 33)
    return affine


@dataclasses.dataclass(frozen=True, kw_only=True)
class Geometry:
    """Positions of the voxels in DICOM's LPS (PS3.3 C.7.6.2.1.1)."""

    shape: tuple[int, int, int] = (5, 12, 9)  # slices, rows, columns
    row_mm: float = 1.5  # between rows
    column_mm: float = 2.25  # between columns
    step_mm: float = 6.0
    first_lps: tuple[float, float, float] = (-31.5, 17.25, -80.125)
    degrees: tuple[float, float, float] = (8.0, -5.0, 12.0)

    @property
    def directions(self) -> np.ndarray:
        """Return unit vectors: along a row, down a column, from slice to slice."""
        return rotation(self.degrees).T

    def lps(self, slice_: float, row: float, column: float) -> np.ndarray:
        along_row, down_column, normal = self.directions
        return (
            np.array(self.first_lps)
            + along_row * self.column_mm * column
            + down_column * self.row_mm * row
            + normal * self.step_mm * slice_
        )

    def values(self) -> np.ndarray:
        """Return the landmark values, (slices, rows, columns)."""
        values = np.empty(self.shape)
        for index in itertools.product(*map(range, self.shape)):
            values[index] = landmark(self.lps(*index) * (-1, -1, 1))
        return values


def landmark(ras: np.ndarray) -> float:
    """Encode a position in RAS mm as a whole number."""
    return float(np.rint(600 + ras @ np.array([3.0, 1.7, 2.3])))


def header(geometry: Geometry, index: int, *, modality: str, series: str) -> Dataset:
    """Make a complete single-frame header, without pixels."""
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 100"
    image.SOPClassUID = MRImageStorage if modality == "MR" else CTImageStorage
    image.SOPInstanceUID = generate_uid()
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.StudyDate, image.StudyTime = "20200102", "030405"
    image.AccessionNumber = "A1"
    image.Modality = modality
    image.Manufacturer = "Nobody"
    image.ReferringPhysicianName = ""
    image.PatientName = "Döe^Jane"
    image.PatientID = "P-17"
    image.PatientBirthDate = "19600101"
    image.PatientSex = "F"
    image.PatientPosition = "FFS"  # wrong on purpose: geometry must not use it
    image.SliceThickness = geometry.step_mm - 0.5
    image.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    image.SeriesInstanceUID = series
    image.StudyID = "7"
    image.SeriesNumber = 3
    image.InstanceNumber = geometry.shape[0] - index  # against the positions
    image.FrameOfReferenceUID = "1.2.826.0.1.3680043.8.498.2"
    image.PositionReferenceIndicator = ""
    image.ImagePositionPatient = [round(v, 6) for v in geometry.lps(index, 0, 0)]
    directions = geometry.directions[:2].ravel()
    image.ImageOrientationPatient = [round(v, 9) for v in directions]
    image.PixelSpacing = [geometry.row_mm, geometry.column_mm]
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = geometry.shape[1:]
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit = 15
    image.PixelRepresentation = 0
    if modality == "MR":
        image.MagneticFieldStrength = 1.5
        image.ScanningSequence = "GR"
    else:
        image.RescaleSlope, image.RescaleIntercept = 1, -1024
    return image


def save(image: Dataset, path: Path) -> None:
    image.file_meta = FileMetaDataset()
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(path, enforce_file_format=True)


def write_series(
    folder: Path,
    values: np.ndarray,
    *,
    geometry: Geometry,
    modality: str,
    series: str | None = None,
    edit: Edit | None = None,
) -> None:
    """Write one file a slice, named so that their order is not that of the slices.

    Args:
        folder: made when absent.
        values: stored values, (slices, rows, columns), 0 to 65535.
        geometry: where they lie.
        modality: 'MR' or 'CT'.
        series: SeriesInstanceUID.
        edit: gets each header with its pixels and its slice index; what it returns is
            written, nothing when that is None.
    """
    series = series or generate_uid()
    for index, plane in enumerate(values):
        image = header(geometry, index, modality=modality, series=series)
        image.PixelData = plane.astype("<u2").tobytes()
        image["PixelData"].VR = "OW"
        image = edit(image, index) if edit else image
        if image is not None:
            save(image, folder / f"IM{(index * 7) % 11:02d}{index}")


def write_mr(
    folder: Path,
    *,
    geometry: Geometry | None = None,
    echoes_ms: tuple[float, ...] = (IN_PHASE_MS, OUT_OF_PHASE_MS),
    subfolders: tuple[str, ...] = ("InPhase", "OutPhase"),
    series: str | None = None,
    edit: Edit | None = None,
    tesla: float = 1.5,
) -> np.ndarray:
    """Write a series with an echo in each subfolder ('': the folder itself).

    Returns:
        (slices, rows, columns, echoes) values; the second echo is the first plus 1000.
    """
    geometry = geometry or Geometry()
    series = series or generate_uid()
    channels = []
    for number, (echo_ms, name) in enumerate(zip(echoes_ms, subfolders, strict=True)):

        def edit_echo(image, index, echo_ms=echo_ms):
            image.EchoTime = echo_ms
            image.MagneticFieldStrength = tesla
            return edit(image, index) if edit else image

        values = geometry.values() + 1000 * number
        target = folder / name if name else folder / f"echo{number}"
        write_series(
            target,
            values,
            geometry=geometry,
            modality="MR",
            series=series,
            edit=edit_echo,
        )
        channels.append(values)
    return np.stack(channels, axis=-1).astype(np.float32)


def write_ct(
    folder: Path, *, geometry: Geometry | None = None, edit: Edit | None = None
) -> np.ndarray:
    """Write a CT series; return its HU, (slices, rows, columns)."""
    geometry = geometry or Geometry(degrees=(0.0, 0.0, 0.0))
    hu = geometry.values() - 700
    write_series(folder, hu + 1024, geometry=geometry, modality="CT", edit=edit)
    return hu.astype(np.float32)


def write_enhanced_mr(path: Path, *, geometry: Geometry | None = None) -> np.ndarray:
    """Write an enhanced multi-frame file, frames from top to bottom.

    Returns:
        (slices, rows, columns) values, of which the file stores half.
    """
    geometry = geometry or Geometry()
    values = geometry.values()
    image = header(geometry, 0, modality="MR", series=generate_uid())
    image.SOPClassUID = EnhancedMRImageStorage
    shared = Dataset()
    for name, keywords in (
        ("PlaneOrientationSequence", ("ImageOrientationPatient",)),
        ("PixelMeasuresSequence", ("PixelSpacing", "SliceThickness")),
    ):
        item = Dataset()
        for keyword in keywords:
            setattr(item, keyword, image[keyword].value)
            del image[keyword]
        setattr(shared, name, [item])
    echo = Dataset()
    echo.EffectiveEchoTime = IN_PHASE_MS
    shared.MREchoSequence = [echo]
    rescale = Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept = 2, 0
    shared.PixelValueTransformationSequence = [rescale]
    image.SharedFunctionalGroupsSequence = [shared]
    del image.ImagePositionPatient
    order = range(geometry.shape[0])[::-1]
    frames = []
    for index in order:
        position = Dataset()
        position.ImagePositionPatient = [round(v, 6) for v in geometry.lps(index, 0, 0)]
        frames.append(Dataset())
        frames[-1].PlanePositionSequence = [position]
    image.PerFrameFunctionalGroupsSequence = frames
    image.NumberOfFrames = len(frames)
    stored = np.stack([values[index] // 2 for index in order])
    image.PixelData = stored.astype("<u2").tobytes()
    image["PixelData"].VR = "OW"
    save(image, path)
    return (values // 2 * 2).astype(np.float32)


def truncate(path: Path, *, keep: float = 0.8) -> None:
    """Cut the end off a file, as an interrupted copy does."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def write_sequence(
    folder: Path,
    number: int,
    echoes_ms: tuple[float, ...] = (IN_PHASE_MS, OUT_OF_PHASE_MS),
    *,
    geometry: Geometry | None = None,
    series: str | None = None,
    kind: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "M"),
    edit: Edit | None = None,
    **attributes,
) -> np.ndarray:
    """Write one series of an examination into a folder named after its number alone.

    Args:
        number: SeriesNumber.
        kind: ImageType.
        edit: as for `write_series`, after all else.
        attributes: further elements, by keyword.
    """

    def edit_all(image, index):
        image.SeriesNumber, image.ImageType = number, list(kind)
        for keyword, value in attributes.items():
            setattr(image, keyword, value)
        return edit(image, index) if edit else image

    target = folder / f"S{number}_{len(list(folder.glob('*')))}"
    return write_mr(
        target,
        echoes_ms=echoes_ms,
        subfolders=tuple(f"E{n}" for n in range(len(echoes_ms))),
        geometry=geometry,
        series=series,
        edit=edit_all,
    )


CORONAL = Geometry(degrees=(90.0, 0.0, 0.0))
AGENT = {"ContrastBolusAgent": "gadobutrol"}


def write_examination(folder: Path) -> np.ndarray:
    """Write an examination of the liver; return the values of its dual echo, series 4.

    Besides, each with a number of its own: localizers (1, 2), T2 (3, coronal 12),
    diffusion (5) and ADC (6), MRCP as a slab and in thin slices (7, 8), T1 with
    suppressed fat (9), a Dixon series after contrast medium (10) with water and fat,
    its subtraction (11), a fat fraction map (13) and a CT.
    """

    def three_planes(image, index):
        planes = ([1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1])
        image.ImageOrientationPatient = planes[index % 3]
        return image

    def b_value(image, index):
        image.DiffusionBValue = (50.0, 800.0)[index % 2]
        return image

    turbo = {"ScanningSequence": "SE"}
    echo_planar = {"ScanningSequence": ["EP", "SE"]}
    derived = ("DERIVED", "PRIMARY")
    localizer = ("ORIGINAL", "PRIMARY", "LOCALIZER")
    write_sequence(folder, 1, (IN_PHASE_MS,), kind=localizer)
    write_sequence(folder, 2, (IN_PHASE_MS,), edit=three_planes)
    write_sequence(
        folder, 3, (T2_MS,), SeriesDescription="t2 fs", ScanOptions="FS", **turbo
    )
    values = write_sequence(folder, 4, SeriesDescription="dual echo")
    write_sequence(folder, 5, (60.0,), edit=b_value, **echo_planar)
    write_sequence(folder, 6, (60.0,), kind=(*derived, "ADC"), **echo_planar)
    slab = Geometry(shape=(2, 12, 9), step_mm=50.5)
    write_sequence(folder, 7, (250.0,), geometry=slab, **turbo)
    write_sequence(folder, 8, (700.0,), **turbo)
    write_sequence(folder, 9, (OUT_OF_PHASE_MS,), ScanOptions=["PFP", "FS"])
    dixon = generate_uid()
    for echo_ms, name in (
        (IN_PHASE_MS, "IN_PHASE"),
        (OUT_OF_PHASE_MS, "OPP_PHASE"),
        (IN_PHASE_MS, "WATER"),
        (IN_PHASE_MS, "FAT"),
    ):
        kind = (*derived, "DIXON", name)
        write_sequence(folder, 10, (echo_ms,), kind=kind, series=dixon, **AGENT)
    write_sequence(
        folder, 11, (OUT_OF_PHASE_MS,), kind=(*derived, "M", "SUBTRACT"), **AGENT
    )
    write_sequence(folder, 12, (T2_MS,), geometry=CORONAL, **turbo)
    write_sequence(folder, 13, (IN_PHASE_MS,), kind=(*derived, "QUANTITY"))
    write_ct(folder / "CT")
    return values

"""Writer of regions of a synthetic CT as a DICOM RT Structure Set.

RT Structure Set IOD, PS3.3 A.19: the form in which planning systems read regions. It
inherits patient, study and frame of reference of the CT series. Each polygon lies in
the plane of a CT image, and refers to it.
"""

import dataclasses
import datetime
import io
from collections.abc import Sequence
from pathlib import Path

import contourpy
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from input_pipeline.files import write_file
from input_pipeline.scans.dicom_writer import OF_PATIENT_AND_STUDY, CtSeries
from input_pipeline.scans.quiet import quiet
from input_pipeline.scans.series_description import REGIONS_SUFFIX

STRUCTURES = "structures.dcm"
"""Name of the file in an output of translate."""

# Detached Study Management: retired, but RTReferencedStudySequence needs a class.
_STUDY = "1.2.840.10008.3.1.2.3.1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Region:
    """A region of the patient.

    Attributes:
        name: up to 16 letters, digits and underscores, as planning systems take them.
        description: what it is.
        mask: (slices, rows, columns) bool, in axial order as the volume.
        colour: red, green and blue, 0 to 255.
        interpreted_type: EXTERNAL for the patient's outline (PS3.3 C.8.8.8).
    """

    name: str
    description: str
    mask: np.ndarray
    colour: tuple[int, int, int]
    interpreted_type: str = ""


def write_structures(path: Path, series: CtSeries, regions: Sequence[Region]) -> None:
    """Write regions as one file.

    Args:
        path: the file to write.
        series: the CT series, which is written already.

    Raises:
        ValueError: a mask has another shape than the volume of the series.
    """
    images = [pydicom.dcmread(name, stop_before_pixels=True) for name in series.paths]
    structures = _structure_set(images)
    for number, region in enumerate(regions, start=1):
        planes = series.in_order_of_files(region.mask)
        _add_region(structures, number, region, planes, images)
    content = io.BytesIO()
    with quiet("pydicom"):
        structures.save_as(content, enforce_file_format=True)
    write_file(path, content.getvalue())


# --- polygons -------------------------------------------------------------------------


def trace_outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Return a polygon for each connected part of a mask.

    Its lines run half-way between the centres of pixels inside and outside. A hole is
    joined to the polygon around it by a line there and back, a keyhole: it is what
    CLOSED_PLANAR has for holes (PS3.3 C.8.8.6.3).

    Args:
        mask: (rows, columns) bool.

    Returns:
        Columns and rows of the corners, (corners, 2), 0 at the centre of the first
        pixel. The first corner is not repeated at the end.
    """
    generator = contourpy.contour_generator(
        z=np.pad(mask, 1).astype(np.float64),
        name="serial",
        fill_type=contourpy.FillType.OuterOffset,
    )
    return [
        _join([_corners(ring[:-1] - 1) for ring in np.split(points, offsets[1:-1])])
        for points, offsets in zip(*generator.filled(0.5, 2.0), strict=True)
    ]


def _corners(ring: np.ndarray) -> np.ndarray:
    """Leave out the points of a ring that lie between their neighbours on a line."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    return ring[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def _join(rings: list[np.ndarray]) -> np.ndarray:
    """Join the holes in a polygon, the first ring, to it.

    A line goes from the left end of each hole to the left. Those further left come
    first, so that no line meets a hole that is not joined yet. Corners have whole or
    half coordinates: at a quarter lines meet neither them nor the centre of a pixel.
    """
    polygon, *holes = rings
    for hole in sorted(holes, key=lambda ring: ring[:, 0].min()):
        row = hole[hole[:, 0].argmin(), 1] + 0.25
        edges, columns = _crossings(hole, row)
        start = columns.argmin()
        hole = np.roll(hole, -1 - edges[start], axis=0)
        hole_end = [(columns[start], row)]
        edges, columns = _crossings(polygon, row)
        columns[columns > hole_end[0][0]] = -np.inf
        nearest = columns.argmax()
        before, after = np.split(polygon, [edges[nearest] + 1])
        end = [(columns[nearest], row)]
        polygon = np.concatenate([before, end, hole_end, hole, hole_end, end, after])
    return polygon


def _crossings(ring: np.ndarray, row: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which edges of a ring cross a row, and in which columns."""
    vectors = np.roll(ring, -1, axis=0) - ring
    above = ring[:, 1] > row
    edges = np.flatnonzero(above != np.roll(above, -1))
    (columns, rows), (along, down) = ring[edges].T, vectors[edges].T
    return edges, columns + (row - rows) * along / down


def _to_decimals(polygon: np.ndarray, image: Dataset) -> list[str]:
    """Return x, y and z of each corner of a polygon in LPS mm."""
    row_mm, column_mm = map(float, image.PixelSpacing)
    cosines = np.array(image.ImageOrientationPatient, np.float64).reshape(2, 3)
    first = np.array(image.ImagePositionPatient, np.float64)
    points = first + polygon * (column_mm, row_mm) @ cosines
    return [f"{mm:.4f}" for mm in points.ravel()]


# --- elements -------------------------------------------------------------------------


def _structure_set(images: Sequence[Dataset]) -> Dataset:
    """Make the file without regions."""
    ct, now = images[0], datetime.datetime.now()
    structures = Dataset()
    shared = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions")
    for keyword in (*OF_PATIENT_AND_STUDY, *shared, "SyntheticData"):
        if keyword in ct:
            structures[keyword] = ct[keyword]
    structures.SOPClassUID = RTStructureSetStorage
    structures.SOPInstanceUID = generate_uid()
    structures.Modality = "RTSTRUCT"
    structures.SeriesInstanceUID = generate_uid()
    structures.SeriesNumber = 1000 + ct.SeriesNumber
    structures.SeriesDescription = ct.SeriesDescription + REGIONS_SUFFIX
    structures.StructureSetLabel = "synthetic CT"
    structures.StructureSetDescription = f"Regions of: {ct.DerivationDescription}"
    structures.OperatorsName = ""
    structures.ApprovalStatus = "UNAPPROVED"
    for event in ("InstanceCreation", "Series", "StructureSet"):
        setattr(structures, f"{event}Date", now.strftime("%Y%m%d"))
        setattr(structures, f"{event}Time", now.strftime("%H%M%S"))
    series = _item(
        SeriesInstanceUID=ct.SeriesInstanceUID,
        ContourImageSequence=[_reference(image) for image in images],
    )
    study = _item(
        ReferencedSOPClassUID=_STUDY,
        ReferencedSOPInstanceUID=ct.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    space = _item(
        FrameOfReferenceUID=ct.FrameOfReferenceUID,
        RTReferencedStudySequence=[study],
    )
    structures.ReferencedFrameOfReferenceSequence = [space]
    structures.StructureSetROISequence = []
    structures.ROIContourSequence = []
    structures.RTROIObservationsSequence = []
    structures.file_meta = FileMetaDataset()
    structures.file_meta.MediaStorageSOPClassUID = structures.SOPClassUID
    structures.file_meta.MediaStorageSOPInstanceUID = structures.SOPInstanceUID
    # In the explicit syntaxes ContourData ends at 64 kB.
    structures.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return structures


def _add_region(
    structures: Dataset,
    number: int,
    region: Region,
    planes: np.ndarray,
    images: Sequence[Dataset],
) -> None:
    """Append a region to the three sequences that describe it.

    Args:
        planes: its mask on the images, (images, rows, columns) bool.
    """
    roi = _item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=images[0].FrameOfReferenceUID,
        ROIName=region.name,
        ROIDescription=region.description,
        ROIGenerationAlgorithm="AUTOMATIC",
    )
    contours = [
        _item(
            ContourImageSequence=[_reference(image)],
            ContourGeometricType="CLOSED_PLANAR",
            NumberOfContourPoints=len(polygon),
            ContourData=_to_decimals(polygon, image),
        )
        for plane, image in zip(planes, images, strict=True)
        for polygon in trace_outlines(plane)
    ]
    drawing = _item(ReferencedROINumber=number, ROIDisplayColor=list(region.colour))
    if contours:  # an empty sequence is not allowed
        drawing.ContourSequence = contours
    observation = _item(
        ObservationNumber=number,
        ReferencedROINumber=number,
        RTROIInterpretedType=region.interpreted_type,
        ROIInterpreter="",
    )
    structures.StructureSetROISequence.append(roi)
    structures.ROIContourSequence.append(drawing)
    structures.RTROIObservationsSequence.append(observation)


def _reference(image: Dataset) -> Dataset:
    return _item(
        ReferencedSOPClassUID=image.SOPClassUID,
        ReferencedSOPInstanceUID=image.SOPInstanceUID,
    )


def _item(**elements) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item

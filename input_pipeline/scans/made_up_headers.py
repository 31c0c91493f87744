"""Headers of a patient who does not exist, for a CT series that names nobody."""

import dataclasses
import datetime
import uuid

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pydicom.valuerep import format_number_as_ds

from input_pipeline.scans.dicom_geometry import LPS_TO_RAS
from input_pipeline.scans.dicom_reader import DicomOrigin
from input_pipeline.volume import Volume

# Elements that place an image in space or qualify its pixels, and identify nobody.
_KEPT = (
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "LossyImageCompression",
    "LossyImageCompressionMethod",
    "LossyImageCompressionRatio",
    "PatientPosition",
    "PixelSpacing",
    "SliceThickness",
)


def made_up_origin(axial: Volume) -> DicomOrigin:
    """Make headers of axial slices, for a volume that was not read from DICOM."""
    slice_mm, row_mm, column_mm = axial.spacing_mm
    to_lps = LPS_TO_RAS @ axial.affine[:3]
    header = _made_up_patient()
    header.PatientPosition = "HFS"
    header.PixelSpacing = decimals((row_mm, column_mm))
    header.SliceThickness = decimals((slice_mm,))[0]
    header.ImageOrientationPatient = decimals(
        (*to_lps[:, 0] / column_mm, *to_lps[:, 1] / row_mm)
    )
    headers = []
    for index in range(len(axial.voxels)):
        own = Dataset()
        own.update(header)
        own.ImagePositionPatient = decimals(to_lps @ (0, 0, index, 1))
        headers.append(own)
    return DicomOrigin(
        headers=tuple(headers),
        sources=((),) * len(headers),
        affine=axial.affine,
        shape=axial.voxels.shape[:3],
    )


def pseudonymised(origin: DicomOrigin) -> DicomOrigin:
    """Return an origin with a made-up patient, study and frame of reference.

    Only the position, orientation and pixel properties in `_KEPT` are copied.
    References to the MR images are removed.
    """
    patient = _made_up_patient()
    patient.PatientIdentityRemoved = "YES"
    patient.DeidentificationMethod = "Patient, study and frame of reference replaced"
    headers = []
    for header in origin.headers:
        own = Dataset()
        own.update(patient)
        for keyword in _KEPT:
            if keyword in header:
                own[keyword] = header[keyword]
        headers.append(own)
    return dataclasses.replace(
        origin, headers=tuple(headers), sources=((),) * len(headers)
    )


def _made_up_patient() -> Dataset:
    """Make the elements of a patient, a study and a frame of reference."""
    now = datetime.datetime.now()
    header = Dataset()
    header.PatientName = "SYNTHETIC^CT"
    # Archives merge by ID: each made-up patient needs another.
    header.PatientID = f"SYNTHETIC-{uuid.uuid4().hex[:12].upper()}"
    header.StudyInstanceUID = generate_uid()
    header.StudyID = "1"
    header.StudyDate = now.strftime("%Y%m%d")
    header.StudyTime = now.strftime("%H%M%S")
    header.StudyDescription = "synthetic CT"
    header.FrameOfReferenceUID = generate_uid()
    return header


def decimals(values) -> list[str]:
    """Format numbers as DICOM's decimal strings of at most 16 characters."""
    # Adding 0 turns -0 into 0; rounding keeps 1e-17 from becoming an exponent.
    return [format_number_as_ds(float(round(v, 10) + 0.0)) for v in values]

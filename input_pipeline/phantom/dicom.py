"""The MR of a phantom subject as DICOM files, as a scanner would send them."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from input_pipeline.phantom.scanners import REFERENCE
from input_pipeline.phantom.subject import PhantomSubject

# Attributes that the standard wants to be there, if only empty.
_EMPTY = (
    "AccessionNumber",
    "EchoTrainLength",
    "Manufacturer",
    "PatientBirthDate",
    "PatientSex",
    "PositionReferenceIndicator",
    "ReferringPhysicianName",
    "ScanOptions",
    "StudyDate",
    "StudyID",
    "StudyTime",
)


def write_dicom(folder: Path, subject: PhantomSubject) -> None:
    """Write a subject's images in phase and out of phase, a series each.

    Both have the settings of the reference scanner, in one study and one frame of
    reference. A file is one axial slice.
    """
    study, frame_of_reference = generate_uid(), generate_uid()
    for channel, echo_ms in enumerate((REFERENCE.te_in_ms, REFERENCE.te_out_ms)):
        header = _header(subject)
        header.StudyInstanceUID = study
        header.FrameOfReferenceUID = frame_of_reference
        header.SeriesInstanceUID = generate_uid()
        header.SeriesNumber = channel + 1
        header.EchoTime = echo_ms
        _write_series(folder, header, subject, channel=channel)


def _header(subject: PhantomSubject) -> Dataset:
    """Return what all slices of a subject have in common."""
    header = Dataset()
    for keyword in _EMPTY:
        setattr(header, keyword, None)
    header.SOPClassUID, header.Modality = MRImageStorage, "MR"
    header.PatientName, header.PatientID = "Phantom^Abdomen", "PHANTOM"
    header.PatientPosition, header.BodyPartExamined = "HFS", "ABDOMEN"
    header.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    header.ScanningSequence, header.SequenceVariant = "GR", "SP"
    header.MRAcquisitionType = "2D"
    header.MagneticFieldStrength = REFERENCE.tesla
    header.RepetitionTime = REFERENCE.tr_ms
    header.FlipAngle = REFERENCE.flip_degrees
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.PixelSpacing = [abs(subject.affine[0, 0])] * 2
    header.SliceThickness = subject.affine[2, 2]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, 0
    return header


def _write_series(
    folder: Path, header: Dataset, subject: PhantomSubject, *, channel: int
) -> None:
    """Write a channel of a subject's MR."""
    if not 0 <= subject.mr.min() <= subject.mr.max() < 2**16:
        raise ValueError(
            f"MR from {subject.mr.min():g} to {subject.mr.max():g}, expected 0 to 65535"
        )
    x, y, z = subject.affine[:3, 3] * (-1, -1, 1)  # RAS to DICOM's LPS
    for index, image in enumerate(subject.mr[..., channel]):
        header.SOPInstanceUID = generate_uid()
        header.InstanceNumber = index + 1
        position = [x, y, z + index * header.SliceThickness]
        header.ImagePositionPatient = [float(value) for value in position]
        header.Rows, header.Columns = image.shape
        header.PixelData = np.round(image).astype("<u2").tobytes()
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        name = f"series_{header.SeriesNumber}_slice_{index + 1:02d}.dcm"
        header.save_as(folder / name, enforce_file_format=True)

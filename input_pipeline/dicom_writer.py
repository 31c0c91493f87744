"""A synthetic CT as a DICOM CT series in the study and the space of its MR.

CT Image IOD, PS3.3 A.3. What it inherits: patient, study, frame of reference, position
and orientation, so that it lies on the MR in any viewer or planning system. What is its
own: series and instance UIDs, and every statement of what it is. It says that it is
synthetic in SyntheticData, ImageType, SeriesDescription and DerivationDescription.
"""

import datetime
import os
import shutil
import uuid

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from input_pipeline.dicom import DicomOrigin
from input_pipeline.dicom_frames import quiet_pydicom
from input_pipeline.dicom_geometry import LPS_TO_RAS
from input_pipeline.volume import Volume, restore_order, to_axial

LOWEST_HU, HIGHEST_HU = -1024, 3071
_NAME = "synthct_jax"

# Elements of the patient, the study and the space (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2,
# C.7.4.1). Those of type 2 have to be there, if only empty.
_INHERITED = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "PatientPosition",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
)


def write_ct_series(
    folder: str | os.PathLike,
    hu: np.ndarray,
    volume: Volume,
    *,
    series_description: str = "synthetic CT",
    software: str = _NAME,
    remark: str = "",
) -> list[str]:
    """Writes one CT image file a slice, slice_0001.dcm and on, along the slice normal.

    A volume read from DICOM gives a series on the very slices of the MR, with the MR's
    patient and study. Any other gets a made-up patient and study of its own, and axial
    slices. The folder appears whole or not at all.

    Args:
        folder: does not exist yet.
        hu: (slices, rows, columns) in the order of `volume.voxels`, which may be as
            read or after `to_axial`. Rounded, and clipped to [-1024, 3071].
        volume: the MR that the synthetic CT was made of.
        series_description: 'synthetic CT' is put in front when it does not say so.
        software: name and version of what made it.
        remark: what else its DerivationDescription says.

    Returns:
        The files' paths in the order of the slices.

    Raises:
        FileExistsError: the folder exists.
        ValueError: HU of another shape than the volume, or not finite.
    """
    folder = os.path.normpath(os.fspath(folder))
    if os.path.exists(folder):
        raise FileExistsError(f"{folder} exists already, expected a new folder")
    if hu.shape != volume.voxels.shape[:3]:
        raise ValueError(
            f"HU of shape {hu.shape}, expected {volume.voxels.shape[:3]} as the MR"
        )
    if not np.isfinite(hu).all():
        raise ValueError("HU hold NaN or infinite values, expected finite numbers")
    if "synthetic ct" not in series_description.lower():
        series_description = f"synthetic CT: {series_description}"
    if isinstance(volume.origin, DicomOrigin):
        origin = volume.origin
        hu = restore_order(hu, volume.affine, shape=origin.shape, affine=origin.affine)
    else:
        hu, origin = _made_up_origin(hu, volume)
    stored = np.rint(np.clip(hu, LOWEST_HU, HIGHEST_HU)).astype(np.int32) - LOWEST_HU
    names = [f"slice_{index + 1:04d}.dcm" for index in range(len(stored))]
    os.makedirs(os.path.dirname(folder) or ".", exist_ok=True)
    temporary = f"{folder}.{uuid.uuid4().hex}.partial"
    os.mkdir(temporary)
    try:
        with quiet_pydicom():
            series = _series(origin, series_description, software, remark)
            for index, name in enumerate(names):
                image = _image(series, origin, index, stored[index].astype("<u2"))
                image.save_as(os.path.join(temporary, name), enforce_file_format=True)
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return [os.path.join(folder, name) for name in names]


def _made_up_origin(hu: np.ndarray, volume: Volume) -> tuple[np.ndarray, DicomOrigin]:
    """Axial slices of a patient who does not exist, for scans without headers."""
    axial = to_axial(
        Volume(
            voxels=hu[..., None],
            affine=volume.affine,
            modality="CT",
            channels=("hu",),
        )
    )
    row_mm, column_mm, slice_mm = axial.spacing_mm
    to_lps = LPS_TO_RAS @ axial.affine[:3]
    header = Dataset()
    header.PatientName = "SYNTHETIC^CT"
    # Archives merge by ID: each made-up patient needs another.
    header.PatientID = f"SYNTHETIC-{uuid.uuid4().hex[:12].upper()}"
    header.StudyInstanceUID = generate_uid()
    header.StudyID = "1"
    header.StudyDate = datetime.datetime.now().strftime("%Y%m%d")
    header.StudyTime = datetime.datetime.now().strftime("%H%M%S")
    header.StudyDescription = "synthetic CT"
    header.FrameOfReferenceUID = generate_uid()
    header.PatientPosition = "HFS"
    header.PixelSpacing = _decimals((row_mm, column_mm))
    header.SliceThickness = _decimals((slice_mm,))[0]
    header.ImageOrientationPatient = _decimals(
        (*to_lps[:, 0] / column_mm, *to_lps[:, 1] / row_mm)
    )
    hu_axial = axial.voxels[..., 0]
    headers = []
    for index in range(len(hu_axial)):
        own = Dataset()
        own.update(header)
        own.ImagePositionPatient = _decimals(to_lps @ (0, 0, index, 1))
        headers.append(own)
    origin = DicomOrigin(
        headers=tuple(headers),
        sources=((),) * len(headers),
        affine=axial.affine,
        shape=hu_axial.shape,
    )
    return hu_axial, origin


def _decimals(values) -> list[str]:
    """Decimal strings of at most 16 characters, as DICOM has them."""
    # Adding 0 turns -0 into 0; rounding keeps 1e-17 from becoming an exponent.
    return [format_number_as_ds(float(round(v, 10) + 0.0)) for v in values]


def _series(
    origin: DicomOrigin, description: str, software: str, remark: str
) -> Dataset:
    """What all images of the series share."""
    now = datetime.datetime.now()
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    first = origin.headers[0]
    image = Dataset()
    for keyword in _TYPE_2:
        setattr(image, keyword, "")
    for keyword in _INHERITED:
        if keyword in first:
            image[keyword] = first[keyword]
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        if not image.get(keyword):
            setattr(image, keyword, generate_uid())
    if not image.get("PatientPosition"):
        image.PatientPosition = "HFS"

    image.Modality = "CT"
    image.SeriesInstanceUID = generate_uid()
    image.SeriesNumber = int(first.get("SeriesNumber") or 0) + 1000
    image.SeriesDescription = description[:64]
    image.SeriesDate = image.ContentDate = image.InstanceCreationDate = date
    image.SeriesTime = image.ContentTime = image.InstanceCreationTime = time
    # Without it the standard asks for a laterality. (0018,0015)
    image.BodyPartExamined = first.get("BodyPartExamined") or "ABDOMEN"
    image.Manufacturer = image.ManufacturerModelName = _NAME
    image.SoftwareVersions = software[:64]

    image.SOPClassUID = CTImageStorage
    image.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    image.SyntheticData = "YES"
    image.DerivationDescription = (
        "Synthetic CT: HU estimated from MR images by a neural network, "
        f"not measured with X-rays{remark and '; '}{remark}"
    )
    image.BurnedInAnnotation = "NO"
    image.ContributingEquipmentSequence = Sequence([_equipment(software, now)])
    # Nothing was measured: required to be there, left empty.
    image.KVP = image.AcquisitionNumber = None
    image.PixelSpacing = first.PixelSpacing
    image.ImageOrientationPatient = first.ImageOrientationPatient
    step = np.linalg.norm(origin.affine[:3, 2])
    image.SliceThickness = first.get("SliceThickness") or _decimals((step,))[0]
    image.SpacingBetweenSlices = _decimals((step,))[0]

    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = origin.shape[1:]
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit = 15
    image.PixelRepresentation = 0
    image.RescaleIntercept = LOWEST_HU
    image.RescaleSlope = 1
    image.RescaleType = "HU"
    image.WindowCenter, image.WindowWidth = 40, 400
    return image


def _equipment(software: str, now: datetime.datetime) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = Sequence(
        [_code("109102", "Processing Equipment")]
    )
    item.Manufacturer = item.ManufacturerModelName = _NAME
    item.SoftwareVersions = software[:64]
    item.ContributionDateTime = now.strftime("%Y%m%d%H%M%S")
    item.ContributionDescription = "MR to synthetic CT"
    return item


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = value, "DCM"
    code.CodeMeaning = meaning
    return code


def _image(
    series: Dataset, origin: DicomOrigin, index: int, pixels: np.ndarray
) -> Dataset:
    image = Dataset()
    image.update(series)
    header = origin.headers[index]
    image.SOPInstanceUID = generate_uid()
    image.InstanceNumber = index + 1
    image.ImagePositionPatient = header.ImagePositionPatient
    # The order of the slices in mm, for viewers that sort by it.
    normal = np.cross(
        *np.array(series.ImageOrientationPatient, np.float64).reshape(2, 3)
    )
    location = np.array(header.ImagePositionPatient, np.float64) @ normal
    image.SliceLocation = _decimals((location,))[0]
    sources = []
    for sop_class, instance, frame in origin.sources[index]:
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class
        item.ReferencedSOPInstanceUID = instance
        if frame is not None:
            item.ReferencedFrameNumber = frame
        item.SpatialLocationsPreserved = "YES"
        item.PurposeOfReferenceCodeSequence = Sequence(
            [_code("121322", "Source image for image processing operation")]
        )
        sources.append(item)
    if sources:
        image.SourceImageSequence = Sequence(sources)
    image.PixelData = pixels.tobytes()
    image["PixelData"].VR = "OW"
    image.file_meta = FileMetaDataset()
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image

"""Writer of a synthetic CT as a DICOM CT series in the study and space of its MR.

CT Image IOD, PS3.3 A.3. The series inherits patient, study, frame of reference,
position and orientation, so that it lies on the MR in any viewer or planning system. It
has its own series and instance UIDs and its own description. SyntheticData, ImageType,
SeriesDescription and DerivationDescription say that it is synthetic.
"""

import contextlib
import datetime
import io
import os

import numpy as np
from absl import logging
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from input_pipeline.damage import describe_error
from input_pipeline.display import SOFT_TISSUE
from input_pipeline.files import new_folder
from input_pipeline.intensity import AIR_HU
from input_pipeline.scans.dicom_reader import DicomOrigin
from input_pipeline.scans.made_up_headers import decimals, made_up_origin, pseudonymised
from input_pipeline.scans.quiet import quiet
from input_pipeline.scans.series_description import describe_series
from input_pipeline.volume import (
    Volume,
    from_axial,
    slices_from_axial,
    unusable_on_error,
)

LOWEST_HU, HIGHEST_HU = AIR_HU, 3071
_NAME = "synthct_jax"

# Elements of the patient, the study and the space (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2,
# C.7.4.1): those without which the series might land with another patient, and others.
# Those of type 2 must be present, if only empty.
_IDENTITY = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
)
_OF_STUDY = (
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
)
OF_PATIENT_AND_STUDY = (*_IDENTITY, *_OF_STUDY)
"""Elements that other objects of the study share with the series."""

_OPTIONAL = (
    *_OF_STUDY,
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


class CtSeries:
    """A folder of CT images, one file a slice, slice_0001.dcm and on along the normal.

    A volume read from DICOM gives a series on the very slices of the MR, with the MR's
    patient and study. Any other volume gives axial slices with a made-up patient and
    study. Use it in a `with` statement: the folder appears at its end, whole or not at
    all. Slices are written as they come, or all at the end if the MR was stored in
    other planes (sagittal, coronal).

    Attributes:
        paths: of the files, in the order of the slices.
        left_out: keywords of optional elements that the MR has, but that are damaged.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        volume: Volume,
        *,
        software: str = _NAME,
        model: str = "",
        remark: str = "",
        refused: bool = False,
        pseudonymise: bool = False,
    ):
        """Check the arguments; nothing is written yet.

        Args:
            volume: the MR that the synthetic CT is made of, in axial order.
            software: name and version of the program.
            model: name of the model, for the SeriesDescription.
            remark: end of the DerivationDescription.
            refused: whether the MR was refused, and translated by force: the names of
                the series and of the derivation say so.
            pseudonymise: whether a made-up patient, study and frame of reference take
                the place of the MR's.

        Raises:
            FileExistsError: the folder exists.
            ValueError: the volume is not on the grid of the files it was read from.
            UnusableScan: an element that identifies the patient, the study or the
                space is damaged.
        """
        self._folder = os.path.normpath(os.fspath(folder))
        if os.path.exists(self._folder):
            raise FileExistsError(
                f"{self._folder} exists already, expected a new folder"
            )
        self._shape, self._affine = volume.voxels.shape[:3], volume.affine
        self._origin = volume.origin
        if not isinstance(self._origin, DicomOrigin):
            self._origin = made_up_origin(volume)
        elif pseudonymise:
            self._origin = pseudonymised(self._origin)
        try:
            from_axial(np.empty((*self._shape, 0)), self._affine, self._origin)
        except ValueError as error:
            raise ValueError(f"{volume.source}: {error}") from error
        problem = "a CT series cannot inherit its headers"
        with quiet("pydicom"), unusable_on_error(volume.source, problem):
            self._series, self.left_out = _series(self._origin, software, remark)
            self._series.SeriesDescription = describe_series(model, refused=refused)
            if refused:
                self._series.DerivationDescription += (
                    "; the MR was refused as unlike those that the model knows, and "
                    "was translated by force"
                )
            # Tried now, since values that cannot be written would be found too late.
            pixels = np.zeros(self._origin.shape[1:], "<u2")
            _encode(_image(self._series, self._origin, 0, pixels))
        names = [f"slice_{n + 1:04d}.dcm" for n in range(self._origin.shape[0])]
        self.paths = [os.path.join(self._folder, name) for name in names]
        self._unfinished = contextlib.ExitStack()
        self._missing = set(range(self._shape[0]))
        self._other_planes: np.ndarray | None = None

    def __enter__(self) -> "CtSeries":
        self._temporary = self._unfinished.enter_context(new_folder(self._folder))
        return self

    def __exit__(self, kind, *error) -> None:
        if kind is not None:
            self._unfinished.__exit__(kind, *error)
            return
        with self._unfinished:
            self._finish()

    def write(self, hu: np.ndarray, start: int = 0) -> None:
        """Write consecutive slices.

        If the MR was stored in sagittal or coronal planes, they are kept until the end
        of the `with` block.

        Args:
            hu: (slices, rows, columns) in the order of the volume. Rounded, and clipped
                to [-1024, 3071].
            start: index in the volume of the first slice.

        Raises:
            ValueError: slices beyond the volume's, other numbers of rows and columns
                than the volume's, or HU that are not finite.
        """
        stop = start + len(hu)
        if hu.shape[1:] != self._shape[1:] or not 0 <= start <= stop <= self._shape[0]:
            raise ValueError(
                f"HU of shape {hu.shape} from slice {start} on, expected some of "
                f"{self._shape} as the MR"
            )
        if not np.isfinite(hu).all():
            raise ValueError(
                f"{self._folder}: HU of slices {start} to {stop - 1} hold NaN or "
                "infinite values, expected finite numbers"
            )
        stored = slices_from_axial(hu, start, self._origin)
        if stored is not None:
            self._save(*stored)
        else:
            if self._other_planes is None:
                self._other_planes = np.empty(self._shape, np.float32)
            self._other_planes[start:stop] = hu
        self._missing -= set(range(start, stop))

    def in_order_of_files(self, voxels: np.ndarray) -> np.ndarray:
        """Move voxels (slices, rows, columns) of the volume into the planes of files.

        Raises:
            ValueError: they have another shape than the volume.
        """
        return from_axial(voxels, self._affine, self._origin)

    def _finish(self) -> None:
        if self._missing:
            raise ValueError(
                f"{self._folder}: {len(self._missing)} of {self._shape[0]} slices were "
                "not written, expected all"
            )
        if self._other_planes is not None:
            self._save(0, from_axial(self._other_planes, self._affine, self._origin))

    def _save(self, first: int, hu: np.ndarray) -> None:
        """Write slices in the order of the series, from slice `first` on."""
        stored = np.rint(np.clip(hu, LOWEST_HU, HIGHEST_HU)).astype(np.int32)
        stored = (stored - LOWEST_HU).astype("<u2")
        with quiet("pydicom"):
            for index, pixels in enumerate(stored, start=first):
                image = _image(self._series, self._origin, index, pixels)
                path = self._temporary / os.path.basename(self.paths[index])
                path.write_bytes(_encode(image))


def _encode(image: Dataset) -> bytes:
    """Return the content of a DICOM file."""
    content = io.BytesIO()
    image.save_as(content, enforce_file_format=True)
    return content.getvalue()


def _series(
    origin: DicomOrigin, software: str, remark: str
) -> tuple[Dataset, list[str]]:
    """Make the elements that all images of the series share.

    Keywords of optional elements that cannot be read come second.
    """
    now = datetime.datetime.now()
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    first = origin.headers[0]
    image = Dataset()
    for keyword in _TYPE_2:
        setattr(image, keyword, "")
    for keyword in _IDENTITY:
        if keyword in first:
            image[keyword] = first[keyword]
    left_out: list[str] = []
    for keyword in _OPTIONAL:
        if (element := _readable_element(first, keyword, left_out)) is not None:
            image[keyword] = element
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        if not image.get(keyword):
            setattr(image, keyword, generate_uid())
    if not image.get("PatientPosition"):
        image.PatientPosition = "HFS"

    image.Modality = "CT"
    image.SeriesInstanceUID = generate_uid()
    number = _readable_element(first, "SeriesNumber", left_out)
    image.SeriesNumber = 1000 + (int(number.value or 0) if number else 0)
    image.SeriesDate, image.SeriesTime = date, time
    # Without it the standard asks for a laterality. (0018,0015)
    part = _readable_element(first, "BodyPartExamined", left_out)
    image.BodyPartExamined = (part and part.value) or "ABDOMEN"
    image.Manufacturer = image.ManufacturerModelName = _NAME
    image.SoftwareVersions = software[:64]

    image.SOPClassUID = CTImageStorage
    image.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    image.SyntheticData = "YES"
    image.DerivationDescription = (
        "Synthetic CT: HU estimated from MR images by a neural network, "
        "not measured with X-rays; for research only, not for diagnosis or treatment"
        f"{remark and '; '}{remark}"
    )
    image.BurnedInAnnotation = "NO"
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = _code("109102", "Processing Equipment")
    equipment.Manufacturer = equipment.ManufacturerModelName = _NAME
    equipment.SoftwareVersions = software[:64]
    equipment.ContributionDateTime = now.strftime("%Y%m%d%H%M%S")
    equipment.ContributionDescription = "MR to synthetic CT"
    image.ContributingEquipmentSequence = Sequence([equipment])
    # Nothing was measured: required to be there, left empty.
    image.KVP = image.AcquisitionNumber = None
    image.PixelSpacing = first.PixelSpacing
    image.ImageOrientationPatient = first.ImageOrientationPatient
    step = np.linalg.norm(origin.affine[:3, 2])
    thickness = _readable_element(first, "SliceThickness", left_out)
    image.SliceThickness = (thickness and thickness.value) or decimals((step,))[0]
    image.SpacingBetweenSlices = decimals((step,))[0]

    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = origin.shape[1:]
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit = 15
    image.PixelRepresentation = 0
    image.RescaleIntercept = LOWEST_HU
    image.RescaleSlope = 1
    image.RescaleType = "HU"
    image.WindowCenter, image.WindowWidth = SOFT_TISSUE
    return image, left_out


def _readable_element(
    header: Dataset, keyword: str, left_out: list[str]
) -> DataElement | None:
    """Return an element; None if it is absent, or cannot be read or written.

    Keywords of the latter are appended to `left_out`.
    """
    if keyword not in header:
        return None
    image = Dataset()
    try:
        if "SpecificCharacterSet" in header:
            image.SpecificCharacterSet = header.SpecificCharacterSet
        image[keyword] = header[keyword]
        image.save_as(io.BytesIO(), implicit_vr=False, little_endian=True)
    except Exception as error:  # pydicom converts when a value is read or written
        logging.warning("%s is left out: %s", keyword, describe_error(error))
        left_out.append(keyword)
        return None
    return image[keyword]


def _code(value: str, meaning: str) -> Sequence:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = value, "DCM"
    code.CodeMeaning = meaning
    return Sequence([code])


def _image(
    series: Dataset, origin: DicomOrigin, index: int, pixels: np.ndarray
) -> Dataset:
    image = Dataset()
    image.update(series)
    header = origin.headers[index]
    image.SOPInstanceUID = generate_uid()
    now = datetime.datetime.now()
    image.ContentDate = image.InstanceCreationDate = now.strftime("%Y%m%d")
    image.ContentTime = image.InstanceCreationTime = now.strftime("%H%M%S")
    image.InstanceNumber = index + 1
    image.ImagePositionPatient = header.ImagePositionPatient
    # The order of the slices in mm, for viewers that sort by it.
    normal = np.cross(
        *np.array(series.ImageOrientationPatient, np.float64).reshape(2, 3)
    )
    location = np.array(header.ImagePositionPatient, np.float64) @ normal
    image.SliceLocation = decimals((location,))[0]
    sources = []
    for sop_class, instance, frame in origin.sources[index]:
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class
        item.ReferencedSOPInstanceUID = instance
        if frame is not None:
            item.ReferencedFrameNumber = frame
        item.SpatialLocationsPreserved = "YES"
        item.PurposeOfReferenceCodeSequence = _code(
            "121322", "Source image for image processing operation"
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

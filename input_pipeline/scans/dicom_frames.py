"""DICOM files to image frames: one header each, whatever the kind of file.

A classic file holds one frame. An enhanced multi-frame file holds many, with their
geometry in functional groups (PS3.3 C.7.6.16); they are flattened here, so that
everything after sees one plain header a frame.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Iterable

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import (
    JPEG2000,
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    JPEG2000Lossless,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MediaStorageDirectoryStorage,
    MRImageStorage,
)

from input_pipeline.volume import UnusableScan, unusable_on_error

# Functional groups that carry what a classic header says at its top level.
_GROUPS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "MREchoSequence",
    "MRImageFrameTypeSequence",
    "MRDiffusionSequence",
    "CTImageFrameTypeSequence",
    "MRTimingAndRelatedParametersSequence",
    "CTAcquisitionDetailsSequence",
)
# What must have pixels. Other objects of a study (reports, structure sets, raw data)
# have none, or are judged by their modality.
_IMAGE_CLASSES = (
    MRImageStorage,
    CTImageStorage,
    EnhancedMRImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
)
# GDCM, pydicom's first choice, ends the process at some damaged JPEG 2000.
_DECODERS = dict.fromkeys((JPEG2000Lossless, JPEG2000), "pillow")
_CLASSIC_NAMES = {
    "EffectiveEchoTime": "EchoTime",
    "FrameType": "ImageType",
}


@dataclasses.dataclass(frozen=True)
class Frame:
    """One image: its file, its index in a multi-frame file (None: classic), header."""

    path: str
    number: int | None
    header: Dataset

    def get(self, keyword: str):
        """Return the element's value, None if it is absent."""
        with unusable_on_error(self.path, f"{keyword} cannot be read"):
            return self.header.get(keyword)

    def text(self, keyword: str) -> str:
        """Return the element as text, '' if it is absent or empty."""
        value = self.get(keyword)
        with unusable_on_error(self.path, f"{keyword} cannot be read"):
            return "" if value is None else str(value).strip()

    def number_or_none(self, keyword: str) -> float | None:
        """Return the value of an element as a number; None if absent or empty."""
        value = self.get(keyword)
        if value is None or value == "":
            return None
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise UnusableScan(
                f"{self.path}: {keyword} is {value!r}, expected a finite number"
            )
        return number

    def count(self, keyword: str) -> int | None:
        """Return the value of an element as a count; None if absent or empty."""
        number = self.number_or_none(keyword)
        if number is not None and (number < 0 or number % 1):
            raise UnusableScan(
                f"{self.path}: {keyword} is {number}, expected a whole number"
            )
        return None if number is None else int(number)

    def numbers(self, keyword: str, count: int) -> np.ndarray:
        """Return `count` finite values, float64; refuse any others."""
        value = self.get(keyword)
        if value is None or value == "":
            raise UnusableScan(f"{self.path}: has no {keyword}")
        try:
            numbers = np.array(value, np.float64)
        except (TypeError, ValueError):
            numbers = np.array([np.nan])
        if numbers.shape != (count,) or not np.isfinite(numbers).all():
            raise UnusableScan(
                f"{self.path}: {keyword} is {value}, expected {count} numbers"
            )
        return numbers

    @property
    def echo_ms(self) -> float | None:
        """Echo time, None if the header has none."""
        return self.number_or_none("EchoTime")

    def image_type(self) -> tuple[str, ...]:
        """Return the values of ImageType in capitals; () if it is absent."""
        value = self.get("ImageType") or ()
        values = value if isinstance(value, MultiValue | tuple) else (value,)
        return tuple(str(v).strip().upper() for v in values)


def find_frames(path: str) -> tuple[list[Frame], list[str]]:
    """List all image frames of a file, or of a folder and the folders below it.

    Files that are not DICOM, directories of media (DICOMDIR) and objects without
    an image plane (structure sets, reports, ...) are left out.

    Returns:
        The frames, and the paths left out, both in the order of the paths.

    Raises:
        UnusableScan: a file named as DICOM is none or is empty, a DICOM file cannot be
            read, or an enhanced image has not a header for each of its frames.
    """
    if os.path.isfile(path):
        paths = [path]
    else:
        paths = sorted(str(p) for p in pathlib.Path(path).rglob("*") if p.is_file())
    frames, left_out = [], []
    for file in paths:
        with unusable_on_error(file, "DICOM header cannot be read"):
            header = _read_header(file)
            if header is None:
                left_out.append(file)
            else:
                frames.extend(_split(file, header))
    return frames, left_out


def _read_header(path: str) -> Dataset | None:
    """Read the header of an image file; None for any other file."""
    with open(path, "rb") as file:
        start = file.read(132)
    # Part 10 files have a magic word. Older ones begin with a group number.
    part10 = start[128:] == b"DICM"
    if not part10 and start[:2] not in (b"\x08\x00", b"\x02\x00"):
        _check_not_cut(path, start)
        return None
    try:
        # Large values stay on disk, but that there are pixels is known.
        header = pydicom.dcmread(path, defer_size=1024, force=not part10)
        media = header.file_meta.get("MediaStorageSOPClassUID") if part10 else None
        kind = media or header.get("SOPClassUID")
    except Exception:
        if part10:
            raise
        return None  # another kind of file, whose first bytes look like DICOM
    if kind in _IMAGE_CLASSES and "PixelData" not in header:
        raise UnusableScan(
            f"{path}: has no pixel data, or ends before it; expected an image"
        )
    if kind == MediaStorageDirectoryStorage or "PixelData" not in header:
        return None
    del header["PixelData"]
    return header


def _check_not_cut(path: str, start: bytes) -> None:
    """Refuse a slice whose copy was interrupted: it must not go missing silently."""
    name = os.path.basename(path)
    suffix = os.path.splitext(name)[1].lower()
    named = suffix in (".dcm", ".ima") and not name.startswith(".")
    # An empty file, or nothing but the zeros that DICOM files begin with.
    blank = not suffix and not start.strip(b"\0")
    if named or blank:
        problem = "not a DICOM file" if start else "an empty file"
        raise UnusableScan(f"{path}: {problem}, expected a DICOM image")


def _split(path: str, header: Dataset) -> list[Frame]:
    whole = Frame(path, None, header)
    per_frame = whole.get("PerFrameFunctionalGroupsSequence")
    if per_frame is None:
        return [whole]
    count = frame_count(whole)
    if len(per_frame) != count:
        raise UnusableScan(
            f"{path}: {len(per_frame)} headers for {count} frames, expected one each"
        )
    shared = header.get("SharedFunctionalGroupsSequence") or [Dataset()]
    common = Dataset()
    for element in header:
        if "FunctionalGroups" not in element.keyword:
            common[element.tag] = element
    return [
        Frame(path, number, _flatten(common, shared[0], own))
        for number, own in enumerate(per_frame)
    ]


def frame_count(frame: Frame) -> int:
    """Return the number of frames in the file of a frame."""
    return frame.count("NumberOfFrames") or 1


def _flatten(common: Dataset, shared: Dataset, own: Dataset) -> Dataset:
    header = Dataset()
    header.update(common)
    for groups in (shared, own):
        for name in _GROUPS:
            for element in (groups.get(name) or [Dataset()])[0]:
                keyword = _CLASSIC_NAMES.get(element.keyword)
                # A new element: the old one is shared with the other frames.
                if keyword:
                    tag, vr = tag_for_keyword(keyword), dictionary_VR(keyword)
                    element = DataElement(tag, vr, element.value)
                header[element.tag] = element
    return header


def read_pixels(frames: Iterable[Frame]) -> list[np.ndarray]:
    """Decode the stored values of each frame, (rows, columns), before any rescaling.

    Raises:
        UnusableScan: names the file whose pixels are absent, truncated or damaged, or
            need a decoder that is not installed.
    """
    stacks: dict[str, np.ndarray] = {}
    pixels = []
    for frame in frames:
        if frame.path not in stacks:
            if frame.number is None:
                stacks.clear()  # classic files are read once each
            stacks[frame.path] = _decode(frame.path)
        plane = stacks[frame.path]
        if frame.number is not None and plane.ndim == 3:
            plane = plane[frame.number]
        shape = (frame.count("Rows"), frame.count("Columns"))
        if plane.shape != shape:
            raise UnusableScan(
                f"{frame.path}: pixels are {plane.shape}, expected {shape}"
            )
        pixels.append(plane)
    return pixels


def _decode(path: str) -> np.ndarray:
    # The decoders are many and raise what they like.
    with unusable_on_error(path, "pixels are truncated or damaged"):
        dataset = pydicom.dcmread(path, force=True)
        if "PixelData" not in dataset:
            raise UnusableScan(f"{path}: has no pixel data")
        syntax = getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID")
        if syntax is not None and syntax.is_compressed:
            _require_decoder(path, syntax)
            dataset.pixel_array_options(decoding_plugin=_DECODERS.get(syntax, ""))
        return dataset.pixel_array


def _require_decoder(path: str, syntax: UID) -> None:
    try:
        available = pydicom.pixels.get_decoder(syntax).is_available
    except NotImplementedError:
        raise UnusableScan(
            f"{path}: pixels are compressed as {syntax.name}, which cannot be read; "
            "convert the series to an uncompressed transfer syntax"
        ) from None
    if not available:
        raise UnusableScan(
            f"{path}: pixels are compressed as {syntax.name} and no decoder is "
            "installed: pip install pyjpegls pylibjpeg-openjpeg python-gdcm"
        )

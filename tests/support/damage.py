"""Random damage to files: bytes, DICOM elements, JSON fields."""

import json
import struct
from pathlib import Path

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from input_pipeline.scans.quiet import quiet

# Elements that a reader of images looks at.
KEYWORDS = (
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation", "PhotometricInterpretation"),
    *("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "PixelPaddingValue"),
    *("GantryDetectorTilt", "EchoTime", "MagneticFieldStrength", "ImagingFrequency"),
    *("ImageType", "Modality", "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"),
    *("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"),
    *("SpecificCharacterSet", "ScanningSequence", "SeriesDescription", "PixelData"),
    *("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"),
    # A CT series inherits these.
    *("SeriesNumber", "PatientWeight", "PatientBirthDate", "StudyDate", "StudyTime"),
    *("BodyPartExamined", "SliceThickness", "ReferringPhysicianName"),
)
_TEXTS = (
    *(b"", b" ", b"NaN", b"inf", b"-1", b"0", b"1e400", b"1\\2", b"abc", b"1.5.2"),
    *(b"999999999999", b"\xff\xfe", b"2\\2\\2\\2\\2\\2", b"\\", b"-1e-9", b"CT"),
)
_NUMBERS = (0, 1, 2, 7, 255, 65535, 2**31, 2**32 - 1)
_BINARY_VR = {"US": "<H", "SS": "<H", "UL": "<I"}
_JSON = (None, True, 0, -1, 1e308, "", "x", [], {}, [1, "a"], {"a": 1}, 2**70)


def damage_bytes(rng: np.random.Generator, path: Path) -> str:
    """Change a file's content, and return what was done."""
    intact = path.read_bytes()
    content, done = bytearray(intact), ""
    while content == intact:
        done = _damage(rng, content)
    path.write_bytes(content)
    return f"{done} of {path.name}"


def _damage(rng: np.random.Generator, content: bytearray) -> str:
    start = int(rng.integers(len(content) + 1))
    length = int(rng.integers(1, 64))
    kind = rng.choice(["flip", "cut", "zeros", "noise", "lose", "repeat"])
    if kind == "flip" and start < len(content):
        content[start] ^= 1 << int(rng.integers(8))
    elif kind == "cut":
        del content[start:]
    elif kind == "zeros":
        content[start : start + length] = bytes(len(content[start : start + length]))
    elif kind == "noise":
        content[start : start + length] = rng.bytes(length)
    elif kind == "lose":
        del content[start : start + length]
    elif kind == "repeat":
        content[start:start] = content[start : start + length]
    return f"{kind} at {start} ({length})"


def damage_element(rng: np.random.Generator, path: Path) -> str:
    """Change, add or delete an element of a DICOM file, and return what was done."""
    with quiet("pydicom"):  # it warns of damage that is there already
        return _damage_element(rng, path)


def _damage_element(rng: np.random.Generator, path: Path) -> str:
    image = pydicom.dcmread(path)
    keyword = str(rng.choice(KEYWORDS))
    tag = Tag(tag_for_keyword(keyword))
    if rng.uniform() < 0.15:
        image.pop(tag, None)
        value = None
    else:
        vr = dictionary_VR(keyword).split(" ")[-1]
        if vr in _BINARY_VR:
            limit = 2 ** (8 * struct.calcsize(_BINARY_VR[vr])) - 1
            count = int(rng.choice([0, 1, 1, 1, 2, 3]))
            numbers = rng.choice(_NUMBERS, count)
            value = b"".join(
                struct.pack(_BINARY_VR[vr], int(n) & limit) for n in numbers
            )
        else:
            value = bytes(rng.choice(np.array(_TEXTS, object)))
        # pydicom itself cannot write the file again if the character set is a number.
        if rng.uniform() < 0.1 and keyword != "SpecificCharacterSet":
            vr = str(rng.choice(["LO", "US", "DS", "UN", "SQ", "FD"]))
        image[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    image.save_as(path, enforce_file_format=False)
    return f"{keyword} = {value!r} in {path.name}"


def damage_fields(rng: np.random.Generator, path: Path) -> str:
    """Replace, add or delete a field of a JSON file, and return what was done."""
    root = json.loads(path.read_text())
    place, keys = root, []
    while True:
        items = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = items[int(rng.integers(len(items)))]
        keys.append(key)
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or rng.uniform() < 0.3:
            break
        place = inner
    value = _JSON[int(rng.integers(len(_JSON)))]
    if rng.uniform() < 0.2:
        del place[key]
        value = "gone"
    elif isinstance(place, dict) and rng.uniform() < 0.1:
        place["unknown"] = value
    else:
        place[key] = value
    path.write_text(json.dumps(root))
    return f"{'.'.join(map(str, keys))} = {value!r}"

"""Random damage to files: bytes, DICOM elements, fields of JSON and headers."""

import json
import struct
from collections.abc import Sequence
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
_HEADER_TEXTS = (
    *(b"2", b"4", b"3 4 5", b"3 4 999999999", b"65535 65535 1", b"0 0 0", b"LOCAL"),
    *(b"nan nan nan", b"MET_DOUBLE", b"MET_SHORT", b"double", b"int8", b"True", b"raw"),
    *(b"gzip", b"big", b"(1,0,0) (0,1,0) none", b"1 0 0 0 1 0 0 0 0", b"other.raw"),
)
_NUMBERS = (0, 1, 2, 7, 255, 65535, 2**31, 2**32 - 1)
_BINARY_VR = {"US": "<H", "SS": "<H", "UL": "<I"}
_JSON = (None, True, 0, -1, 1e308, "", "x", [], {}, [1, "a"], {"a": 1}, 2**70)


def damage_bytes(
    rng: np.random.Generator,
    path: Path,
    kinds: Sequence[str] = ("flip", "cut", "zeros", "noise", "lose", "repeat"),
    first: int = 0,
) -> str:
    """Change a file's content from byte `first` on, and return what was done."""
    intact = path.read_bytes()
    content, done = bytearray(intact[first:]), ""
    while content == intact[first:]:
        done = _damage(rng, content, kinds)
    path.write_bytes(intact[:first] + content)
    return f"{done} of {path.parent.name}/{path.name}"


def _damage(rng: np.random.Generator, content: bytearray, kinds: Sequence[str]) -> str:
    start = int(rng.integers(len(content) + 1))
    used = np.flatnonzero(np.frombuffer(bytes(content), np.uint8))
    if len(used) and rng.uniform() < 0.5:  # some formats are mostly padding
        start = int(rng.choice(used))
    length = int(rng.integers(1, 64))
    kind = rng.choice(kinds)
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


def flip_bit(rng: np.random.Generator, path: Path) -> str:
    return damage_bytes(rng, path, ["flip"])


def cut_end(rng: np.random.Generator, path: Path) -> str:
    return damage_bytes(rng, path, ["cut"])


def write_zeros(rng: np.random.Generator, path: Path) -> str:
    return damage_bytes(rng, path, ["zeros"])


def remove_file(rng: np.random.Generator, path: Path) -> str:
    path.unlink()
    return f"{path.parent.name}/{path.name} is gone"


def exchange_file(rng: np.random.Generator, path: Path) -> str:
    """Give a file and another of the same suffix each other's content."""
    folder = path.parents[3]  # of all domains
    others = sorted(p for p in folder.rglob(f"*{path.suffix}") if p != path)
    other = others[int(rng.integers(len(others)))]
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)
    return f"{path} and {other} exchanged"


def damage_fragments(rng: np.random.Generator, path: Path) -> str:
    """Change a DICOM file's PixelData, and return what was done."""
    return damage_bytes(rng, path, first=path.read_bytes().rindex(b"\xe0\x7f\x10\0"))


def damage_header(rng: np.random.Generator, path: Path) -> str:
    """Change or delete a line of a MetaImage or NRRD header; return what was done."""
    if path.suffix == ".raw":
        return damage_bytes(rng, path)
    separator = b":" if path.suffix == ".nrrd" else b" ="
    lines = path.read_bytes().split(b"\n")
    number = int(rng.integers(1, sum(separator in line for line in lines[:16])))
    value = bytes(rng.choice(np.array((*_TEXTS, *_HEADER_TEXTS), object)))
    lines[number] = lines[number].split(separator)[0] + separator + b" " + value
    done = lines[number].decode("latin-1")
    if rng.uniform() < 0.15:
        done = f"no {lines.pop(number)!r}"
    path.write_bytes(b"\n".join(lines))
    return f"{done} of {path.name}"


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

"""Damage to a folder of DICOM images: repeated images and foreign files."""

import shutil
from pathlib import Path

import fake_dicom
import numpy as np
import pydicom
from pydicom.uid import (
    BasicTextSRStorage,
    MediaStorageDirectoryStorage,
    SecondaryCaptureImageStorage,
)

_CONTENTS = {
    "notes.txt": b"slice 3 is noisy\n",
    "IM_notes.dcm": b"a text that is named as an image\n",
    "report.pdf": b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n",
    "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "._IM000": b"\0\5\x16\7\0\2\0\0Mac OS X        ",
    "empty.txt": b"",
    "looks_like_dicom": b"\x08\0\x05\0" + bytes(range(100)),
}
_CLASSES = {
    "structured_report": (BasicTextSRStorage, "SR"),
    "DICOMDIR": (MediaStorageDirectoryStorage, "OT"),
    "screenshot": (SecondaryCaptureImageStorage, "OT"),
}


def repeat_image(rng: np.random.Generator, path: Path) -> str:
    """Copy an image of the folder of `path` to another name."""
    images = _images(path)
    image = images[int(rng.integers(len(images)))]
    copy = image.with_name(f"IM_copy{rng.integers(1000)}")
    shutil.copy(image, copy)
    return f"{copy.name} is {image.name}"


def share_position(rng: np.random.Generator, path: Path) -> str:
    """Move an image of the folder of `path` to the place of another."""
    image, other = rng.permutation(np.array(_images(path), object))[:2]
    header = pydicom.dcmread(image)
    place = pydicom.dcmread(other).ImagePositionPatient
    header.ImagePositionPatient = place
    header.save_as(image)
    return f"{image.name} is where {other.name} is"


def add_foreign_file(rng: np.random.Generator, path: Path) -> str:
    """Write a file that is no image of the series beside `path`."""
    names = [*_CONTENTS, *_CLASSES]
    name = names[int(rng.integers(len(names)))]
    file = path.with_name(name)
    if name in _CONTENTS:
        file.write_bytes(_CONTENTS[name])
    else:
        geometry = fake_dicom.Geometry(shape=(1, 4, 5))
        image = fake_dicom.header(geometry, 0, modality="MR", series="1.2.3")
        image.SOPClassUID, image.Modality = _CLASSES[name]
        if name == "screenshot":
            image.PixelData = bytes(40)
            image["PixelData"].VR = "OW"
        fake_dicom.save(image, file)
    return f"{name} is there"


def _images(path: Path) -> list[Path]:
    return sorted(p for p in path.parent.glob("IM*") if p.name != "IM_notes.dcm")

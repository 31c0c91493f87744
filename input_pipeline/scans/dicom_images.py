"""Images of a DICOM examination: frames that belong together, and what they show.

An abdominal MR examination holds localizers, maps, projections and the same sequence
before and after contrast medium. All that tells them apart here are attributes of
PS3.3, most of them of C.7.6.1 (General Image) and C.8.3 (MR Image).
"""

import collections
import dataclasses
import functools
import os
import re
from collections.abc import Sequence

import numpy as np

from input_pipeline.scans.dicom_contrast import contrast
from input_pipeline.scans.dicom_frames import Frame
from input_pipeline.scans.dicom_geometry import (
    find_difference,
    orientation,
    size,
    spacing,
)
from input_pipeline.volume import UnusableScan

_SUBTRACTIONS = {"SUBTRACT", "SUBTRACTION", "SUB"}
_PROJECTIONS = {"MIP", "MINIP", "MAXIMUM", "MINIMUM", "PROJECTION IMAGE"}
_DIFFUSION = {"DIFFUSION", "ADC", "EADC", "FA", "TRACE", "TRACEW"}
# Bile alone is left at such an echo time: MR cholangiopancreatography.
_BILE_ECHO_TIME_MS = 450.0
_SLAB_MM = 20.0
_NO_AGENT = {"", "NO", "NONE"}
_PLANES = ("sagittal", "coronal", "axial")  # by the axis of the normal


@dataclasses.dataclass(frozen=True, eq=False)
class Image:
    """Frames that belong together: one series, one echo, one kind of image.

    Attributes:
        contrast: in_phase, out_of_phase, t2, or None for any other image and for CT.
        conflict: why the contrast is unknown: attributes that contradict each other.
    """

    series: str
    frames: tuple[Frame, ...]
    contrast: str | None
    conflict: UnusableScan | None = None

    def __str__(self) -> str:
        """Return what a user needs to choose it, free text and UID included."""
        description = text_or_blank(self.frames[0], "SeriesDescription")
        facts = (self.label, description and repr(description), f"series {self.series}")
        return ", ".join(fact for fact in facts if fact)

    @property
    def label(self) -> str:
        """Text for logs that tells it from others.

        Free text and UIDs, which may name a patient, are left out.
        """
        first = self.frames[0]
        number = text_or_blank(first, "SeriesNumber")
        tesla = text_or_blank(first, "MagneticFieldStrength")
        facts = (
            f"{len(self.frames)} images in {os.path.dirname(first.path)}",
            number and f"number {number}",
            "" if first.echo_ms is None else f"TE {first.echo_ms:g} ms",
            tesla and f"{tesla} T",
            "\\".join(first.image_type()),
            self.contrast,
        )
        return ", ".join(fact for fact in facts if fact)

    def facts(self) -> dict[str, object]:
        """Return what tells it from others, without free text and UIDs, as JSON."""
        first = self.frames[0]
        number = text_or_blank(first, "SeriesNumber")
        return {
            "series_number": int(number) if number.isdigit() else None,
            "images": len(self.frames),
            "plane": self.plane,
            "echo_time_ms": first.echo_ms,
            "image_type": "\\".join(first.image_type()),
        }

    @functools.cached_property
    def unfit(self) -> str:
        """Reason why it is no channel whatever else there is; '' if it may be one."""
        first = self.frames[0]
        kinds = set(first.image_type())
        b_values = {_number_or_none(f, "DiffusionBValue") for f in self.frames}
        b_values = sorted(b_values - {None})
        if b_values:
            return f"diffusion, b = {', '.join(f'{b:g}' for b in b_values)} s/mm2"
        if kinds & _DIFFUSION:
            return "diffusion by its ImageType"
        if kinds & _SUBTRACTIONS:
            return "a subtraction"
        if kinds & _PROJECTIONS:
            return "a projection"
        if "QUANTITY" in kinds or any(kind.endswith(" MAP") for kind in kinds):
            return "a map of a computed quantity"
        if self.contrast is None:
            echo = "unknown" if first.echo_ms is None else f"{first.echo_ms:g} ms"
            if self.conflict:  # which names a path
                return "ImageType and EchoTime contradict each other"
            return f"neither in phase, out of phase nor T2 by ImageType and TE {echo}"
        echo_planar = text_or_blank(first, "EchoPlanarPulseSequence") == "YES"
        if echo_planar or "EP" in text_or_blank(first, "ScanningSequence"):
            return "echo-planar, as diffusion and perfusion are"
        if (first.echo_ms or 0) > _BILE_ECHO_TIME_MS:
            return f"TE {first.echo_ms:g} ms, as in MRCP"
        thickness = _number_or_none(first, "SliceThickness") or 0
        if thickness > _SLAB_MM:
            return f"a slab of {thickness:g} mm"
        options = re.findall(r"\w+", text_or_blank(first, "ScanOptions"))
        if self.contrast != "t2" and "FS" in options:
            return "fat is suppressed (ScanOptions FS), so it is no phase image"
        return ""

    @functools.cached_property
    def scattered(self) -> str:
        """Reason why its frames are no stack, such as a localizer's; '' for a stack."""
        if len(self.frames) < 2:
            return "one slice"
        try:
            difference = find_difference(self.frames)
        except UnusableScan:  # told to the user if it is read
            return ""
        return f"mixed {difference[0]}" if difference else ""

    @functools.cached_property
    def objections(self) -> dict[str, str]:
        """Reasons to prefer another image of its contrast that lacks them, by kind."""
        first = self.frames[0]
        kinds = first.image_type()
        remarks = {}
        agent = text_or_blank(first, "ContrastBolusAgent").upper() not in _NO_AGENT
        if agent or text_or_blank(first, "ContrastBolusAgentSequence") not in (
            "",
            "[]",
        ):
            remarks["agent"] = "with contrast medium (ContrastBolusAgent)"
        if {"DERIVED", "SECONDARY"} & set(kinds[:2]):
            remarks["derived"] = f"computed from other images ({'/'.join(kinds[:2])})"
        if "ND" in kinds:
            remarks["distorted"] = "not corrected for distortion (ImageType ND)"
        if self.plane not in (None, "axial"):
            remarks["plane"] = f"{self.plane} slices, not axial"
        return remarks

    @functools.cached_property
    def plane(self) -> str | None:
        """The plane nearest to its first slice, None if the header does not say."""
        try:
            normal = np.cross(*orientation(self.frames[0]))
        except UnusableScan:
            return None
        return _PLANES[int(np.argmax(np.abs(normal)))]

    @functools.cached_property
    def places(self) -> np.ndarray | None:
        """Size, spacing, directions and sorted positions; None if headers lack them."""
        first = self.frames[0]
        try:
            directions = orientation(first)
            positions = [f.numbers("ImagePositionPatient", 3) for f in self.frames]
            layout = (size(first), spacing(first), directions.ravel())
        except UnusableScan:
            return None
        heights = positions @ np.cross(*directions)
        ordered = np.array(positions)[np.argsort(heights, kind="stable")]
        return np.concatenate((*layout, ordered.ravel()))

    @property
    def extent_mm(self) -> float:
        """Distance of the first and the last slice, 0 if headers lack positions."""
        if self.places is None:
            return 0.0
        return float(np.linalg.norm(self.places[-3:] - self.places[10:13]))


def on_one_grid(image: Image, other: Image) -> bool:
    """Tell whether the slices of two images lie at the same places, to 0.01 mm."""
    places, others = image.places, other.places
    if places is None or others is None or len(places) != len(others):
        return False
    return bool(np.allclose(places, others, rtol=0, atol=0.01))


def text_or_blank(frame: Frame, keyword: str) -> str:
    """Return an element that nothing depends on as text, '' if it is damaged."""
    try:
        return frame.text(keyword)
    except UnusableScan:
        return ""


def _number_or_none(frame: Frame, keyword: str) -> float | None:
    try:
        return frame.number_or_none(keyword)
    except UnusableScan:
        return None


def group(frames: Sequence[Frame], modality: str) -> list[Image]:
    """Group frames by series and, within an MR series, by echo and kind of image."""
    groups = collections.defaultdict(list)
    echoes = collections.defaultdict(set)
    for frame in frames:
        series = frame.text("SeriesInstanceUID")
        if modality == "CT":
            # Value 4 and on varies within the series of some scanners.
            key = (series, frame.image_type()[:3])
        else:
            echoes[series].add(frame.echo_ms)
            part = frame.text("ComplexImageComponent")
            key = (series, frame.image_type(), frame.echo_ms, part)
        groups[key].append(frame)
    images = []
    for (series, *_), members in groups.items():
        name, conflict = None, None
        if modality == "MR":
            try:
                name = contrast(members[0], single_echo=len(echoes[series]) == 1)
            except UnusableScan as error:  # of one series among others
                conflict = error
        images.append(Image(series, tuple(members), name, conflict))
    return images

"""Reader of a folder of DICOM files: the headers are grouped, one scan is read.

Nothing is guessed: a folder with two candidates of which neither is better is refused
with a list of both (`dicom_choice`).
"""

import collections
import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging
from pydicom.dataset import Dataset

from input_pipeline.intensity import AIR_HU
from input_pipeline.scans.alignment import grids_apart_mm, onto_grid
from input_pipeline.scans.dicom_choice import Choice, choose, named, only
from input_pipeline.scans.dicom_frames import (
    Frame,
    find_frames,
    frame_count,
    read_pixels,
)
from input_pipeline.scans.dicom_geometry import size, stack_slices
from input_pipeline.scans.dicom_images import Image, group
from input_pipeline.scans.quiet import quiet
from input_pipeline.volume import (
    MR_CHANNELS,
    Origin,
    UnusableScan,
    Volume,
    check_channels,
)

_SAME_POSITION_MM = 0.01
_MAX_FLOAT32 = float(np.finfo(np.float32).max)
_PERSON = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DicomOrigin(Origin):
    """Grid and headers that an output series inherits from its scan.

    Attributes:
        headers: one a slice, of the first channel, without pixels.
        sources: for each slice the (SOPClassUID, SOPInstanceUID, frame number or
            None) of all channels' images there; frame numbers count from 1.
        choice: `Choice.report` of the series that were read; None for a CT and for
            made-up headers.
    """

    headers: tuple[Dataset, ...]
    sources: tuple[tuple[tuple[str, str, int | None], ...], ...]
    choice: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class _Stack:
    """The sorted frames of one channel, and their grid."""

    channel: str
    frames: list[Frame]
    grid: Origin

    @property
    def folder(self) -> str:
        return os.path.dirname(self.frames[0].path)


def read_dicom(
    folder: str | os.PathLike,
    *,
    modality: str,
    channels: Sequence[str] | None = None,
    series: Sequence[str] = (),
) -> Volume:
    """Read the one scan in a folder of DICOM files, as stored.

    All files below the folder are read, whatever their names, and those that are not
    DICOM images skipped. MR phases are distinguished by echo time and field strength
    (`dicom_contrast`), never by folder names. Slices are sorted by position and
    rescaled one by one (MR without a rescale slope stays as it is). CT padding and
    values below AIR_HU become AIR_HU. A T2 image beside the phases is resampled onto
    their grid if both have the same frame of reference; it is 0 beyond its extent. All
    images must be of one patient, as far as headers name one.

    Args:
        folder: a folder, or a single (multi-frame) file.
        modality: 'MR' or 'CT'; images of another modality are skipped.
        channels: for MR, in the order of the result. None takes both phases if there
            is one, and otherwise the only image, called 'mr' if it is no T2 either.
        series: names of MR series to choose among, see `dicom_choice.named`.

    Raises:
        FileNotFoundError: there is no such folder.
        UnusableScan: names the file or folder, the value read and the expected.
        ValueError: an unknown modality or channel name.
    """
    folder = os.fspath(folder)
    check_channels(modality, channels or ())
    if not os.path.exists(folder):
        raise FileNotFoundError(f"{folder}: no such file or folder")
    with quiet("pydicom"):
        frames, others = _frames_of_modality(folder, modality)
        if others:
            logging.info("%s: %s is read, passed over: %s", folder, modality, others)
        images = group(frames, modality)
        if modality == "CT":
            return _read({"hu": only(images, folder, "one CT series")}, folder, "CT")
        choice = choose(images, channels, folder=folder, series=series)
        if choice.passed_over:
            logging.info("%s: %s", folder, "\n  ".join(choice.lines()))
        for warning in choice.warnings:
            logging.warning("%s: %s", folder, warning)
        return _read(choice.images, folder, "MR", choice)


def find_contrasts(
    folder: str | os.PathLike, *, series: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the known contrasts of the MR images in a folder, in a fixed order.

    Images that are no channel by their headers do not count, unless `series` names
    them: see `read_dicom`.

    Raises:
        FileNotFoundError: there is no such folder.
        UnusableScan: there is none; lists the images.
    """
    folder = os.fspath(folder)
    with quiet("pydicom"):
        frames, _ = _frames_of_modality(folder, "MR")
        images = named(group(frames, "MR"), series, folder=folder)
        for usable in (
            [i for i in images if not (i.unfit or i.scattered)],
            [i for i in images if series or not i.unfit],
        ):
            contrasts = {image.contrast for image in usable} - {None}
            if contrasts:
                return tuple(name for name in MR_CHANNELS if name in contrasts)
        for image in images:
            if image.conflict:
                raise image.conflict
        listing = "".join(f"\n  {image}: {image.unfit}" for image in images)
    raise UnusableScan(
        f"{folder}: no image is {', '.join(MR_CHANNELS)} by its headers:{listing}"
    )


def _frames_of_modality(folder: str, modality: str) -> tuple[list[Frame], str]:
    """Return a modality's frames but localizers, and the others: 'CT (12 images)'."""
    frames, left_out = find_frames(folder)
    if not frames:
        example = f", such as {os.path.basename(left_out[0])}" if left_out else ""
        raise UnusableScan(
            f"{folder}: no DICOM images ({len(left_out)} other files{example}), "
            f"expected {modality} images: a DICOM folder or zip archive. Files of "
            "NIfTI, MetaImage or NRRD are named one by one, or are in_phase.nii.gz and "
            "so on in their folder"
        )
    modalities = collections.Counter(f.text("Modality") or "none" for f in frames)
    del modalities[modality]
    frames = [f for f in frames if f.text("Modality") == modality]
    others = ", ".join(f"{name} ({n} images)" for name, n in sorted(modalities.items()))
    if not frames:
        raise UnusableScan(f"{folder}: modality is {others}, expected {modality}")
    scans = [f for f in frames if "LOCALIZER" not in f.image_type()]
    if not scans:
        raise UnusableScan(
            f"{folder}: only localizers ({len(frames)}), expected {modality} images"
        )
    return scans, others


def _read(
    chosen: dict[str, Image],
    folder: str,
    modality: str,
    choice: Choice | None = None,
) -> Volume:
    stacks = []
    for channel, image in chosen.items():
        for frame in image.frames:
            _check_plain(frame)
        frames, affine = stack_slices(image.frames)
        grid = Origin(affine=affine, shape=(len(frames), *size(frames[0])))
        stacks.append(_Stack(channel, frames, grid))
        _check_one_patient(stacks[0], stacks[-1])
    # The phases are the reference, wherever T2 stands in the order of channels.
    reference = next((s for s in stacks if s.channel != "t2"), stacks[0])
    voxels, on_reference = [], []
    for stack in stacks:
        if stack.channel != "t2":
            _check_same_positions(reference, stack)
        values = _values(stack.frames, modality)
        if _same_grid(reference.grid, stack.grid):
            on_reference.append(stack.frames)
        else:
            values = _onto_reference(values, stack, reference)
        voxels.append(values)
    return Volume(
        voxels=np.stack(voxels, axis=-1),
        affine=reference.grid.affine,
        modality=modality,
        channels=tuple(chosen),
        source=folder,
        origin=DicomOrigin(
            affine=reference.grid.affine,
            shape=reference.grid.shape,
            headers=tuple(frame.header for frame in reference.frames),
            sources=tuple(
                tuple(_reference(frame) for frame in images)
                for images in zip(*on_reference, strict=True)
            ),
            choice=choice and choice.report(),
        ),
    )


def _check_plain(frame: Frame) -> None:
    size(frame)
    if frame.number is None and frame_count(frame) > 1:
        raise UnusableScan(
            f"{frame.path}: {frame_count(frame)} frames without functional "
            "groups, so without a position each; expected single-frame files or an "
            "enhanced image"
        )
    samples = 1
    if "SamplesPerPixel" in frame.header:
        samples = frame.count("SamplesPerPixel")
    colour = frame.text("PhotometricInterpretation") or "MONOCHROME2"
    if samples != 1 or colour != "MONOCHROME2":
        raise UnusableScan(
            f"{frame.path}: a colour or inverted image ({samples} samples a pixel, "
            f"{colour}), expected 1 sample, MONOCHROME2"
        )


def _reference(frame: Frame) -> tuple[str, str, int | None]:
    number = None if frame.number is None else frame.number + 1
    return frame.text("SOPClassUID"), frame.text("SOPInstanceUID"), number


def _check_one_patient(reference: _Stack, other: _Stack) -> None:
    """Refuse images whose headers name two patients; absent elements pass."""
    frame, other_frame = reference.frames[0], other.frames[0]
    keywords = list(_PERSON)
    frames_of_reference = {f.text("FrameOfReferenceUID") for f in (frame, other_frame)}
    if len(frames_of_reference) > 1 or "" in frames_of_reference:
        keywords.append("StudyInstanceUID")
    for keyword in keywords:
        value, other_value = frame.text(keyword), other_frame.text(keyword)
        if value and other_value and value != other_value:
            raise UnusableScan(
                f"{other.folder}: {keyword} of {other.channel} is {other_value!r} and "
                f"that of {reference.channel} is {value!r}; expected one patient in "
                "one study"
            )


def _check_same_positions(reference: _Stack, other: _Stack) -> None:
    if len(reference.frames) != len(other.frames):
        raise UnusableScan(
            f"{other.folder}: {len(other.frames)} {other.channel} slices and "
            f"{len(reference.frames)} {reference.channel} slices, expected as many of "
            "both at the same positions"
        )
    if not _same_grid(reference.grid, other.grid):
        raise UnusableScan(
            f"{other.folder}: {other.channel} and {reference.channel} are at different "
            f"positions: {np.round(other.grid.affine, 4).tolist()} and "
            f"{np.round(reference.grid.affine, 4).tolist()}, expected one grid"
        )


def _same_grid(grid: Origin, other: Origin) -> bool:
    # At the far corner the differences of all pixels add up: the first and the step
    # from each to the next must agree more closely.
    return grids_apart_mm(grid, other) < _SAME_POSITION_MM and (
        np.abs(grid.affine - other.affine).max() < 1e-3
    )


def _values(frames: Sequence[Frame], modality: str) -> np.ndarray:
    """Read (slices, rows, columns) float32, rescaled slice by slice."""
    planes = []
    for frame, stored in zip(frames, read_pixels(frames), strict=True):
        slope = frame.number_or_none("RescaleSlope")
        intercept = frame.number_or_none("RescaleIntercept")
        unit = frame.text("RescaleType")
        if modality == "CT" and (slope is None or unit not in ("", "HU", "HU_MOD")):
            raise UnusableScan(
                f"{frame.path}: values are not Hounsfield units: RescaleSlope is "
                f"{slope}, RescaleType {unit or 'absent'}; expected a slope and HU"
            )
        if slope == 0:
            raise UnusableScan(f"{frame.path}: RescaleSlope is 0, expected above 0")
        with np.errstate(over="ignore"):
            plane = stored * (1.0 if slope is None else slope) + (intercept or 0.0)
        if not np.abs(plane).max() < _MAX_FLOAT32:
            raise UnusableScan(
                f"{frame.path}: RescaleSlope is {slope} and RescaleIntercept "
                f"{intercept}, expected values that are finite in float32"
            )
        if modality == "CT":
            plane[_padding(frame, stored)] = AIR_HU
            plane = np.maximum(plane, AIR_HU)
        planes.append(plane.astype(np.float32))
    return np.stack(planes)


def _padding(frame: Frame, stored: np.ndarray) -> np.ndarray:
    """Mask pixels outside the scanner's field of view (PS3.3 C.7.5.1.1.2)."""
    padding = frame.get("PixelPaddingValue")
    if not isinstance(padding, int):
        return np.zeros(stored.shape, bool)
    limit = frame.get("PixelPaddingRangeLimit")
    limit = limit if isinstance(limit, int) else padding
    # Unsigned pixels may come with a padding value that was read as signed.
    if stored.dtype.kind == "u":
        padding, limit = (
            value % (1 << 8 * stored.itemsize) for value in (padding, limit)
        )
    return (stored >= min(padding, limit)) & (stored <= max(padding, limit))


def _onto_reference(values: np.ndarray, t2: _Stack, reference: _Stack) -> np.ndarray:
    """Resample T2 (slices, rows, columns) onto the phases' grid."""
    uids = [s.frames[0].text("FrameOfReferenceUID") for s in (t2, reference)]
    if not uids[0] or uids[0] != uids[1]:
        raise UnusableScan(
            f"{t2.folder}: its frame of reference is {uids[0] or 'absent'} and that of "
            f"{reference.channel} is {uids[1] or 'absent'}; expected the same, or "
            "images on the same grid"
        )
    return onto_grid(
        values,
        t2.grid.affine,
        reference.grid,
        source=t2.folder,
        grid_source=reference.channel,
    )

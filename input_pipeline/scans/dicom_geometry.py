"""Geometry of DICOM slices: one regular, orthogonal stack, or a reason why not.

Geometry comes from ImagePositionPatient, ImageOrientationPatient and PixelSpacing
alone (PS3.3 C.7.6.2); file order, InstanceNumber, SliceLocation, SliceThickness and
PatientPosition are known to lie.
"""

import os
from collections.abc import Sequence

import numpy as np

from input_pipeline.scans.dicom_frames import Frame
from input_pipeline.volume import UnusableScan

# Headers round positions to 0.01 mm or so. Beyond these tolerances, slices are not
# where a regular stack would have them.
_STEP_TOLERANCE = 0.01  # of the step
_POSITION_TOLERANCE_MM = 0.01
_COSINE_TOLERANCE = 1e-3

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def orientation(frame: Frame) -> np.ndarray:
    """Return the (2, 3) unit vectors in LPS: along a row, then down a column.

    Raises:
        UnusableScan: they are missing, or are not perpendicular unit vectors.
    """
    directions = frame.numbers("ImageOrientationPatient", 6).reshape(2, 3)
    gram = directions @ directions.T
    if np.abs(gram - np.eye(2)).max() > _COSINE_TOLERANCE:
        raise UnusableScan(
            f"{frame.path}: ImageOrientationPatient is "
            f"{np.round(directions.ravel(), 4).tolist()}, expected two perpendicular "
            "unit vectors"
        )
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def spacing(frame: Frame) -> np.ndarray:
    """Return (2,) mm: between rows, between columns."""
    values = frame.numbers("PixelSpacing", 2)
    if not (values > 0).all():
        raise UnusableScan(
            f"{frame.path}: PixelSpacing is {values.tolist()}, expected above 0"
        )
    return values


def size(frame: Frame) -> tuple[int, int]:
    """Return rows and columns."""
    rows, columns = frame.count("Rows"), frame.count("Columns")
    if not rows or not columns:
        raise UnusableScan(f"{frame.path}: has no pixel data (no Rows and Columns)")
    return rows, columns


def stack_slices(frames: Sequence[Frame]) -> tuple[list[Frame], np.ndarray]:
    """Sort the frames of one image along their normal, rows x columns.

    Returns:
        The frames, and the (4, 4) affine from (column, row, slice, 1) to RAS mm.

    Raises:
        UnusableScan: the frames are not one regular stack.
    """
    folder = os.path.dirname(frames[0].path)
    if len(frames) < 2:
        raise UnusableScan(
            f"{frames[0].path}: one slice is not a volume, expected 2 or more"
        )
    if difference := find_difference(frames):
        name, values = difference
        raise UnusableScan(f"mixed {name}: {values}, expected one")
    for frame in frames:
        tilt = frame.number_or_none("GantryDetectorTilt")
        if tilt:
            raise UnusableScan(
                f"{frame.path}: gantry tilt of {tilt} degrees, expected 0 (slices of "
                "a tilted gantry are shifted against each other)"
            )
    along_row, down_column = orientation(frames[0])
    normal = np.cross(along_row, down_column)
    positions = np.array([f.numbers("ImagePositionPatient", 3) for f in frames])
    order = np.argsort(positions @ normal, kind="stable")
    frames, positions = [frames[i] for i in order], positions[order]
    _check_steps(frames, positions @ normal, folder)
    step = (positions[-1] - positions[0]) / (len(frames) - 1)
    height = step @ normal
    expected = positions[0] + np.arange(len(frames))[:, None] * (height * normal)
    shift = np.linalg.norm(positions - expected, axis=1)
    # Up to 1 % of a step for each slice: an angle of half a degree, rounding in
    # ImageOrientationPatient stays far below.
    allowed = _POSITION_TOLERANCE_MM + _STEP_TOLERANCE * height * np.arange(len(frames))
    if (shift > allowed).any():
        angle = np.degrees(np.arctan2(np.linalg.norm(step - height * normal), height))
        raise UnusableScan(
            f"{folder}: gantry tilt or shifted slices: positions run {angle:.1f} "
            f"degrees off the slices' normal (up to {shift.max():.2f} mm), expected 0"
        )
    row_mm, column_mm = spacing(frames[0])
    affine = np.eye(4)
    affine[:3, 0] = LPS_TO_RAS @ along_row * column_mm
    affine[:3, 1] = LPS_TO_RAS @ down_column * row_mm
    affine[:3, 2] = LPS_TO_RAS @ step
    affine[:3, 3] = LPS_TO_RAS @ positions[0]
    return frames, affine


def find_difference(frames: Sequence[Frame]) -> tuple[str, str] | None:
    """Return the property in which a frame differs from the first, and both values."""
    for name, read, tolerance in (
        ("orientations", orientation, _COSINE_TOLERANCE),
        ("image sizes", size, 0),
        ("pixel spacings", spacing, 1e-4),
    ):
        expected = np.array(read(frames[0]))
        for frame in frames[1:]:
            value = np.array(read(frame))
            if np.abs(expected - value).max() > tolerance:
                return name, (
                    f"{frames[0].path} has {np.round(expected, 4).ravel().tolist()} "
                    f"and {frame.path} has {np.round(value, 4).ravel().tolist()}"
                )
    return None


def _check_steps(frames: Sequence[Frame], heights: np.ndarray, folder: str) -> None:
    steps = np.diff(heights)
    # The lower median: where slices are missing, the usual step is the smaller one.
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])
    closest = int(np.argmin(steps))
    if steps[closest] < _POSITION_TOLERANCE_MM:
        raise UnusableScan(
            f"{folder}: duplicate slice position {heights[closest]:.2f} mm: "
            f"{_name(frames[closest])} and {_name(frames[closest + 1])}; expected one "
            "slice a position"
        )
    worst = int(np.argmax(np.abs(steps - usual)))
    if abs(steps[worst] - usual) > max(_POSITION_TOLERANCE_MM, _STEP_TOLERANCE * usual):
        ratio = steps[worst] / usual
        missing = round(ratio) - 1
        reason = "uneven slice positions"
        if missing > 0 and abs(ratio - round(ratio)) < 0.05:
            reason = f"{missing} missing slice{'s' if missing > 1 else ''}"
        raise UnusableScan(
            f"{folder}: {reason} between {_name(frames[worst])} and "
            f"{_name(frames[worst + 1])}: {steps[worst]:.3f} mm apart, expected "
            f"{usual:.3f}"
        )


def _name(frame: Frame) -> str:
    name = os.path.basename(frame.path)
    return name if frame.number is None else f"{name} frame {frame.number + 1}"

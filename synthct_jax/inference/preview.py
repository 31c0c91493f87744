"""The preview of a translation: a few planes of the MR and its synthetic CT."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib.figure
import numpy as np

from input_pipeline.display import WINDOWS
from input_pipeline.volume import Volume
from synthct_jax.metrics import tissues

_WINDOWS = ("soft tissue", "bone")  # the bone window shows lung as well
_MARGIN_MM = 10.0  # of air around the body
_ROW, _LABEL, _TITLE, _GAP = 2.6, 1.5, 0.4, 0.1  # inches


class Plane(NamedTuple):
    """A plane: how to cut (slices, rows, columns), height and width of its pixels."""

    title: str
    cut: Callable[[np.ndarray], np.ndarray]
    pixel_mm: tuple[float, float]


class Row(NamedTuple):
    """A volume with the values that are shown black and white."""

    label: str
    voxels: np.ndarray
    black: float
    white: float


def write_preview(path: Path, mr: Volume, hu: np.ndarray, *, body: np.ndarray) -> None:
    """Draw axial (up to three), coronal and sagittal planes of MR and synthetic CT.

    There is a row for each MR channel, and one for the CT in a soft-tissue and a bone
    window. Planes follow the radiological convention, with true proportions. They are
    cropped to the body with a small margin.

    Args:
        path: PNG file to write.
        mr: MR in axial order.
        hu: synthetic CT on its grid, (slices, rows, columns).
        body: bool of that shape, with at least one voxel.
    """
    box = box_around(body, mr.spacing_mm)
    mr = dataclasses.replace(mr, voxels=mr.voxels[box])
    hu = hu[box]
    planes = planes_of(hu.shape, mr.spacing_mm, first_slice=box[0].start)
    rows = rows_of(mr, hu)
    sizes_mm = [np.multiply(p.cut(hu).shape, p.pixel_mm) for p in planes]
    widths = [width for _, width in sizes_mm]
    inches_per_mm = _ROW / max(height for height, _ in sizes_mm)
    width = _LABEL + inches_per_mm * sum(widths) + _GAP * len(planes)
    height = (_ROW + _GAP) * len(rows) + _TITLE + _GAP
    figure = matplotlib.figure.Figure((width, height), dpi=100, facecolor="black")
    axes = figure.subplots(
        len(rows),
        len(planes),
        squeeze=False,
        width_ratios=widths,
        gridspec_kw={
            "left": _LABEL / width,
            "right": 0.995,
            "bottom": 0.01,
            "top": 1 - _TITLE / height,
            "wspace": 0.03,
            "hspace": 0.03,
        },
    )
    for row, row_axes in zip(rows, axes, strict=True):
        for plane, axis in zip(planes, row_axes, strict=True):
            axis.imshow(
                plane.cut(row.voxels),
                cmap="gray",
                vmin=row.black,
                vmax=row.white,
                aspect=plane.pixel_mm[0] / plane.pixel_mm[1],
                interpolation="bilinear",
            )
            axis.set_axis_off()
        box = row_axes[0].get_position()
        middle = (box.y0 + box.y1) / 2
        figure.text(_GAP / width, middle, row.label, color="white", va="center")
    for plane, axis in zip(planes, axes[0], strict=True):
        axis.set_title(plane.title, color="white", fontsize=9)
    figure.savefig(path, facecolor="black")


def planes_of(
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    *,
    first_slice: int,
) -> list[Plane]:
    """Return up to three axial planes, the middle coronal and the middle sagittal one.

    Args:
        shape: (slices, rows, columns) of the volumes to cut.
        first_slice: number of their first slice in the scan, from 0, for titles.
    """
    slice_mm, row_mm, column_mm = spacing_mm
    slices, row, column = shape[0], shape[1] // 2, shape[2] // 2
    axial = sorted({int(share * (slices - 1)) for share in (0.25, 0.5, 0.75)})
    planes = [
        Plane(
            f"axial, slice {first_slice + index + 1}",
            lambda voxels, index=index: voxels[index],
            (row_mm, column_mm),
        )
        for index in axial
    ]
    return [
        *planes,
        Plane("coronal", lambda v: v[::-1, row], (slice_mm, column_mm)),
        Plane("sagittal", lambda v: v[::-1, :, column], (slice_mm, row_mm)),
    ]


def rows_of(mr: Volume, hu: np.ndarray) -> list[Row]:
    """Return MR channels up to the 99.5th percentile of tissue, and CT by window."""
    tissue = hu >= tissues.BANDS["air"][1]
    rows = []
    for channel, name in enumerate(mr.channels):
        voxels = mr.voxels[..., channel]
        white = float(np.percentile(voxels[tissue], 99.5)) if tissue.any() else 1.0
        label = f"MR {name.replace('_', ' ')}"
        rows.append(Row(label, voxels, 0.0, max(white, 1e-6)))
    for name in _WINDOWS:
        window = WINDOWS[name]
        level = f"level {window.level:g},\nwidth {window.width:g} HU"
        label = f"synthetic CT\n{name}, {level}"
        rows.append(Row(label, hu, window.low, window.high))
    return rows


def box_around(
    body: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[slice, slice, slice]:
    """Return the box that holds the body, with a margin within the slices."""
    _, row_mm, column_mm = spacing_mm
    margins = (0, round(_MARGIN_MM / row_mm), round(_MARGIN_MM / column_mm))
    box = []
    for axis, margin in enumerate(margins):
        filled = np.flatnonzero(body.any(axis=tuple({0, 1, 2} - {axis})))
        box.append(slice(max(filled[0] - margin, 0), filled[-1] + 1 + margin))
    return tuple(box)

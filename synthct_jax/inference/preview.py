"""The preview of a translation: a few planes of the MR and its synthetic CT."""

import dataclasses
from pathlib import Path

import matplotlib.figure
import numpy as np

from input_pipeline.display import WINDOWS
from input_pipeline.volume import Volume
from synthct_jax.metrics import tissues

_WINDOWS = ("soft tissue", "bone")  # lung is seen in the bone window, too
_MARGIN_MM = 10.0  # of air around the body


def write_preview(path: Path, mr: Volume, hu: np.ndarray, *, body: np.ndarray) -> None:
    """Three axial planes, a coronal and a sagittal one, of the MR and its synthetic CT.

    In the radiologist's orientation and true proportions in millimetres; air around the
    body is not shown.

    Args:
        path: of the PNG file.
        mr: in axial order.
        hu: (slices, rows, columns) on its grid.
        body: the same, bool; True somewhere.
    """
    row_mm, column_mm, slice_mm = mr.spacing_mm
    shown = _around(body, mr.spacing_mm)
    mr = dataclasses.replace(mr, voxels=mr.voxels[shown])
    hu, body, first = hu[shown], body[shown], shown[0].start
    row, column = (n // 2 for n in hu.shape[1:])
    # Of each plane: its name, how to cut it out, height and width of a pixel in mm.
    planes = [
        (f"axial, slice {first + s + 1}", lambda v, s=s: v[s], row_mm, column_mm)
        for s in sorted({int(q * (len(hu) - 1)) for q in (0.25, 0.5, 0.75)})
    ]
    planes += [
        ("coronal", lambda v: v[::-1, row], slice_mm, column_mm),
        ("sagittal", lambda v: v[::-1, :, column], slice_mm, row_mm),
    ]
    lines = []
    for c, name in enumerate(mr.channels):
        voxels = mr.voxels[..., c]
        tissue = voxels[hu >= tissues.BANDS["air"][1]]
        top = float(np.percentile(tissue, 99.5)) if tissue.size else 1.0
        lines.append((f"MR {name.replace('_', ' ')}", voxels, 0.0, max(top, 1e-6)))
    for name in _WINDOWS:
        window = WINDOWS[name]
        label = (
            f"synthetic CT\n{name}, level {window.level:g},\nwidth {window.width:g} HU"
        )
        lines.append((label, hu, window.low, window.high))

    sizes = [np.multiply(cut(hu).shape, (high, wide)) for _, cut, high, wide in planes]
    heights = max(size[0] for size in sizes)
    widths = [size[1] for size in sizes]
    scale = 2.6 / max(heights, 1e-6)  # inches per mm: a line is 2.6 inches high
    label_inches = 1.5
    figure = matplotlib.figure.Figure(
        figsize=(
            label_inches + scale * sum(widths) + 0.1 * len(planes),
            2.7 * len(lines) + 0.5,
        ),
        dpi=100,
        facecolor="black",
    )
    total = figure.get_figwidth()
    axes = figure.subplots(
        len(lines),
        len(planes),
        squeeze=False,
        width_ratios=widths,
        gridspec_kw=dict(
            left=label_inches / total,
            right=0.995,
            bottom=0.01,
            top=1 - 0.4 / figure.get_figheight(),
            wspace=0.03,
            hspace=0.03,
        ),
    )
    for i, (label, voxels, low, high) in enumerate(lines):
        for j, (title, cut, pixel_high, pixel_wide) in enumerate(planes):
            axis = axes[i, j]
            axis.imshow(
                cut(voxels),
                cmap="gray",
                vmin=low,
                vmax=high,
                aspect=pixel_high / pixel_wide,
                interpolation="bilinear",
            )
            axis.set_axis_off()
            if i == 0:
                axis.set_title(title, color="white", fontsize=9)
        middle = axes[i, 0].get_position()
        figure.text(
            0.1 / total,
            (middle.y0 + middle.y1) / 2,
            label,
            color="white",
            fontsize=10,
            va="center",
        )
    figure.savefig(path, facecolor="black")


def _around(
    body: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[slice, slice, slice]:
    """The box that holds the body, and a margin in the plane."""
    row_mm, column_mm, _ = spacing_mm
    box = []
    margins = (0, round(_MARGIN_MM / row_mm), round(_MARGIN_MM / column_mm))
    for axis, margin in enumerate(margins):
        others = tuple(other for other in range(3) if other != axis)
        found = np.flatnonzero(body.any(axis=others))
        box.append(slice(max(found[0] - margin, 0), found[-1] + 1 + margin))
    return tuple(box)

"""Contact sheet of a prepared domain, to look at before training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from input_pipeline.display import SOFT_TISSUE
from input_pipeline.intensity import MR_ONE
from input_pipeline.preparation.jobs import StoredVolume

_COLUMNS = 8
_ROWS = 12
_INCH = 1.2


def write_contact_sheet(
    path: Path,
    volumes: Sequence[StoredVolume],
    *,
    modality: str,
    channels: Sequence[str],
) -> None:
    """Draw a row of slices, inferior to superior, for each subject and channel, as PNG.

    If there are too many subjects, an even choice is shown.
    """
    volumes = _even(volumes, max(1, _ROWS // len(channels)))
    rows = [
        (volume, np.load(volume.path, mmap_mode="r")[..., channel], name)
        for volume in volumes
        for channel, name in enumerate(channels)
    ]
    if modality == "CT":
        low, high = SOFT_TISSUE.low, SOFT_TISSUE.high
        window = f"{low:g} to {high:g} HU"
    else:
        low, high = 0, MR_ONE
        window = "0 to the scale of each volume"
    figure = Figure(figsize=((_COLUMNS + 1) * _INCH, len(rows) * _INCH + 0.4), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        len(rows),
        _COLUMNS,
        squeeze=False,
        gridspec_kw={
            "left": 1 / (_COLUMNS + 1),
            "right": 1,
            "bottom": 0,
            "top": 1 - 0.35 / (len(rows) * _INCH + 0.4),
            "wspace": 0.02,
            "hspace": 0.02,
        },
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for line, (volume, images, name) in zip(axes, rows, strict=True):
        line[0].text(
            -0.06,
            0.5,
            f"{volume.name}\n{volume.split}\n{name}" if name == channels[0] else name,
            transform=line[0].transAxes,
            ha="right",
            va="center",
            fontsize=7,
        )
        for axis, index in zip(line, _even(range(len(images)), _COLUMNS), strict=False):
            plane = np.asarray(images[index])
            axis.imshow(plane, cmap="gray", vmin=low, vmax=high, interpolation="none")
            axis.text(
                0.02,
                0.98,
                str(index),
                transform=axis.transAxes,
                va="top",
                color="yellow",
                fontsize=6,
            )
    figure.text(
        0.01,
        1 - 0.2 / figure.get_figheight(),
        f"{modality}, shown from {window}; slice numbers from inferior to superior, "
        "patient's right on the left",
        fontsize=8,
        va="center",
    )
    figure.savefig(path)


def _even(items: Sequence, count: int) -> list:
    if len(items) <= count:
        return list(items)
    places = np.round(np.linspace(0, len(items) - 1, count)).astype(int)
    return [items[place] for place in places]

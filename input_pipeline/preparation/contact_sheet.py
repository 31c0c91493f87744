"""Contact sheet of a prepared domain, to look at before training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from input_pipeline.display import SOFT_TISSUE
from input_pipeline.intensity import MR_ONE

_COLUMNS = 8
_ROWS = 12
_INCH = 1.2


def write_contact_sheet(
    path: Path,
    volumes: Sequence[tuple[str, np.ndarray]],
    *,
    modality: str,
    channels: Sequence[str],
) -> None:
    """Draw a row of slices, inferior to superior, for each subject and channel.

    Args:
        path: of the PNG.
        volumes: captions, and (slices, rows, columns, channels) int16 as stored; an
            even choice is shown if there are too many.
        modality: 'MR' or 'CT'; chooses the window.
        channels: names.
    """
    volumes = _even(volumes, max(1, _ROWS // len(channels)))
    rows = [
        (caption, volume, channel)
        for caption, volume in volumes
        for channel in range(len(channels))
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
    for line, (caption, volume, channel) in zip(axes, rows, strict=True):
        line[0].text(
            -0.06,
            0.5,
            f"{caption}\n{channels[channel]}" if channel == 0 else channels[channel],
            transform=line[0].transAxes,
            ha="right",
            va="center",
            fontsize=7,
        )
        chosen = _even(range(len(volume)), _COLUMNS)
        for axis, index in zip(line, chosen, strict=False):
            plane = np.asarray(volume[index, :, :, channel])
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

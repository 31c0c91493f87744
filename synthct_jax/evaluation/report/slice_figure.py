"""One slice of the report: MR, synthetic and real CT, error map, cycle residuals."""

from typing import Any

import matplotlib.colors
import matplotlib.figure
import matplotlib.image
import numpy as np

from input_pipeline.display import WINDOWS
from synthct_jax.evaluation.report.example_slices import Slice
from synthct_jax.evaluation.report.figures import png

ERROR_HU = 300.0
"""End of the colour bar of error maps, in HU."""

RESIDUAL_PERCENT = 30.0
"""End of the colour bar of cycle residuals, in % of the MR's range [-1, 1]."""

BACKGROUND = "#14161a"

# Dark where there is no error, so that errors catch the eye. Values beyond the ends of
# the colour bar have colours of their own, which its arrow-shaped ends show.
ERROR_COLOURS = matplotlib.colors.LinearSegmentedColormap.from_list(
    "errors", ["#8fd3ff", "#2f7fd0", BACKGROUND, "#d8612c", "#ffd08a"]
).with_extremes(under="#4dff88", over="#ff4fd8")

_SIDE, _TITLE, _GAP, _BAR = 2.0, 0.25, 0.06, 0.32  # inches


def slice_figure(example: Slice) -> bytes:
    """Draw the panels of one slice as PNG.

    Left: each MR channel, and its cycle residual below if there is an inverse. Middle:
    the synthetic CT above the reference (or another subject's) CT in three windows.
    Right: the error map, if there is a reference CT.
    """
    paired = example.reference_ct is not None
    real = example.reference_ct if paired else example.other
    real_title = "reference CT" if paired else "CT of another subject"
    zoom = around_body(example.mr, real)
    channels = [name.replace("_", " ") for name in example.channels]

    columns = len(channels) + len(WINDOWS) + paired
    size = columns * (_SIDE + _GAP) + _GAP, 2 * (_SIDE + _TITLE) + _GAP + _BAR
    figure = matplotlib.figure.Figure(figsize=size, facecolor=BACKGROUND)

    def add_panel(column: int, row: int, image: np.ndarray, title: str, **options):
        corner = _GAP + column * (_SIDE + _GAP), _TITLE + row * (_SIDE + _TITLE)
        return add_image(figure, corner, _SIDE, image[zoom], title=title, **options)

    for column, name in enumerate(channels):
        mr = example.mr[..., column]
        add_panel(column, 0, mr, f"MR {name}", cmap="gray", vmin=-1, vmax=1)
        if example.cycled is not None:
            # 100 % is the range from -1 to 1.
            residual = 50 * (example.cycled[..., column] - mr)
            title = f"cycle residual {name}"
            shown = add_panel(
                column, 1, residual, title, **error_colours(RESIDUAL_PERCENT)
            )
            add_colour_bar(shown, _below(shown), "%")
    for column, (name, window) in enumerate(WINDOWS.items(), start=len(channels)):
        options = {"cmap": "gray", "vmin": window.low, "vmax": window.high}
        add_panel(column, 0, example.synthetic, f"synthetic CT, {name}", **options)
        add_panel(column, 1, real, f"{real_title}, {name}", **options)
    if paired:
        error = example.synthetic.astype(np.float32) - real
        title = "synthetic − reference CT"
        shown = add_panel(columns - 1, 0, error, title, **error_colours(ERROR_HU))
        add_colour_bar(shown, _below(shown), "HU")
    return png(figure)


def _below(panel) -> tuple[float, float, float, float]:
    """Return the box of a colour bar just below a panel."""
    box, inch = panel.axes.get_position(), 1 / panel.axes.figure.get_figheight()
    return box.x0, box.y0 - 0.13 * inch, box.width, 0.08 * inch


def error_colours(limit: float) -> dict[str, Any]:
    """Return options of `imshow` for errors.

    Those beyond `limit` have colours of their own.
    """
    return {"cmap": ERROR_COLOURS, "vmin": -limit, "vmax": limit}


def add_image(
    figure: matplotlib.figure.Figure,
    corner: tuple[float, float],
    side: float,
    image: np.ndarray,
    *,
    title: str = "",
    **options: Any,
) -> matplotlib.image.AxesImage:
    """Draw an image in a square of a figure.

    Args:
        corner: left and top of the square from those of the figure, in inches.
        side: of the square, in inches.
        options: of `imshow`.
    """
    width, height = figure.get_size_inches()
    left, bottom = corner[0] / width, 1 - (corner[1] + side) / height
    axis = figure.add_axes((left, bottom, side / width, side / height))
    axis.set_axis_off()
    axis.set_title(title, color="white", fontsize=4.5 * side, pad=3)
    return axis.imshow(image, **options)


def add_colour_bar(shown, box: tuple[float, float, float, float], unit: str) -> None:
    """Add a horizontal colour bar, with arrows in the colours of values beyond it.

    Args:
        shown: the image whose colours are explained.
        box: left, bottom, width and height, as shares of the figure.
    """
    figure = shown.axes.figure
    left, bottom, width, height = box
    axis = figure.add_axes((left + 0.06 * width, bottom, 0.88 * width, height))
    bar = figure.colorbar(
        shown, cax=axis, orientation="horizontal", extend="both", extendfrac=0.08
    )
    limit = shown.get_clim()[1]
    bar.set_ticks([-limit, 0, limit])
    bar.ax.set_xticklabels([f"−{limit:g} {unit}", "0", f"+{limit:g} {unit}"])
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors="white", labelsize=8, length=0, pad=2)


def around_body(mr: np.ndarray, ct: np.ndarray) -> tuple[slice, slice]:
    """Return the square of rows and columns that holds both bodies and a margin.

    Args:
        mr: (rows, columns, channels) in [-1, 1].
        ct: (rows, columns) HU.
    """
    filled = (mr.max(axis=-1) > -0.95) | (ct > -500)
    places = [np.flatnonzero(filled.any(axis=axis)) for axis in (1, 0)]
    if not all(len(place) for place in places):
        return slice(None), slice(None)
    extent = max(int(place[-1] - place[0]) + 1 for place in places)
    side = min(*filled.shape, round(1.16 * extent))
    starts = [
        min(max(int(place[0] + place[-1] + 1 - side) // 2, 0), length - side)
        for place, length in zip(places, filled.shape, strict=True)
    ]
    return slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)

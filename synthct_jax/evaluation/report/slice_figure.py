"""A slice of a report: MR, synthetic and real CT in three windows, what is wrong."""

import matplotlib.colors
import matplotlib.figure
import numpy as np

from synthct_jax.evaluation.report.example_slices import Slice
from synthct_jax.evaluation.report.figures import png

# level, width in HU
WINDOWS = {
    "soft tissue": (40.0, 400.0),
    "bone": (400.0, 1800.0),
    "lung": (-600.0, 1500.0),
}
ERROR_HU = 300.0  # where the colours of the error map end
_MR = (0.0, 2.0)  # level, width of [-1, 1]
RESIDUAL = 0.3  # of the MR's range, where the colours of cycle residuals end

PANEL = "#14161a"
# Dark where there is no error, so that errors are what one sees.
ERROR_COLOURS = matplotlib.colors.LinearSegmentedColormap.from_list(
    "errors", ["#8fd3ff", "#2f7fd0", PANEL, "#d8612c", "#ffd08a"]
)
_SIDE, _TITLE, _GAP, _BAR = 2.0, 0.25, 0.06, 0.3  # inches


def slice_figure(one: Slice) -> bytes:
    """Above synthetic, below true CT (or somebody else's) in three windows.

    Left of them the MR channels, right of them the error map and the cycle residuals,
    where there are any. PNG.
    """
    reference = one.other if one.truth is None else one.truth
    zoom = around_body(one.mr, reference)
    what = "true CT" if one.truth is not None else "another CT"
    maps = _maps(one, zoom)
    columns = [-(-len(one.channels) // 2), len(WINDOWS), -(-len(maps) // 2)]

    width = sum(columns) * (_SIDE + _GAP) + _GAP
    height = 2 * (_SIDE + _TITLE) + _GAP + (_BAR if maps else 0)
    figure = matplotlib.figure.Figure(figsize=(width, height), facecolor=PANEL)

    def axis_at(column: int, row: int):
        left = _GAP + column * (_SIDE + _GAP)
        bottom = height - _TITLE - row * (_SIDE + _TITLE) - _SIDE
        box = left / width, bottom / height, _SIDE / width, _SIDE / height
        return figure.add_axes(box)

    for number, name in enumerate(one.channels):
        image = one.mr[zoom][..., number]
        _show(axis_at(*divmod(number, 2)), image, _MR, f"MR {name.replace('_', ' ')}")
    for number, (name, window) in enumerate(WINDOWS.items()):
        column = columns[0] + number
        _show(axis_at(column, 0), one.synthetic[zoom], window, f"synthetic CT, {name}")
        _show(axis_at(column, 1), reference[zoom], window, f"{what}, {name}")
    for number, (title, (values, limit)) in enumerate(maps.items()):
        column, row = divmod(number, 2)
        axis = axis_at(sum(columns[:2]) + column, row)
        shown = axis.imshow(values, cmap=ERROR_COLOURS, vmin=-limit, vmax=limit)
        _name(axis, title)
        if number == 0:
            box = axis.get_position()
            _colour_bar(figure, shown, box=(box.x0, box.width), height=height)
    return png(figure)


def _maps(one: Slice, zoom) -> dict[str, tuple[np.ndarray, float]]:
    """Titles, signed values and where the colours end."""
    maps = {}
    if one.truth is not None:
        error = one.synthetic.astype(np.float32) - one.truth
        maps["synthetic − true CT"] = error[zoom], ERROR_HU
    if one.cycled is not None:
        # In the range of what is seen, 0 to 1.
        residual = (one.cycled - one.mr)[zoom] / 2
        for number, name in enumerate(one.channels):
            title = f"cycle residual {name.replace('_', ' ')}"
            maps[title] = residual[..., number], RESIDUAL
    return maps


def _colour_bar(figure, shown, *, box: tuple[float, float], height: float) -> None:
    left, width = box
    axis = figure.add_axes(
        (left + 0.1 * width, 0.2 / height, 0.8 * width, 0.07 / height)
    )
    bar = figure.colorbar(shown, cax=axis, orientation="horizontal")
    limit = shown.get_clim()[1]
    bar.set_ticks([-limit, 0, limit])
    end = f"{limit:g} HU" if limit == ERROR_HU else f"{100 * limit:g} %"
    bar.ax.set_xticklabels([f"−{end}", "0", f"+{end}"])
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors="white", labelsize=8, length=0, pad=2)


def around_body(mr: np.ndarray, ct: np.ndarray) -> tuple[slice, slice]:
    """A square that holds both bodies and a margin: air is not worth its pixels."""
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


def _show(axis, image: np.ndarray, window: tuple[float, float], title: str) -> None:
    level, width = window
    axis.imshow(image, cmap="gray", vmin=level - width / 2, vmax=level + width / 2)
    _name(axis, title)


def _name(axis, title: str) -> None:
    axis.set_title(title, color="white", fontsize=9, pad=4)
    axis.set_axis_off()

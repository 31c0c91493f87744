"""Pictures of a report: slices in HU windows, histograms, curves; all as PNG."""

import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import matplotlib.colors
import matplotlib.figure
import matplotlib.ticker
import numpy as np

from input_pipeline.intensity import mr_to_unit
from synthct_jax.cases import Case
from synthct_jax.metrics import histogram
from synthct_jax.results import ANSWERS, METRICS, MODEL

SOFT_TISSUE = (40.0, 400.0)  # level, width in HU
WIDE = (300.0, 2000.0)
_MR = (0.0, 2.0)  # level, width of [-1, 1]
ERROR_HU = 300.0  # where the colours of the error map end

_PANEL = "#14161a"
_SYNTHETIC, _REAL = "#e8743b", "#3b8fd6"
_GREY = "#7d8590"  # readable on white and on black
# Dark where there is no error, so that errors are what one sees.
_ERRORS = matplotlib.colors.LinearSegmentedColormap.from_list(
    "errors", ["#8fd3ff", "#2f7fd0", _PANEL, "#d8612c", "#ffd08a"]
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slice:
    """A slice of a subject to look at.

    Attributes:
        subject: its name.
        index, slices: which of how many slices, from inferior.
        mr: (rows, columns, channels) int16 as stored.
        synthetic: (rows, columns) HU.
        truth: (rows, columns) HU of the same subject, where known.
        mae: of the whole subject in the body, where known.
        other, other_subject: where the truth is not known, HU of somebody else's CT,
            for the looks.
    """

    subject: str
    index: int
    slices: int
    mr: np.ndarray
    synthetic: np.ndarray
    truth: np.ndarray | None = None
    mae: float | None = None
    other: np.ndarray | None = None
    other_subject: str = ""


def slice_to_show(case: Case, hu: np.ndarray, body: np.ndarray) -> Slice:
    """A typical slice: that with the subject's median error, else that in the middle.

    Args:
        hu: synthetic, (slices, rows, columns).
        body: bool, the outline.
    """
    index, mae = middle(body), None
    if case.truth is not None:
        inside = case.labels > 0
        errors = np.where(inside, np.abs(hu - case.truth), 0)
        mae = float(errors.sum(dtype=np.float64) / inside.sum())
        voxels = inside.sum(axis=(1, 2))
        filled = np.flatnonzero(voxels)
        each = errors.sum(axis=(1, 2))[filled] / voxels[filled]
        index = int(filled[np.argsort(each, kind="stable")[len(filled) // 2]])
    return Slice(
        subject=case.name,
        index=index,
        slices=len(hu),
        mr=case.mr[index],
        synthetic=hu[index].copy(),
        truth=None if case.truth is None else case.truth[index],
        mae=mae,
    )


def middle(body: np.ndarray) -> int:
    """The middle one of the slices (slices, rows, columns) that show the body."""
    filled = np.flatnonzero(body.any(axis=(1, 2)))
    return int(filled[len(filled) // 2]) if len(filled) else len(body) // 2


def choose(slices: Sequence[Slice]) -> list[tuple[str, Slice]]:
    """Best, median and worst subject by MAE; without truth, three from end to end."""
    known = [one for one in slices if one.mae is not None]
    if not known:
        places = sorted({0, len(slices) // 2, len(slices) - 1})
        return [("", slices[place]) for place in places]
    known.sort(key=lambda one: one.mae)
    if len(known) == 1:
        return [("The only subject", known[0])]
    chosen = [("Best subject", known[0]), ("Worst subject", known[-1])]
    if len(known) > 2:
        chosen.insert(1, ("Median subject", known[len(known) // 2]))
    return chosen


def slice_figure(one: Slice, channels: Mapping[str, int]) -> bytes:
    """MR, synthetic CT, true CT (or somebody else's) in two windows, error map.

    Args:
        channels: names of the MR channels to show, and where they are in `one.mr`.
    """
    columns = (len(channels) + 1) // 2
    paired = one.truth is not None
    reference = one.truth if paired else one.other
    zoom = _around_body(one.mr, reference)
    mr, synthetic = mr_to_unit(one.mr[zoom]), one.synthetic[zoom]
    reference = reference[zoom]

    side, title, gap = 2.3, 0.27, 0.06  # inches
    large = 2 * side + gap - 0.25  # leaves room for the bar of colours
    width = (columns + 2) * (side + gap) + gap + (large + gap) * paired
    height = 2 * (side + title) + gap
    figure = matplotlib.figure.Figure(figsize=(width, height), facecolor=_PANEL)

    def axis_at(column: int, row: int, size: float = side):
        left = gap + column * (side + gap)
        bottom = height - title - row * (side + title) - size
        box = left / width, bottom / height, size / width, size / height
        return figure.add_axes(box)

    for number, (name, place) in enumerate(channels.items()):
        axis = axis_at(*divmod(number, 2))
        _show(axis, mr[..., place], _MR, f"MR {name.replace('_', ' ')}")
    what = "true CT" if paired else "another person's CT"
    windows = {"soft tissue": SOFT_TISSUE, "wide": WIDE}
    for row, (label, window) in enumerate(windows.items()):
        _show(axis_at(columns, row), synthetic, window, f"synthetic CT, {label}")
        _show(axis_at(columns + 1, row), reference, window, f"{what}, {label}")
    if paired:
        axis = axis_at(columns + 2, 0, large)
        error = synthetic - reference.astype(np.float32)
        shown = axis.imshow(error, cmap=_ERRORS, vmin=-ERROR_HU, vmax=ERROR_HU)
        _name(axis, "synthetic − true CT")
        box = axis.get_position()
        bar = figure.colorbar(
            shown,
            cax=figure.add_axes(
                (box.x0 + 0.2 * box.width, 0.05, 0.6 * box.width, 0.018)
            ),
            orientation="horizontal",
            ticks=[-ERROR_HU, 0, ERROR_HU],
        )
        bar.ax.set_xticklabels([f"−{ERROR_HU:g} HU", "0", f"+{ERROR_HU:g} HU"])
        bar.outline.set_visible(False)
        bar.ax.tick_params(colors="white", labelsize=9, length=0, pad=2)
    return _png(figure)


def _around_body(mr: np.ndarray, ct: np.ndarray) -> tuple[slice, slice]:
    """A square that holds both bodies and a margin: air is not worth its pixels."""
    filled = (mr.max(axis=-1) > 0.05 * max(mr.max(), 1)) | (ct > -500)
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
    axis.set_title(title, color="white", fontsize=10, pad=4)
    axis.set_axis_off()


def strip_plot(
    values: Mapping[str, Sequence[float]], intervals: Mapping[str, Mapping[str, Any]]
) -> str:
    """A dot for each subject, mean and interval as lines: SVG in the page's colours.

    Args:
        values: of each answer, one for each subject; from 0 up.
        intervals: of each answer {mean, low, high}.
    """
    most = max(max(each) for each in values.values()) or 1.0
    left, right, high = 250, 960, 34
    step = 10 ** math.floor(math.log10(most))
    step *= next(m for m in (0.2, 0.5, 1, 2) if most / (step * m) <= 8)

    def x(value: float) -> float:
        return round(left + (right - left) * value / (most * 1.04), 1)

    bottom = high * len(values) + 4
    parts = []
    for tick in range(int(most * 1.04 / step) + 1):
        at = x(tick * step)
        parts.append(
            f'<line x1="{at}" x2="{at}" y1="0" y2="{bottom}" stroke="currentColor" '
            f'opacity=".12"/><text class="quiet" x="{at}" y="{bottom + 16}" '
            f'text-anchor="middle">{tick * step:g}</text>'
        )
    for number, (answer, each) in enumerate(values.items()):
        y = high * number + high // 2
        interval = intervals[answer]
        colour = "var(--accent)" if answer == MODEL else "var(--quiet)"
        name = escape(ANSWERS[answer])
        parts.append(
            f'<text x="{left - 14}" y="{y + 4}" text-anchor="end">{name}</text>'
        )
        parts += [
            f'<circle cx="{x(value)}" cy="{y}" r="4.5" fill="{colour}" opacity=".4"/>'
            for value in each
        ]
        if interval["low"] is not None:
            parts.append(
                f'<line x1="{x(interval["low"])}" x2="{x(interval["high"])}" y1="{y}" '
                f'y2="{y}" stroke="{colour}" stroke-width="2"/>'
            )
        at = x(interval["mean"])
        parts.append(
            f'<line x1="{at}" x2="{at}" y1="{y - 10}" y2="{y + 10}" stroke="{colour}" '
            'stroke-width="3"/>'
        )
    return (
        f'<svg viewBox="0 0 {right + 10} {bottom + 20}" role="img" '
        f'aria-label="a dot for each subject">{"".join(parts)}</svg>'
    )


def histogram_figure(histograms: Mapping[str, Any]) -> bytes:
    """HU in the body of synthetic and real CT: soft tissue, and all on a log scale."""
    figure = matplotlib.figure.Figure(figsize=(9.6, 3.1), layout="constrained")
    wide, soft = figure.subplots(1, 2)
    edges = np.append(
        histogram.CENTRES_HU - histogram.STEP_HU / 2, histogram.RANGE_HU[1]
    )
    shares = {
        kind: 100 * histogram.density(np.asarray(histograms[kind]))
        for kind in ("real", "synthetic")
    }
    for kind, colour in (("real", _REAL), ("synthetic", _SYNTHETIC)):
        for axis in (soft, wide):
            axis.stairs(shares[kind], edges, color=colour, lw=1.8, label=f"{kind} CT")
            axis.stairs(shares[kind], edges, color=colour, alpha=0.13, fill=True)
    soft.set_xlim(-200, 300)
    # A spike in the synthetic CT must not flatten the real ones.
    highest = {kind: share.max() for kind, share in shares.items()}
    soft.set_ylim(0, 1.08 * min(max(highest.values()), 2 * highest["real"]))
    soft.set_title("fat and soft tissue")
    wide.set_yscale("log")
    wide.set_ylim(1e-4)
    wide.set_xlim(*histogram.RANGE_HU)
    wide.set_title("all, logarithmic")
    wide.set_ylabel("% of the body per HU")
    for axis in (soft, wide):
        axis.set_xlabel("HU")
        _plain(axis)
    soft.legend(frameon=False, labelcolor=_GREY, loc="upper right")
    return _png(figure, transparent=True)


def curves_figure(curves: Sequence[Mapping[str, Any]]) -> bytes | None:
    """Losses over steps, a panel for each kind; None where there are none.

    Args:
        curves: rows {'step': 50, 'cycle_mr': 0.8, 'validation_mae': 120, ...}.
    """
    panels = _panels(curves)
    if not panels:
        return None
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = matplotlib.figure.Figure(
        figsize=(3.2 * columns, 2.4 * rows), layout="constrained"
    )
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (title, names) in zip(axes, panels.items(), strict=False):
        for name, colour in zip(names, (_SYNTHETIC, _REAL, _GREY), strict=False):
            points = [
                (row["step"], row[name]) for row in curves if row.get(name) is not None
            ]
            axis.plot(
                *zip(*points, strict=True),
                color=colour,
                lw=1.5,
                marker="o" if len(points) < 30 else "",
                ms=3,
                label=name.rpartition("_")[2].upper(),
            )
        axis.set_title(title)
        axis.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4, integer=True))
        _plain(axis)
        if len(names) > 1:
            axis.legend(frameon=False, labelcolor=_GREY, fontsize=8)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[max(0, len(panels) - columns) : len(panels)]:
        axis.set_xlabel("step")
    return _png(figure, transparent=True)


def _panels(curves: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Titles of panels and the names in each: cycle_ct and cycle_mr in one."""
    numbers = {
        name: None
        for row in curves
        for name, value in row.items()
        if isinstance(value, int | float)
    }
    panels: dict[str, list[str]] = {}
    validation: dict[str, list[str]] = {}
    for name in numbers:
        kind, _, domain = name.rpartition("_")
        if name.startswith("validation_"):
            metric = name.removeprefix("validation_")
            known = METRICS.get(metric)
            title = known.title if known else metric.replace("_", " ")
            validation[f"validation: {title}"] = [name]
        elif domain in ("ct", "mr"):
            panels.setdefault(f"{kind.replace('_', ' ')} loss", []).append(name)
    return panels | validation


def _plain(axis) -> None:
    axis.grid(color=_GREY, alpha=0.2, lw=0.6)
    axis.tick_params(colors=_GREY, labelsize=8, length=2, which="both")
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(_GREY)
    for text in (axis.title, axis.xaxis.label, axis.yaxis.label):
        text.set_color(_GREY)
        text.set_fontsize(9.5)


def _png(figure: matplotlib.figure.Figure, *, transparent: bool = False) -> bytes:
    file = io.BytesIO()
    # No software version inside: the same numbers give the same bytes.
    figure.savefig(
        file,
        format="png",
        dpi=130,
        transparent=transparent,
        metadata={"Software": None},
    )
    return file.getvalue()

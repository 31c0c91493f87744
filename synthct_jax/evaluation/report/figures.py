"""Plots of a report as PNG: HU histograms, power spectra and training losses."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.figure
import matplotlib.ticker
import numpy as np

from synthct_jax.evaluation import metric_definitions
from synthct_jax.evaluation.results import NETWORK
from synthct_jax.metrics import histogram

_SYNTHETIC, _REAL = "#e8743b", "#3b8fd6"
_GREY = "#7d8590"  # readable on white and on black


def histogram_figure(histograms: Mapping[str, Any]) -> bytes:
    """Draw `Results.histograms`: all HU on a log scale, soft tissue on a linear one."""
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
    # A spike in the synthetic CT must not flatten the curve of the real CT.
    highest = {kind: share.max() for kind, share in shares.items()}
    soft.set_ylim(0, 1.08 * min(max(highest.values()), 2 * highest["real"]))
    soft.set_title("fat and soft tissue")
    wide.set_yscale("log")
    wide.set_ylim(1e-4)
    wide.set_xlim(*histogram.RANGE_HU)
    wide.set_title("all HU, logarithmic scale")
    wide.set_ylabel("% of the body per HU")
    for axis in (soft, wide):
        axis.set_xlabel("HU")
        _style_axis(axis)
    soft.legend(frameon=False, labelcolor=_GREY, loc="upper right")
    return png(figure, transparent=True)


def spectra_figure(
    spectra: Mapping[str, Any], errors: Mapping[str, Any] | None
) -> bytes:
    """Draw `Results.spectra`, their ratio, and `Results.error_histogram` if known."""
    panels = 2 if errors is None else 3
    figure = matplotlib.figure.Figure(figsize=(9.6, 2.9), layout="constrained")
    power, ratio, *rest = figure.subplots(1, panels)
    frequencies = np.asarray(spectra["frequencies"])
    for kind, colour in (("real", _REAL), ("synthetic", _SYNTHETIC)):
        power.plot(frequencies, spectra[kind], color=colour, lw=1.8, label=f"{kind} CT")
    power.set_title("log10 of the power spectrum")
    power.legend(frameon=False, labelcolor=_GREY, fontsize=8)
    difference = np.subtract(spectra["synthetic"], spectra["real"])
    ratio.axhline(0, color=_GREY, lw=0.8)
    ratio.plot(frequencies, difference, color=_SYNTHETIC, lw=1.8)
    ratio.set_title("log10 of synthetic / real")
    largest = max(0.5, 1.1 * float(np.abs(difference).max()))
    ratio.set_ylim(-largest, largest)
    for axis in (power, ratio):
        axis.set_xlabel("cycles per pixel")
    for axis in rest:
        counts = np.asarray(errors[NETWORK], np.float64)
        start, step = errors["start_hu"], errors["step_hu"]
        edges = start + step * np.arange(len(counts) + 1)
        share = 100 * counts / max(counts.sum(), 1)
        axis.stairs(share, edges, color=_SYNTHETIC, fill=True, alpha=0.6)
        axis.axvline(0, color=_GREY, lw=0.8)
        axis.set_yscale("log")
        axis.set_ylim(1e-2)
        axis.set_title("% of the body by error of HU")
        axis.set_xlabel("synthetic − reference CT, HU")
    for axis in (power, ratio, *rest):
        _style_axis(axis)
    return png(figure, transparent=True)


def curves_figure(curves: Sequence[Mapping[str, Any]]) -> bytes | None:
    """Draw losses and validation metrics over steps, a panel for each kind.

    Args:
        curves: rows {'step': 50, 'cycle_mr': 0.8, 'validation_mae': 120, ...}.

    Returns:
        PNG, or None with nothing to draw.
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
            style = {"color": colour, "lw": 1.5, "ms": 3}
            style["marker"] = "o" if len(points) < 30 else ""
            label = name.rpartition("_")[2].upper()
            axis.plot(*zip(*points, strict=True), label=label, **style)
        axis.set_title(title)
        axis.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4, integer=True))
        _style_axis(axis)
        if len(names) > 1:
            axis.legend(frameon=False, labelcolor=_GREY, fontsize=8)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[max(0, len(panels) - columns) : len(panels)]:
        axis.set_xlabel("step")
    return png(figure, transparent=True)


def _panels(curves: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the names in each panel, by title: cycle_ct and cycle_mr share one."""
    numbers = dict.fromkeys(
        name
        for row in curves
        for name, value in row.items()
        if isinstance(value, int | float)
    )
    panels: dict[str, list[str]] = {}
    validation: dict[str, list[str]] = {}
    for name in numbers:
        kind, _, domain = name.rpartition("_")
        if name.startswith("validation_"):
            metric = name.removeprefix("validation_")
            try:
                title = metric_definitions.named(metric).title
            except ValueError:  # a metric of validation alone
                title = metric.replace("_", " ")
            validation[f"validation: {title}"] = [name]
        elif domain in ("ct", "mr"):
            panels.setdefault(f"{kind.replace('_', ' ')} loss", []).append(name)
    return panels | validation


def _style_axis(axis) -> None:
    """Draw an axis in greys that are readable on light and dark pages."""
    axis.grid(color=_GREY, alpha=0.2, lw=0.6)
    axis.tick_params(colors=_GREY, labelsize=8, length=2, which="both")
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(_GREY)
    for text in (axis.title, axis.xaxis.label, axis.yaxis.label):
        text.set_color(_GREY)
        text.set_fontsize(9.5)


def png(figure: matplotlib.figure.Figure, *, transparent: bool = False) -> bytes:
    """Return a figure as PNG; the same figure gives the same bytes."""
    file = io.BytesIO()
    # The metadata would hold the version of Matplotlib.
    options = {"format": "png", "dpi": 130, "metadata": {"Software": None}}
    figure.savefig(file, transparent=transparent, **options)
    return file.getvalue()

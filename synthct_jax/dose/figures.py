"""The picture of one plan: volume histograms, the dose, and its difference."""

from collections.abc import Mapping

import matplotlib.figure
import numpy as np

from synthct_jax.dose import measures
from synthct_jax.dose.cases import Case
from synthct_jax.dose.structures import Structures
from synthct_jax.evaluation.report.figures import png
from synthct_jax.evaluation.results import NETWORK, REFERENCE_CT

_COLOURS = ("#d8433b", "#3b8fd6", "#3ba55d", "#b07cd8", "#e8a33b", "#7d8590")
_LEVELS = np.arange(0, 121)  # % of the prescribed dose
_DIFFERENCE = 10.0  # end of the colour bar, % of the prescribed dose


def plan_figure(
    case: Case, structures: Structures, doses: Mapping[str, np.ndarray]
) -> bytes:
    """Draw a plan as PNG.

    Left: the % of each structure that receives a dose, on the reference CT (lines) and
    on the synthetic CT (dashes). Middle: the dose on the reference CT, in the slice
    with most of the target, which is outlined. Right: the difference, synthetic minus
    reference.

    Args:
        doses: as for `rows.measure_plan`.
    """
    reference, synthetic = (
        doses[method].sum(axis=0) for method in (REFERENCE_CT, NETWORK)
    )
    figure = matplotlib.figure.Figure(figsize=(11.0, 3.2), layout="constrained")
    histogram, dose, difference = figure.subplots(1, 3)
    regions = {"target": structures.target, **structures.organs}
    for (name, mask), colour in zip(regions.items(), _COLOURS, strict=False):
        for image, style in ((reference, "-"), (synthetic, "--")):
            histogram.plot(
                _LEVELS,
                measures.volume_histogram(image, mask, _LEVELS),
                style,
                color=colour,
                label=name if style == "-" else None,
                lw=1.5,
            )
    histogram.set_xlabel("% of prescribed dose")
    histogram.set_ylabel("% of the volume")
    histogram.legend(frameon=False, fontsize=8)
    if (more := len(regions) - len(_COLOURS)) > 0:
        histogram.set_title(f"{more} more organs: in the tables", fontsize=9)
    middle = int(structures.target.sum(axis=(1, 2)).argmax())
    rows, columns = (
        slice(place.min(), place.max() + 1)
        for place in np.nonzero(structures.body[middle])
    )
    _, row_mm, column_mm = case.spacing_mm

    def show(axis, image, title, **options):
        axis.imshow(
            case.reference_ct[middle, rows, columns],
            cmap="gray",
            vmin=-200,
            vmax=300,
            aspect=row_mm / column_mm,
        )
        values = np.ma.masked_inside(image[middle, rows, columns], -1, 1)
        shown = axis.imshow(values, alpha=0.6, aspect=row_mm / column_mm, **options)
        axis.contour(
            structures.target[middle, rows, columns], [0.5], colors="w", linewidths=1
        )
        axis.set_axis_off()
        axis.set_title(title, fontsize=9)
        figure.colorbar(shown, ax=axis, shrink=0.8)

    show(dose, reference, "dose, reference CT, %", cmap="inferno", vmin=0, vmax=110)
    limits = {"vmin": -_DIFFERENCE, "vmax": _DIFFERENCE}
    show(
        difference,
        synthetic - reference,
        "synthetic − reference, % of prescribed dose",
        cmap="RdBu_r",
        **limits,
    )
    return png(figure)

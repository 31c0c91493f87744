"""The sheet of one patient: an outcome, pictures, and a table of features.

It is one HTML file without scripts, for a screen of any width and for paper.
"""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.figure
import matplotlib.patheffects
import numpy as np

from input_pipeline.display import SOFT_TISSUE
from input_pipeline.volume import Volume
from synthct_jax.evaluation.report.rendering import render_page
from synthct_jax.inference import preview
from synthct_jax.quality.features import INPUT, OUTPUT
from synthct_jax.quality.judgement import NOT_JUDGED, PASS, REFUSE, WARN

# Letters at the left, right, top and bottom of each plane.
_LETTERS = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}
_PLACES = ((0.03, 0.5), (0.97, 0.5), (0.5, 0.96), (0.5, 0.04))
_OUTLINE = "#ffd24a"
_INCHES, _DPI = 3.4, 110  # the longer side of a picture


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of the sheet, PNG, with its caption."""

    title: str
    image: bytes


def render_sheet(
    document: Mapping[str, Any], mr: Volume, hu: np.ndarray, body: np.ndarray
) -> str:
    """Return the sheet as HTML.

    Args:
        document: content of quality.json.
        mr: in axial order.
        hu: synthetic CT on its grid, (slices, rows, columns).
        body: bool of that shape, with at least one voxel.
    """
    box = preview.box_around(body, mr.spacing_mm)
    cropped = dataclasses.replace(mr, voxels=mr.voxels[box])
    rows = preview.rows_of(cropped, hu[box])
    shown = rows[0], next(row for row in rows if row.black == SOFT_TISSUE.low)
    features = document["features"]
    return render_page(
        "quality.html",
        title="Quality of a synthetic CT",
        subtitle=_subtitle(document),
        notes=document["warnings"],
        document=document,
        views=_draw_views(shown, body[box], mr.spacing_mm, first_slice=box[0].start),
        window=SOFT_TISSUE,
        tables=[
            (
                title,
                sorted((row for row in features if row["stage"] == stage), key=_rank),
            )
            for title, stage in (("MR", INPUT), ("Synthetic CT", OUTPUT))
        ],
    )


def _rank(row: Mapping[str, Any]) -> int:
    """Return a number that puts what is unusual first."""
    return (REFUSE, WARN, PASS, NOT_JUDGED).index(row["verdict"])


def _subtitle(document: Mapping[str, Any]) -> str:
    facts = [f"model {name_of(document)}", document["created"][:10], document["input"]]
    return " · ".join(filter(None, facts))


def name_of(document: Mapping[str, Any]) -> str:
    """Return the name of a model file, or a run and its step, from quality.json."""
    generator = document["generator"]
    return generator.get("model") or f"{generator['workdir']}, {generator['step']}"


# --- pictures -------------------------------------------------------------------------


def _draw_views(
    rows: Sequence[preview.Row],
    body: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    first_slice: int,
) -> list[Picture]:
    """Draw the middle planes of the MR, then those of the CT, with the outline."""
    planes = preview.planes_of(body.shape, spacing_mm, first_slice=first_slice)
    axial = [plane for plane in planes if plane.title.startswith("axial")]
    chosen = [axial[len(axial) // 2], *planes[len(axial) :]]
    return [
        Picture(
            title=f"{row.label.splitlines()[0]}, {plane.title}",
            image=_draw_plane(row, body, plane),
        )
        for row in rows
        for plane in chosen
    ]


def _draw_plane(row: preview.Row, body: np.ndarray, plane: preview.Plane) -> bytes:
    image, mask = plane.cut(row.voxels), plane.cut(body)
    size_mm = np.multiply(image.shape, plane.pixel_mm)
    height, width = _INCHES * size_mm / size_mm.max()
    figure = matplotlib.figure.Figure((width, height), dpi=_DPI, facecolor="black")
    axis = figure.add_axes((0, 0, 1, 1))
    axis.imshow(
        image, cmap="gray", vmin=row.black, vmax=row.white, aspect="auto",
        interpolation="bilinear",
    )  # fmt: skip
    if min(mask.shape) > 1 and mask.any() and not mask.all():
        axis.contour(mask, levels=[0.5], colors=_OUTLINE, linewidths=0.9)
    axis.set_axis_off()
    letters = _LETTERS[plane.title.split(",")[0]]
    border = matplotlib.patheffects.withStroke(linewidth=2.5, foreground="black")
    for letter, (x, y) in zip(letters, _PLACES, strict=True):
        figure.text(
            x, y, letter, color="white", fontsize=11, fontweight="bold",
            ha="center", va="center",
            path_effects=[border],
        )  # fmt: skip
    content = io.BytesIO()
    figure.savefig(content, facecolor="black")
    return content.getvalue()

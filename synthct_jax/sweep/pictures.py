"""The same slices of the same subjects, as each variant of a sweep translates them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib.figure
import numpy as np

from input_pipeline.dataset.dataset import Dataset
from input_pipeline.dataset.manifest import Domain
from input_pipeline.display import SOFT_TISSUE
from synthct_jax.evaluation.ct_methods import Model, model_of_generator
from synthct_jax.evaluation.report import example_slices
from synthct_jax.evaluation.report.figures import png
from synthct_jax.evaluation.report.slice_figure import (
    BACKGROUND,
    ERROR_HU,
    add_colour_bar,
    add_image,
    around_body,
    error_colours,
)
from synthct_jax.evaluation.subjects import read_subjects
from synthct_jax.inference.loaded_model import load_model
from synthct_jax.sweep.plan_file import SweepRun

_SIDE, _TITLE, _GAP = 1.7, 0.24, 0.05  # inches

Translate = Callable[[np.ndarray], np.ndarray]
"""Stored MR (slices, rows, columns, channels) to HU (slices, rows, columns)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """A slice to show, on whatever grid a variant has stored it.

    Attributes:
        height_mm: position along the normal of the slices.
        reason: why this slice is shown.
    """

    subject: str
    height_mm: float
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """The slice of one place in one variant.

    Attributes:
        mr: by channel, (rows, columns) in [-1, 1].
        synthetic_ct: (rows, columns) HU.
        reference_ct: the same; None where it is not known.
    """

    mr: Mapping[str, np.ndarray]
    synthetic_ct: np.ndarray
    reference_ct: np.ndarray | None


def draw(folder: Path, runs: Sequence[SweepRun]) -> bytes:
    """Draw the same places for every variant, each by its lowest seed, as PNG.

    The model of the first variant chooses them. All runs have a checkpoint.
    """
    places: list[Place] = []
    views: dict[str, list[View]] = {}
    for variant in dict.fromkeys(run.variant for run in runs):
        of_variant = [run for run in runs if run.variant == variant]
        run = min(of_variant, key=lambda run: run.seed)
        dataset = Dataset.open(run.data_dir(folder))
        loaded = load_model(run.workdir(folder))  # one at a time
        model = model_of_generator(loaded, dataset)
        places = places or choose_places(model.translate, dataset)
        views[variant] = read_views(model, dataset, places)
    return figure(places, views)


def choose_places(translate: Translate, dataset: Dataset) -> list[Place]:
    """Choose up to three slices of the held-out subjects.

    With reference CT they are the slices of the least, the median and the largest
    error. Without, they are the middle slices of the first and the last subject.
    """
    mr = dataset.manifest.domains["mr"]
    ranked, middles = [], {}
    for subject in read_subjects(dataset, mr.held_out):
        middles[subject.name] = example_slices.middle(subject.body)
        if subject.reference_ct is not None:
            ranked += example_slices.rank(subject, translate(subject.mr), None)
    if ranked:
        chosen = [
            (each.subject, each.index, f"{title.lower()} slice")
            for title, each in example_slices.choose(ranked).items()
        ]
    else:
        ends = dict.fromkeys([next(iter(middles)), next(reversed(middles))])
        chosen = [(name, middles[name], "middle slice") for name in ends]
    return [
        Place(subject=name, height_mm=_height(mr, name, index), reason=reason)
        for name, index, reason in chosen
    ]


def _height(mr: Domain, name: str, index: int) -> float:
    """Return the position in mm of a slice along the normal of the slices."""
    (affine,) = (subject.affine for subject in mr.subjects if subject.name == name)
    affine = np.asarray(affine)
    normal = affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    return float(normal @ (affine[:3, 3] + index * affine[:3, 2]))


def read_views(model: Model, dataset: Dataset, places: Sequence[Place]) -> list[View]:
    """Translate the slice that is nearest to each place."""
    views: dict[Place, View] = {}
    mr = dataset.manifest.domains["mr"]
    for subject in read_subjects(dataset, mr.held_out):
        heights = [_height(mr, subject.name, i) for i in range(len(subject.mr))]
        for place in places:
            if place.subject != subject.name:
                continue
            index = int(np.argmin(np.abs(np.array(heights) - place.height_mm)))
            stored = subject.mr[index : index + 1]
            shown = np.moveaxis(model.network_input(stored)[0], -1, 0)
            reference_ct = subject.reference_ct
            views[place] = View(
                mr=dict(zip(model.channels, shown, strict=True)),
                synthetic_ct=model.translate(stored)[0],
                reference_ct=None if reference_ct is None else reference_ct[index],
            )
    return [views[place] for place in places]


def figure(places: Sequence[Place], views: Mapping[str, Sequence[View]]) -> bytes:
    """Draw a band for each place, as PNG: images, and a row of error maps below them.

    Args:
        views: by variant, one for each place.
    """
    every = [view for each in views.values() for view in each]
    channels = list(dict.fromkeys(name for view in every for name in view.mr))
    paired = any(view.reference_ct is not None for view in every)
    columns = len(channels) + len(views) + paired
    band = (1 + paired) * _SIDE + 2 * _TITLE
    size = columns * (_SIDE + _GAP) + _GAP, len(places) * band + _GAP
    whole = matplotlib.figure.Figure(figsize=size, facecolor=BACKGROUND)
    grey = {"cmap": "gray", "vmin": -1, "vmax": 1}
    hu_window = {"cmap": "gray", "vmin": SOFT_TISSUE.low, "vmax": SOFT_TISSUE.high}

    def add(column: int, top: float, view: View, image: np.ndarray, **options):
        corner = _GAP + column * (_SIDE + _GAP), top
        return add_image(whole, corner, _SIDE, image[_zoom(view)], **options)

    for number, place in enumerate(places):
        y = 1 - (number * band + 0.17) / size[1]
        title = f"{place.subject}: {place.reason}"
        whole.text(_GAP / size[0], y, title, color="white", fontsize=9)
        top = number * band + 2 * _TITLE
        here = {variant: each[number] for variant, each in views.items()}
        for column, name in enumerate(channels):
            view = next(view for view in here.values() if name in view.mr)
            title = f"MR {name.replace('_', ' ')}"
            add(column, top, view, view.mr[name], title=title, **grey)
        for column, (variant, view) in enumerate(here.items(), start=len(channels)):
            add(column, top, view, view.synthetic_ct, title=variant, **hu_window)
            if view.reference_ct is not None:
                error = view.synthetic_ct - view.reference_ct.astype(np.float32)
                errors = add(
                    column, top + _SIDE, view, error, **error_colours(ERROR_HU)
                )
        known = [view for view in here.values() if view.reference_ct is not None]
        if known:
            reference_ct = known[0].reference_ct
            column = columns - 1
            add(column, top, known[0], reference_ct, title="reference CT", **hu_window)
            x, y, wide, high = errors.axes.get_position().bounds
            x += (_SIDE + _GAP) / size[0]
            text = "← synthetic − reference CT"
            whole.text(x, y + 0.6 * high, text, color="white", fontsize=7)
            add_colour_bar(errors, (x, y + 0.45 * high, wide, 0.05 * high), "HU")
    return png(whole)


def _zoom(view: View) -> tuple[slice, slice]:
    """Return the square around the body on the view's own grid."""
    mr = np.stack([*view.mr.values()], axis=-1)
    ct = view.synthetic_ct if view.reference_ct is None else view.reference_ct
    return around_body(mr, ct)

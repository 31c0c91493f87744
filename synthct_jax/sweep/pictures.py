"""The same slices of the same subjects, as each variant of a sweep translates them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib.figure
import numpy as np

from input_pipeline.dataset.dataset import Dataset
from input_pipeline.dataset.manifest import Domain
from input_pipeline.display import SOFT_TISSUE
from input_pipeline.intensity import mr_to_unit
from synthct_jax.evaluation.report.figures import png
from synthct_jax.evaluation.report.slice_figure import (
    BACKGROUND,
    ERROR_COLOURS,
    ERROR_HU,
    add_colour_bar,
    around_body,
)
from synthct_jax.evaluation.subjects import EvaluationSubject, read_subjects
from synthct_jax.inference.loaded_model import load_model
from synthct_jax.inference.translator import Translator
from synthct_jax.sweep.plan_file import SweepRun

_SIDE, _TITLE, _GAP = 1.7, 0.24, 0.05  # inches
_LIVER = "liver"

Translate = Callable[[np.ndarray], np.ndarray]
"""Stored MR (slices, rows, columns, channels) to HU (slices, rows, columns)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """A slice to show, on whatever grid a variant has stored it.

    Attributes:
        subject: its name.
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

    The model of the first variant chooses them, see `choose_places`.

    Args:
        folder: of the sweep.
        runs: those that have a checkpoint.
    """
    first: dict[str, SweepRun] = {}
    for run in sorted(runs, key=lambda run: run.seed, reverse=True):
        first[run.variant] = run
    places: list[Place] = []
    views: dict[str, list[View]] = {}
    for variant in dict.fromkeys(run.variant for run in runs):
        run = first[variant]
        model = load_model(run.workdir(folder))  # one at a time
        dataset = Dataset.open(run.data_dir(folder))
        stored_channels = dataset.manifest.domains["mr"].channels
        translator = Translator(
            model.method, model.data, stored_channels=stored_channels
        )

        def translate(mr: np.ndarray, model=model, translator=translator) -> np.ndarray:
            return translator(model.params, mr)

        places = places or choose_places(translate, dataset)
        channels = model.data["mr_channels"]
        views[variant] = read_views(translate, dataset, places, channels)
    return figure(places, views)


# --- which slices ---------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A subject with a reference CT, and the indices of slices that could be shown."""

    name: str
    mae: float
    median_slice: int
    liver_slice: int | None
    liver_hu: float


def choose_places(translate: Translate, dataset: Dataset) -> list[Place]:
    """Choose up to three slices of the held-out subjects.

    With reference CT they are the slice of the median error in the subject of the
    median error, the one with most liver in that subject, and the one with most liver
    in the subject with the darkest, that is the fattest, liver. Without, they are the
    middle slices of the first and the last subject.
    """
    candidates, slices = [], {}
    mr = dataset.manifest.domains["mr"]
    for subject in read_subjects(dataset, mr.held_out):
        slices[subject.name] = len(subject.mr)
        if subject.reference_ct is not None:
            hu = translate(subject.mr)
            candidates.append(_candidate(subject, hu, dataset.manifest.label_names))

    def place(name: str, index: int, reason: str) -> Place:
        height = _height(mr, name, index)
        return Place(subject=name, height_mm=height, reason=reason)

    if not candidates:
        names = list(slices)
        ends = dict.fromkeys([names[0], names[-1]])
        return [place(name, slices[name] // 2, "middle") for name in ends]
    candidates.sort(key=lambda each: each.mae)
    median = candidates[len(candidates) // 2]
    reason = "subject and slice of the median error"
    places = [place(median.name, median.median_slice, reason)]
    if median.liver_slice is not None:
        places.append(place(median.name, median.liver_slice, "its liver"))
        with_liver = [each for each in candidates if each.liver_slice is not None]
        darkest = min(with_liver, key=lambda each: each.liver_hu)
        if darkest is not median:
            reason = f"the darkest liver, {darkest.liver_hu:.0f} HU".replace("-", "−")
            places.append(place(darkest.name, darkest.liver_slice, reason))
    return places


def _candidate(
    subject: EvaluationSubject, hu: np.ndarray, label_names: Sequence[str]
) -> _Candidate:
    body = subject.body
    errors = np.where(body, np.abs(hu - subject.reference_ct), 0)
    voxels = body.sum(axis=(1, 2))
    filled = np.flatnonzero(voxels)
    slice_errors = errors.sum(axis=(1, 2))[filled] / voxels[filled]
    median = np.argsort(slice_errors, kind="stable")[len(filled) // 2]
    label = label_names.index(_LIVER) if _LIVER in label_names else -1
    liver = subject.labels == label
    has_liver = bool(liver.any())
    return _Candidate(
        name=subject.name,
        mae=float(errors.sum(dtype=np.float64) / voxels.sum()),
        median_slice=int(filled[median]),
        liver_slice=int(liver.sum(axis=(1, 2)).argmax()) if has_liver else None,
        liver_hu=float(subject.reference_ct[liver].mean()) if has_liver else np.nan,
    )


def _height(mr: Domain, name: str, index: int) -> float:
    """Return the position in mm of a slice along the normal of the slices."""
    (affine,) = (subject.affine for subject in mr.subjects if subject.name == name)
    affine = np.asarray(affine)
    normal = affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    return float(normal @ (affine[:3, 3] + index * affine[:3, 2]))


def read_views(
    translate: Translate,
    dataset: Dataset,
    places: Sequence[Place],
    mr_channels: Sequence[str],
) -> list[View]:
    """Translate the slice that is nearest to each place.

    Args:
        mr_channels: those of the network's input, which are shown.
    """
    views: dict[Place, View] = {}
    mr = dataset.manifest.domains["mr"]
    for subject in read_subjects(dataset, mr.held_out):
        heights = [_height(mr, subject.name, i) for i in range(len(subject.mr))]
        for place in places:
            if place.subject != subject.name:
                continue
            index = int(np.argmin(np.abs(np.array(heights) - place.height_mm)))
            stored = subject.mr[index : index + 1]
            unit = mr_to_unit(stored[0])
            reference_ct = subject.reference_ct
            views[place] = View(
                mr={name: unit[..., mr.channels.index(name)] for name in mr_channels},
                synthetic_ct=translate(stored)[0],
                reference_ct=None if reference_ct is None else reference_ct[index],
            )
    return [views[place] for place in places]


# --- the picture ----------------------------------------------------------------------


def figure(places: Sequence[Place], views: Mapping[str, Sequence[View]]) -> bytes:
    """Draw a band for each place, as PNG: images, and a row of error maps below them.

    Args:
        views: by variant, one for each place.
    """
    channels = dict.fromkeys(
        name for each in views.values() for view in each for name in view.mr
    )
    paired = any(v.reference_ct is not None for each in views.values() for v in each)
    columns = len(channels) + len(views) + paired
    rows = 1 + paired
    band = rows * _SIDE + 2 * _TITLE
    width = columns * (_SIDE + _GAP) + _GAP
    height = len(places) * band + _GAP
    whole = matplotlib.figure.Figure(figsize=(width, height), facecolor=BACKGROUND)

    def add_axis(column: int, top: float, title: str = ""):
        left = _GAP + column * (_SIDE + _GAP)
        box = left / width, (top - _SIDE) / height, _SIDE / width, _SIDE / height
        axis = whole.add_axes(box)
        axis.set_axis_off()
        axis.set_title(title, color="white", fontsize=8, pad=3)
        return axis

    hu_window = {"cmap": "gray", "vmin": SOFT_TISSUE.low, "vmax": SOFT_TISSUE.high}
    error_colours = {"cmap": ERROR_COLOURS, "vmin": -ERROR_HU, "vmax": ERROR_HU}
    for number, place in enumerate(places):
        top = height - number * band
        title = f"{place.subject}: {place.reason}"
        y = (top - 0.17) / height
        whole.text(_GAP / width, y, title, color="white", fontsize=9)
        top -= 2 * _TITLE
        here = {variant: each[number] for variant, each in views.items()}
        for column, name in enumerate(channels):
            view = next(view for view in here.values() if name in view.mr)
            axis = add_axis(column, top, f"MR {name.replace('_', ' ')}")
            axis.imshow(view.mr[name][_zoom(view)], cmap="gray", vmin=-1, vmax=1)
        for column, (variant, view) in enumerate(here.items(), start=len(channels)):
            zoom = _zoom(view)
            add_axis(column, top, variant).imshow(view.synthetic_ct[zoom], **hu_window)
            if view.reference_ct is not None:
                error = view.synthetic_ct - view.reference_ct.astype(np.float32)
                axis = add_axis(column, top - _SIDE)
                errors = axis.imshow(error[zoom], **error_colours)
        known = [view for view in here.values() if view.reference_ct is not None]
        if known:
            axis = add_axis(columns - 1, top, "reference CT")
            axis.imshow(known[0].reference_ct[_zoom(known[0])], **hu_window)
            axis = add_axis(columns - 1, top - _SIDE)
            text = "← synthetic − reference CT"
            axis.text(0.04, 0.6, text, color="white", fontsize=7, va="center")
            x, y, wide, high = axis.get_position().bounds
            add_colour_bar(errors, (x, y + 0.45 * high, wide, 0.05 * high), "HU")
    return png(whole)


def _zoom(view: View) -> tuple[slice, slice]:
    """Return the square around the body on the view's own grid."""
    mr = np.stack([*view.mr.values()], axis=-1)
    ct = view.synthetic_ct if view.reference_ct is None else view.reference_ct
    return around_body(mr, ct)

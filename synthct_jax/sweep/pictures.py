"""The same slices of the same people, as every variant of a sweep sees them."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np

from input_pipeline.dataset.manifest import Prepared, load_prepared
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
from synthct_jax.inference.loaded_model import LoadedModel, load_model
from synthct_jax.inference.translator import Translator
from synthct_jax.sweep.plan_file import SweepRun

_SIDE, _TITLE, _GAP = 1.7, 0.24, 0.05  # inches
_LIVER = "liver"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """A slice to look at: of whom, how high in mm along the slices, and why."""

    subject: str
    height_mm: float
    why: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """What one variant has of a place.

    Attributes:
        mr: by channel (rows, columns) in [-1, 1].
        synthetic: (rows, columns) HU.
        truth: the same, where it is known.
    """

    mr: Mapping[str, np.ndarray]
    synthetic: np.ndarray
    truth: np.ndarray | None


def draw(folder: Path, runs: Sequence[SweepRun]) -> bytes:
    """PNG: a band of each place, MR, synthetic CT of each variant's first seed, truth.

    Where the truth is known there are three places: in the subject with the first
    variant's median error the slice with the median error and that with most liver,
    and the latter in the subject with the fattest liver, which is the darkest in CT.
    Elsewhere the middle slices of the first subject and of the last.

    Args:
        runs: that can be translated with.
    """
    first = {}
    for run in runs:
        if run.variant not in first or run.seed < first[run.variant].seed:
            first[run.variant] = run
    places: list[Place] = []
    views: dict[str, list[View]] = {}
    for variant, run in first.items():  # one model at a time
        model = load_model(run.workdir(folder))
        data = run.data_dir(folder)
        prepared = load_prepared(data)
        translate = _translator(model, prepared)
        if not places:
            places = choose(translate, data, prepared)
        views[variant] = _views(translate, data, prepared, places, model.data)
    return figure(places, views)


def _translator(model: LoadedModel, prepared: Prepared):
    translator = Translator(
        model.method, model.data, stored_channels=prepared.domains["mr"].channels
    )
    return lambda mr: translator(model.params, mr)


# --- which slices ---------------------------------------------------------------------


def choose(translate, data_dir: Path, prepared: Prepared) -> list[Place]:
    """The places of `draw`, by what `translate` makes of stored MR."""
    found = []  # of each subject where the truth is known
    cases = []
    for case in read_subjects(data_dir, prepared, prepared.domains["mr"].held_out):
        cases.append((case.name, len(case.mr)))
        if case.reference_ct is not None:
            found.append(_looked_at(translate, case, prepared))
    if not found:
        return [
            Place(subject=name, height_mm=_height(prepared, name, n // 2), why="middle")
            for name, n in dict.fromkeys([cases[0], cases[-1]])
        ]
    median = sorted(found, key=lambda one: one["mae"])[len(found) // 2]
    chosen = [(median, "median", "subject and slice of the median error")]
    if median[_LIVER] is not None:
        darkest = min(
            (one for one in found if one[_LIVER] is not None),
            key=lambda one: one["liver_hu"],
        )
        chosen.append((median, _LIVER, "its liver"))
        if darkest is not median:
            chosen.append(
                (darkest, _LIVER, f"the darkest liver, {darkest['liver_hu']:.0f} HU")
            )
    return [
        Place(
            subject=one["name"],
            height_mm=_height(prepared, one["name"], one[which]),
            why=why.replace("-", "−"),
        )
        for one, which, why in chosen
    ]


def _looked_at(translate, case: EvaluationSubject, prepared: Prepared) -> dict:
    """Of a subject: its error, and the slices of median error and of most liver."""
    body = case.labels > 0
    errors = np.where(body, np.abs(translate(case.mr) - case.reference_ct), 0)
    voxels = body.sum(axis=(1, 2))
    filled = np.flatnonzero(voxels)
    each = errors.sum(axis=(1, 2))[filled] / voxels[filled]
    names = prepared.label_names
    liver = case.labels == (names.index(_LIVER) if _LIVER in names else -1)
    return {
        "name": case.name,
        "mae": float(errors.sum(dtype=np.float64) / voxels.sum()),
        "median": int(filled[np.argsort(each, kind="stable")[len(filled) // 2]]),
        _LIVER: int(liver.sum(axis=(1, 2)).argmax()) if liver.any() else None,
        "liver_hu": float(case.reference_ct[liver].mean()) if liver.any() else None,
    }


def _height(prepared: Prepared, name: str, index: int) -> float:
    """Where a slice lies along the normal of the slices."""
    affine = np.asarray(_subject(prepared, name).affine)
    normal = affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    return float(normal @ (affine[:3, 3] + index * affine[:3, 2]))


def _subject(prepared: Prepared, name: str):
    return next(s for s in prepared.domains["mr"].subjects if s.name == name)


# --- what is in them ------------------------------------------------------------------


def _views(
    translate,
    data_dir: Path,
    prepared: Prepared,
    places: Sequence[Place],
    seen: Mapping[str, Any],
) -> list[View]:
    """Of each place the nearest slice: variants may be stored on other grids.

    Args:
        seen: `config.data` of the model, whose MR channels are shown.
    """
    found: dict[Place, View] = {}
    channels = prepared.domains["mr"].channels
    for case in read_subjects(data_dir, prepared, prepared.domains["mr"].held_out):
        for place in places:
            if place.subject != case.name:
                continue
            heights = [_height(prepared, case.name, i) for i in range(len(case.mr))]
            index = int(np.argmin(np.abs(np.array(heights) - place.height_mm)))
            stored = case.mr[index : index + 1]
            unit = mr_to_unit(stored[0])
            found[place] = View(
                mr={
                    name: unit[..., channels.index(name)]
                    for name in seen["mr_channels"]
                },
                synthetic=translate(stored)[0],
                truth=None if case.reference_ct is None else case.reference_ct[index],
            )
    return [found[place] for place in places]


# --- the picture ----------------------------------------------------------------------


def figure(places: Sequence[Place], views: Mapping[str, Sequence[View]]) -> bytes:
    """PNG: of each place a row of images and, below, a row of error maps."""
    channels = dict.fromkeys(
        name for each in views.values() for view in each for name in view.mr
    )
    paired = any(view.truth is not None for each in views.values() for view in each)
    columns = len(channels) + len(views) + paired
    rows = 1 + paired
    band = rows * _SIDE + 2 * _TITLE
    width = columns * (_SIDE + _GAP) + _GAP
    height = len(places) * band + _GAP
    whole = matplotlib.figure.Figure(figsize=(width, height), facecolor=BACKGROUND)

    def axis_at(column: int, top: float):
        left = _GAP + column * (_SIDE + _GAP)
        box = left / width, (top - _SIDE) / height, _SIDE / width, _SIDE / height
        axis = whole.add_axes(box)
        axis.set_axis_off()
        return axis

    for number, place in enumerate(places):
        top = height - number * band
        whole.text(
            _GAP / width,
            (top - 0.17) / height,
            f"{place.subject}: {place.why}",
            color="white",
            fontsize=9,
        )
        top -= 2 * _TITLE
        here = {variant: each[number] for variant, each in views.items()}
        mr = {name: _first(here, name) for name in channels}
        truth = next((v.truth for v in here.values() if v.truth is not None), None)
        zoom = around_body(
            np.stack([*mr.values()], axis=-1),
            next(iter(here.values())).synthetic if truth is None else truth,
        )
        for column, (name, image) in enumerate(mr.items()):
            axis = axis_at(column, top)
            axis.imshow(image[zoom], cmap="gray", vmin=-1, vmax=1)
            _name(axis, f"MR {name.replace('_', ' ')}")
        for column, (variant, view) in enumerate(here.items(), start=len(channels)):
            _show_ct(axis_at(column, top), view.synthetic[zoom], variant)
            if view.truth is not None:
                axis = axis_at(column, top - _SIDE)
                error = view.synthetic - view.truth.astype(np.float32)
                errors = axis.imshow(
                    error[zoom], cmap=ERROR_COLOURS, vmin=-ERROR_HU, vmax=ERROR_HU
                )
        if truth is not None:
            _show_ct(axis_at(columns - 1, top), truth[zoom], "reference CT")
            axis = axis_at(columns - 1, top - _SIDE)
            axis.text(
                0.04,
                0.6,
                "← synthetic − reference CT",
                color="white",
                fontsize=7,
                va="center",
            )
            x, y, wide, high = axis.get_position().bounds
            add_colour_bar(errors, (x, y + 0.45 * high, wide, 0.05 * high), "HU")
    return png(whole)


def _first(here: Mapping[str, View], channel: str) -> np.ndarray:
    return next(view.mr[channel] for view in here.values() if channel in view.mr)


def _show_ct(axis, image: np.ndarray, title: str) -> None:
    axis.imshow(image, cmap="gray", vmin=SOFT_TISSUE.low, vmax=SOFT_TISSUE.high)
    _name(axis, title)


def _name(axis, title: str) -> None:
    axis.set_title(title, color="white", fontsize=8, pad=3)

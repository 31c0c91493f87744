"""The subjects of an evaluation, one after another, with their truth if it is known."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from input_pipeline.body import body_mask
from input_pipeline.dataset import stream
from input_pipeline.dataset.manifest import Prepared


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A subject: its MR as stored and, where they are known, true HU and labels."""

    name: str
    mr: np.ndarray
    truth: np.ndarray | None = None
    labels: np.ndarray | None = None


def read_cases(data_dir: Path, prepared: Prepared, split: str) -> Iterator[Case]:
    """All MR subjects of a split. The truth is known where there are labels.

    The same name in MR and CT is the same person, but only labels say that both are
    on one grid in one breath.
    """
    mr = stream.read_subjects(data_dir, "mr", split)
    known = _paired_names(prepared, split)
    if not known:
        yield from (Case(name=name, mr=images) for name, images in mr)
        return
    truths = _only(stream.read_subjects(data_dir, "ct", split), known)
    labels = _only(stream.read_subjects(data_dir, "labels", split), known)
    for name, images in mr:
        if name not in known:
            yield Case(name=name, mr=images)
            continue
        # Subjects are in the same order in all domains.
        (ct_name, truth), (label_name, label) = next(truths), next(labels)
        if not (ct_name == label_name == name) or not (
            truth.shape == label.shape == (*images.shape[:3], 1)
        ):
            raise ValueError(
                f"{data_dir}: MR {name} {images.shape}, CT {ct_name} {truth.shape} and "
                f"labels {label_name} {label.shape} do not belong together"
            )
        yield Case(name=name, mr=images, truth=truth[..., 0], labels=label[..., 0])


def _paired_names(prepared: Prepared, split: str) -> set[str]:
    if "labels" not in prepared.domains:
        return set()
    return set.intersection(
        *({s.name for s in d.of_split(split)} for d in prepared.domains.values())
    )


def _only(
    subjects: Iterator[tuple[str, np.ndarray]], names: set[str]
) -> Iterator[tuple[str, np.ndarray]]:
    return ((name, images) for name, images in subjects if name in names)


def translated(
    translate: Callable[[np.ndarray], np.ndarray], mr: np.ndarray, name: str
) -> np.ndarray:
    """HU of stored MR by a function that is not trusted.

    Raises:
        ValueError: it is of another shape or not finite; names the subject.
    """
    hu = translate(mr)
    if hu.shape != mr.shape[:3]:
        raise ValueError(f"{name}: {mr.shape} was translated to {hu.shape}")
    if not np.isfinite(hu).all():
        raise ValueError(f"{name}: the translation is not finite everywhere")
    return hu


def spacing_mm(
    name: str, modality: str, prepared: Prepared
) -> tuple[float, float, float]:
    """Of slices, rows and columns of a subject's stored volume."""
    (subject,) = (
        one for one in prepared.domains[modality.lower()].subjects if one.name == name
    )
    affine = np.asarray(subject.affine)
    slice_mm = float(np.linalg.norm(affine[:3, 2]))
    return slice_mm, prepared.spacing_mm, prepared.spacing_mm


def outline(
    stored: np.ndarray, modality: str, name: str, prepared: Prepared
) -> np.ndarray:
    """The body in a stored volume of a subject: bool (slices, rows, columns)."""
    slice_mm, row_mm, column_mm = spacing_mm(name, modality, prepared)
    return body_mask(stored, modality, (row_mm, column_mm, slice_mm))


def spread(length: int, count: int) -> np.ndarray:
    """Indices of `count` slices, or all, evenly over the volume."""
    count = min(count, length)
    return ((np.arange(count) + 0.5) * length / count).astype(int)

"""The subjects of an evaluation, with their reference CT where it is known."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from input_pipeline.body import body_mask
from input_pipeline.dataset import stream
from input_pipeline.dataset.manifest import Prepared


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSubject:
    """A subject to translate.

    Attributes:
        name: of the subject.
        mr: as stored, int16 (slices, rows, columns, channels).
        spacing_mm: between slices, rows and columns.
        reference_ct, labels: (slices, rows, columns) HU and labels; None where the
            reference CT is not known.
    """

    name: str
    mr: np.ndarray
    spacing_mm: tuple[float, float, float]
    reference_ct: np.ndarray | None = None
    labels: np.ndarray | None = None

    @functools.cached_property
    def outline(self) -> np.ndarray:
        """The body as the MR shows it: bool (slices, rows, columns)."""
        return outline(self.mr, "MR", self.spacing_mm)

    @functools.cached_property
    def body(self) -> np.ndarray:
        """The body by its labels, or else its outline."""
        return self.outline if self.labels is None else self.labels > 0


def read_subjects(
    data_dir: Path, prepared: Prepared, split: str
) -> Iterator[EvaluationSubject]:
    """Yield all MR subjects of a split; those with labels have a reference CT.

    The same name in MR and CT is the same person, but only labels say that both are
    on one grid in one breath.

    Raises:
        ValueError: MR, CT and labels of a subject differ in name or shape.
    """
    mr = stream.read_subjects(data_dir, "mr", split)
    paired = _paired_names(prepared, split)
    if not paired:
        for name, images in mr:
            yield EvaluationSubject(
                name=name, mr=images, spacing_mm=spacing_mm(name, "mr", prepared)
            )
        return
    cts = _only(stream.read_subjects(data_dir, "ct", split), paired)
    labels = _only(stream.read_subjects(data_dir, "labels", split), paired)
    for name, images in mr:
        spacing = spacing_mm(name, "mr", prepared)
        if name not in paired:
            yield EvaluationSubject(name=name, mr=images, spacing_mm=spacing)
            continue
        # Subjects are in the same order in all domains.
        (ct_name, ct), (label_name, label) = next(cts), next(labels)
        if not (ct_name == label_name == name) or not (
            ct.shape == label.shape == (*images.shape[:3], 1)
        ):
            raise ValueError(
                f"{data_dir}: MR {name} {images.shape}, CT {ct_name} {ct.shape} and "
                f"labels {label_name} {label.shape} do not belong together"
            )
        yield EvaluationSubject(
            name=name,
            mr=images,
            spacing_mm=spacing,
            reference_ct=ct[..., 0],
            labels=label[..., 0],
        )


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


def translate_checked(
    translate: Callable[[np.ndarray], np.ndarray], mr: np.ndarray, name: str
) -> np.ndarray:
    """Translate stored MR to HU, and check shape and values.

    Raises:
        ValueError: HU are of another shape or not finite; names the subject.
    """
    hu = translate(mr)
    if hu.shape != mr.shape[:3]:
        raise ValueError(f"{name}: MR {mr.shape} was translated to CT {hu.shape}")
    if not np.isfinite(hu).all():
        raise ValueError(f"{name}: the translation is not finite everywhere")
    return hu


def spacing_mm(
    name: str, domain: str, prepared: Prepared
) -> tuple[float, float, float]:
    """Return the spacing between slices, rows and columns of a stored volume."""
    (subject,) = (one for one in prepared.domains[domain].subjects if one.name == name)
    affine = np.asarray(subject.affine)
    slice_mm = float(np.linalg.norm(affine[:3, 2]))
    return slice_mm, prepared.spacing_mm, prepared.spacing_mm


def outline(
    stored: np.ndarray, modality: str, spacing_mm: tuple[float, float, float]
) -> np.ndarray:
    """Return the body in a stored volume: bool (slices, rows, columns)."""
    slice_mm, row_mm, column_mm = spacing_mm
    return body_mask(stored, modality, (row_mm, column_mm, slice_mm))


def evenly_spaced(length: int, count: int) -> np.ndarray:
    """Return indices of `count` slices, or of all, evenly over a volume."""
    count = min(count, length)
    return ((np.arange(count) + 0.5) * length / count).astype(int)

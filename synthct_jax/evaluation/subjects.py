"""The subjects of an evaluation, with their reference CT where it is known."""

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator

import numpy as np

from input_pipeline.body import body_mask, fill_holes
from input_pipeline.dataset.dataset import Dataset
from input_pipeline.dataset.subject_volume import SubjectVolume
from input_pipeline.intensity import AIR_HU


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSubject(SubjectVolume):
    """A subject to translate: the stored MR, and its reference CT where it is known.

    Attributes:
        reference_ct: (slices, rows, columns) HU; None where it is not known.
        labels: (slices, rows, columns), 0 outside the body; None where the tissues are
            not known.
        label_names: name of each label; empty where they have none.
    """

    reference_ct: np.ndarray | None = None
    labels: np.ndarray | None = None
    label_names: tuple[str, ...] = ()

    @property
    def mr(self) -> np.ndarray:
        """Stored MR, int16 (slices, rows, columns, channels)."""
        return self.stored

    @functools.cached_property
    def body(self) -> np.ndarray:
        """The body by its labels, or else its outline in the MR."""
        return self.outline if self.labels is None else self.labels > 0

    @functools.cached_property
    def reference_outline(self) -> np.ndarray:
        """The body as segmented from the reference CT, bool."""
        return body_mask(self.reference_ct[..., None], "CT", self.spacing_mm)

    @property
    def has_tissues(self) -> bool:
        """True if its labels are those of named tissues, not of a mask."""
        return self.labels is not None and bool(self.label_names)

    def voxels_of(self, names: Collection[str]) -> np.ndarray:
        """Return the voxels whose label has one of the names, bool."""
        return np.isin(
            self.labels, [i for i, n in enumerate(self.label_names) if n in names]
        )


def read_subjects(dataset: Dataset, split: str) -> Iterator[EvaluationSubject]:
    """Yield all MR subjects of a split; those with a CT on their grid have a reference.

    The same name in MR and CT is the same person. That both show the same breath is
    taken for granted where somebody has put them on one grid. Labels are 0 where the
    stored reference CT shows no body: preparation has made air of what lies outside
    its own outline, such as the rim of the skin.

    Raises:
        ValueError: MR, CT and labels of a subject differ in name or shape.
    """
    paired = dataset.manifest.paired_names(split)
    known = {"ct": paired, "labels": set()}
    if "labels" in dataset.manifest.domains:
        labels = dataset.manifest.domains["labels"].of_split(split)
        known["labels"] = paired & {subject.name for subject in labels}
    # Subjects are in the same order in all domains.
    volumes = {
        domain: _volumes(dataset, domain, split, names)
        for domain, names in known.items()
    }
    for mr in dataset.subjects("mr", split):
        images = {}
        for domain, names in known.items():
            if mr.name not in names:
                continue
            other = next(volumes[domain])
            if (other.name, *other.stored.shape[:3]) != (mr.name, *mr.stored.shape[:3]):
                raise ValueError(
                    f"{dataset.folder}: MR {mr.name} {mr.stored.shape} and {domain} "
                    f"{other.name} {other.stored.shape} do not belong together"
                )
            images[domain] = other.stored[..., 0]
        if "labels" in images:
            shown = fill_holes(images["ct"] > AIR_HU)
            images["labels"] = np.where(shown, images["labels"], 0)
        yield EvaluationSubject(
            **{f.name: getattr(mr, f.name) for f in dataclasses.fields(mr)},
            reference_ct=images.get("ct"),
            labels=images.get("labels"),
            label_names=dataset.manifest.label_names,
        )


def _volumes(
    dataset: Dataset, domain: str, split: str, names: Collection[str]
) -> Iterator[SubjectVolume]:
    """Yield the volumes of some subjects; read nothing until one is asked for."""
    yield from (v for v in dataset.subjects(domain, split) if v.name in names)


class NotFiniteError(ValueError, FloatingPointError):
    """A network translates to NaN or infinity."""


def translate_checked(
    translate: Callable[[np.ndarray], np.ndarray], mr: np.ndarray, name: str
) -> np.ndarray:
    """Translate stored MR to HU, and check the result.

    Args:
        mr: (slices, rows, columns, channels) int16.

    Returns:
        HU, (slices, rows, columns).

    Raises:
        ValueError: the HU have another shape; names the subject.
        NotFiniteError: they are not finite.
    """
    hu = translate(mr)
    check_translation(hu, mr, name)
    return hu


def check_translation(hu: np.ndarray, mr: np.ndarray, name: str) -> None:
    """Raise as `translate_checked` unless HU are of the MR's shape and finite."""
    if hu.shape != mr.shape[:3]:
        raise ValueError(f"{name}: MR {mr.shape} was translated to CT {hu.shape}")
    if not np.isfinite(hu).all():
        raise NotFiniteError(f"{name}: the translation is not finite everywhere")


def evenly_spaced(length: int, count: int) -> np.ndarray:
    """Return indices of `count` slices, or of all, evenly over a volume."""
    count = min(count, length)
    return ((np.arange(count) + 0.5) * length / count).astype(int)

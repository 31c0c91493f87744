"""The subjects of an evaluation, with their reference CT where it is known."""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np

from input_pipeline.dataset.dataset import Dataset, SubjectVolume


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSubject(SubjectVolume):
    """A subject to translate: the stored MR, and its reference CT where it is known.

    Attributes:
        reference_ct, labels: (slices, rows, columns) HU and labels; None where the
            reference CT is not known.
    """

    reference_ct: np.ndarray | None = None
    labels: np.ndarray | None = None

    @property
    def mr(self) -> np.ndarray:
        """Stored MR, int16 (slices, rows, columns, channels)."""
        return self.stored

    @functools.cached_property
    def body(self) -> np.ndarray:
        """The body by its labels, or else its outline in the MR."""
        return self.outline if self.labels is None else self.labels > 0


def read_subjects(dataset: Dataset, split: str) -> Iterator[EvaluationSubject]:
    """Yield all MR subjects of a split; those with labels have a reference CT.

    The same name in MR and CT is the same person, but only labels say that both are
    on one grid in one breath.

    Raises:
        ValueError: MR, CT and labels of a subject differ in name or shape.
    """
    paired = _paired_names(dataset, split)
    # Subjects are in the same order in all domains.
    references = zip(
        *(
            (v for v in dataset.subjects(domain, split) if v.name in paired)
            for domain in ("ct", "labels")
            if paired
        ),
        strict=True,
    )
    for mr in dataset.subjects("mr", split):
        fields = {f.name: getattr(mr, f.name) for f in dataclasses.fields(mr)}
        if mr.name not in paired:
            yield EvaluationSubject(**fields)
            continue
        ct, labels = next(references)
        shape = (*mr.stored.shape[:3], 1)
        if not (ct.name == labels.name == mr.name) or not (
            ct.stored.shape == labels.stored.shape == shape
        ):
            raise ValueError(
                f"{dataset.folder}: MR {mr.name} {mr.stored.shape}, CT {ct.name} "
                f"{ct.stored.shape} and labels {labels.name} {labels.stored.shape} do "
                "not belong together"
            )
        yield EvaluationSubject(
            **fields, reference_ct=ct.stored[..., 0], labels=labels.stored[..., 0]
        )


def _paired_names(dataset: Dataset, split: str) -> set[str]:
    domains = dataset.manifest.domains
    if "labels" not in domains:
        return set()
    names = [{s.name for s in domain.of_split(split)} for domain in domains.values()]
    return set.intersection(*names)


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


def evenly_spaced(length: int, count: int) -> np.ndarray:
    """Return indices of `count` slices, or of all, evenly over a volume."""
    count = min(count, length)
    return ((np.arange(count) + 0.5) * length / count).astype(int)

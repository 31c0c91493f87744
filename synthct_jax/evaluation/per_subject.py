"""Metrics of one subject: against its own MR, and against its reference CT."""

import functools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from input_pipeline.body import body_mask
from synthct_jax.evaluation.metric_definitions import BODY, CONSISTENCY, PAIRED
from synthct_jax.evaluation.results import REFERENCE_CT, Row
from synthct_jax.evaluation.subjects import EvaluationSubject
from synthct_jax.metrics import labelled, paired, path_length, tissues, uncertainty


class Images:
    """A CT of a subject: the argument of CONSISTENCY and PAIRED metrics."""

    def __init__(
        self,
        hu: np.ndarray,
        subject: EvaluationSubject,
        spread: np.ndarray | None = None,
    ):
        """Take the CT, synthetic or, for its consistency, real, with its subject.

        Args:
            spread: standard deviation of each voxel in HU, if there is one.
        """
        self.hu, self.subject, self.spread = hu, subject, spread

    @property
    def reference_ct(self) -> np.ndarray:
        return self.subject.reference_ct

    @property
    def body(self) -> np.ndarray:
        return self.subject.body

    @functools.cached_property
    def mask_of_hu(self) -> np.ndarray:
        """Body mask segmented from `hu`, bool (slices, rows, columns)."""
        # As if it were stored: int16, with a channel.
        stored = np.round(self.hu).astype(np.int16)[..., None]
        return body_mask(stored, "CT", self.subject.spacing_mm)

    @functools.cached_property
    def errors(self) -> dict[str, float]:
        return paired.errors(self.hu, self.reference_ct, self.body)

    @functools.cached_property
    def uncertainty(self) -> dict[str, float]:
        return uncertainty.compare(self.spread, self.hu, self.reference_ct, self.body)

    @functools.cached_property
    def path_lengths(self) -> dict[str, float]:
        return path_length.path_length_errors(
            self.hu, self.reference_ct, self.body, self.subject.spacing_mm
        )

    @functools.cached_property
    def bone(self) -> list[np.ndarray]:
        """Bone of the synthetic and of the reference CT."""
        limit = tissues.BONE_FROM_HU
        return [self.body & (hu >= limit) for hu in (self.hu, self.reference_ct)]

    @property
    def air(self) -> list[np.ndarray]:
        """Gas and lung in the body of the synthetic and of the reference CT."""
        limit = tissues.AERATED_BELOW_HU
        return [self.body & (hu < limit) for hu in (self.hu, self.reference_ct)]

    def pure_hu(self, names: Sequence[str]) -> np.ndarray:
        """Return the HU of the pure voxels of a group of tissues."""
        return self.hu[labelled.pure(self.subject.voxels_of(names))]

    @functools.cached_property
    def lesion_contrasts(self) -> np.ndarray:
        """Contrast of each lesion of liver and kidneys, over that of the reference."""
        ratios = []
        for name in labelled.WITH_LESIONS:
            organ = self.subject.voxels_of(labelled.ORGANS[name])
            for kind in labelled.LESIONS:
                cores = labelled.lesion_cores(self.subject.voxels_of([kind]), organ)
                ratios += labelled.contrasts_kept(
                    self.hu, self.reference_ct, cores, organ
                )
        return np.array(ratios)

    @property
    def organ_deviations(self) -> np.ndarray:
        """`labelled.deviations` of liver and kidneys, one after the other."""
        hu, reference_ct = self.hu, self.reference_ct
        organs = (labelled.ORGANS[name] for name in labelled.WITH_LESIONS)
        masks = (self.subject.voxels_of(names) for names in organs)
        return np.concatenate(
            [labelled.deviations(hu, reference_ct, mask) for mask in masks]
        )

    @property
    def organ_shift_mm(self) -> float:
        """Mean displacement of the organs that the subject has; NaN without any."""
        shifts = np.array(
            [
                labelled.displacement_mm(
                    self.hu,
                    self.reference_ct,
                    self.subject.voxels_of(names),
                    self.subject.spacing_mm,
                )
                for names in labelled.ORGANS.values()
            ]
        )
        shifts = shifts[np.isfinite(shifts)]
        return float(shifts.mean()) if shifts.size else math.nan


def consistency_rows(method: str, images: Images) -> Iterator[Row]:
    """Yield the metrics that need no reference CT."""
    for name, metric in CONSISTENCY.items():
        yield Row(images.subject.name, method, BODY, name, metric.compute(images))


def cycle_rows(
    method: str,
    subject: EvaluationSubject,
    network_input: np.ndarray,
    cycled: np.ndarray,
    channels: Sequence[str],
) -> Iterator[Row]:
    """Yield what is lost from MR to CT and back, in % of the input's range.

    Both images are (slices, rows, columns, channels) in [-1, 1]; the outline counts.
    """
    body = subject.outline
    errors = [
        np.abs(mr - cycled_mr)[voxels].sum(axis=0, dtype=np.float64)
        for mr, cycled_mr, voxels in zip(network_input, cycled, body, strict=True)
    ]
    means = 50 * np.sum(errors, axis=0) / body.sum()
    for channel, mean in zip(channels, means, strict=True):
        yield Row(subject.name, method, BODY, f"cycle_{channel}", float(mean))


def paired_rows(method: str, images: Images) -> Iterator[Row]:
    """Yield errors in the body, and MAE and ME of its tissues, HU bands and border.

    Metrics of labelled tissues are left out where there are none of these, metrics of
    the standard deviation where there is none.
    """
    subject = images.subject
    for name, metric in PAIRED.items():
        if metric.labelled and not subject.has_tissues:
            continue
        if metric.of_spread and images.spread is None:
            continue
        value = metric.compute(images)
        if not (metric.labelled and math.isnan(value)):
            yield Row(subject.name, method, BODY, name, value)
    for region, errors in _errors_by_region(images).items():
        for name in ("mae", "me"):
            yield Row(subject.name, method, region, name, errors[name])


def reference_rows(subject: EvaluationSubject) -> Iterator[Row]:
    """Yield the consistency metrics of the reference CT, and facts of its regions.

    'voxels' is the number of voxels of each region, 'mean_hu' the mean HU of each
    tissue.
    """
    images = Images(subject.reference_ct, subject)
    yield from consistency_rows(REFERENCE_CT, images)
    for region, errors in _errors_by_region(images).items():
        yield Row(subject.name, REFERENCE_CT, region, "voxels", float(errors["voxels"]))
        kind, _, name = region.partition(":")
        if kind == "tissue":
            hu = subject.reference_ct[subject.voxels_of([name])]
            mean = hu.mean(dtype=np.float64)
            yield Row(subject.name, REFERENCE_CT, region, "mean_hu", float(mean))


def _errors_by_region(images: Images) -> dict[str, dict[str, float]]:
    """Return {'mae', 'me', 'voxels'} of each region that the subject has."""
    hu, reference_ct, body = images.hu, images.reference_ct, images.body
    regions, subject = {}, images.subject
    if subject.has_tissues:
        names = subject.label_names[1:]  # without what is outside the body
        pure = labelled.pure_labels(subject.labels)
        for kind, labels in (("tissue", subject.labels), ("pure", pure)):
            by_label = paired.by_label(hu, reference_ct, labels, count=len(names) + 1)
            of_kind = zip(names, by_label[1:], strict=True)
            regions |= {f"{kind}:{name}": errors for name, errors in of_kind}
    by_band = paired.by_band(hu, reference_ct, body, tissues.BANDS)
    border = paired.fat_muscle_border(reference_ct, body).astype(np.int16)
    by_border = paired.by_label(hu, reference_ct, border, count=2)
    regions |= {f"band:{name}": errors for name, errors in by_band.items()}
    regions["border:fat_muscle"] = by_border[1]
    return {region: errors for region, errors in regions.items() if errors}

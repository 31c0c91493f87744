"""Cases of a dose check: a reference CT, the CT to check beside it, and targets."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from input_pipeline.dataset.dataset import Dataset
from input_pipeline.intensity import AIR_HU
from input_pipeline.resample import grid_covering, resample_to_grid
from input_pipeline.volume import UnusableScan, Volume
from synthct_jax.dose import controls
from synthct_jax.dose.plans import LIVER, SPINE, TARGET
from synthct_jax.dose.structures import (
    FROM_END_MM,
    Structures,
    sites_of_subject,
    structures_of_labels,
)
from synthct_jax.evaluation import ct_methods
from synthct_jax.evaluation.ct_files import check_grid, read_ct, read_labels
from synthct_jax.evaluation.results import NETWORK
from synthct_jax.evaluation.subjects import EvaluationSubject, read_subjects
from synthct_jax.inference.loaded_model import LoadedModel

PIXEL_MM = 4.0
"""Pixels of the dose grid; finer CT are averaged to it, slices are kept."""

WATER, BULK = "water", "bulk"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A subject to plan.

    Attributes:
        spacing_mm: distance of neighbouring (slices, rows, columns).
        reference_ct: HU, (slices, rows, columns), which plans are optimised on.
        cts: HU of other CT of its shape, by method.
        sites: structures by site.
        warnings: what a reader of the numbers should know.
    """

    name: str
    spacing_mm: tuple[float, float, float]
    reference_ct: np.ndarray
    cts: Mapping[str, np.ndarray]
    sites: Mapping[str, Structures]
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class CasesOfData:
    """Subjects of prepared data whose reference CT and tissues are known.

    Attributes:
        names: of the subjects, in the order of the data.
    """

    dataset: Dataset
    split: str
    model: ct_methods.Model
    names: tuple[str, ...]

    @classmethod
    def of_model(
        cls,
        loaded: LoadedModel,
        data_dir: Path,
        *,
        split: str | None = None,
        subjects: int | None = None,
    ) -> "CasesOfData":
        """Open prepared data for a model.

        Args:
            split: by default the first of test, validation and train with MR.
            subjects: how many of them, the first; None for all.

        Raises:
            FileNotFoundError, ValueError: the data are not what the network takes, or
                have fewer such subjects.
        """
        loaded, dataset = ct_methods.open_data(loaded, data_dir)
        split = split or dataset.manifest.domains["mr"].held_out
        labelled = set()
        if "labels" in dataset.manifest.domains:
            labels = dataset.manifest.domains["labels"].of_split(split)
            labelled = {subject.name for subject in labels}
        known = labelled & dataset.manifest.paired_names(split)
        names = [s.name for s in dataset.manifest.domains["mr"].of_split(split)]
        names = [name for name in names if name in known]
        if len(names) < (subjects or 1):
            raise ValueError(
                f"{data_dir} has {len(names)} {split} subjects with MR, CT and labels "
                f"of tissues on one grid, expected {subjects or 1} or more; for CT of "
                "your own, --input, --truth and --mask"
            )
        return cls(
            dataset=dataset,
            split=split,
            model=ct_methods.model_of_generator(loaded, dataset),
            names=tuple(names[:subjects]),
        )

    def __iter__(self) -> Iterator[Case]:
        known = (
            subject
            for subject in read_subjects(self.dataset, self.split)
            if subject.name in self.names
        )
        for subject in itertools.islice(known, len(self.names)):
            hu, _ = ct_methods.network_ct(self.model, subject)
            # Preparation made air of the skin's rim in the reference CT alone.
            hu = np.where(subject.body, hu, np.float32(AIR_HU))
            sites = sites_of_subject(subject)
            missing = [site for site in (LIVER, SPINE) if site not in sites]
            yield Case(
                name=subject.name,
                spacing_mm=subject.spacing_mm,
                reference_ct=subject.reference_ct,
                cts=_with_controls(hu, subject),
                sites=sites,
                warnings=tuple(
                    f"{subject.name} is left out of the plans of the {site}: no place "
                    "in it can be a target"
                    for site in missing
                ),
            )


def case_of_files(
    synthetic: str, truth: str, mask: str, *, organs: Mapping[int, str]
) -> Case:
    """Read a synthetic CT, its reference CT and a mask of the target, on one grid.

    Args:
        organs: names of labels of the mask, see `structures_of_labels`.

    Returns:
        A case without a path in its name, which goes into every output.

    Raises:
        FileNotFoundError, ValueError: a file is missing or not what is expected, or
            lies on another grid; names both.
    """
    ct, reference = read_ct(synthetic), read_ct(truth)
    check_grid(synthetic, ct.grid, reference)
    labels = read_labels(mask, reference)
    reference_hu, spacing_mm = _coarse(reference), reference.spacing_mm
    if _is_fine(reference):
        spacing_mm = (spacing_mm[0], PIXEL_MM, PIXEL_MM)
    subject = EvaluationSubject(
        name="synthetic CT",
        domain="ct",  # its outline is that of the reference CT
        stored=reference_hu[..., None],
        spacing_mm=spacing_mm,
        reference_ct=reference_hu,
    )
    if not subject.body.any():
        raise UnusableScan(f"{truth}: no voxel of a body, expected some")
    try:
        coarse = _coarse_labels(labels, reference)
        structures = structures_of_labels(coarse, subject.body, organs)
    except ValueError as error:
        raise ValueError(f"{mask}: {error}") from error
    return Case(
        name=subject.name,
        spacing_mm=subject.spacing_mm,
        reference_ct=reference_hu,
        cts=_with_controls(_coarse(ct), subject),
        sites={TARGET: structures},
        warnings=tuple(_warnings_of_target(coarse == 1, structures, spacing_mm[0])),
    )


def _warnings_of_target(
    drawn: np.ndarray, structures: Structures, slice_mm: float
) -> Iterator[str]:
    if outside := np.count_nonzero(drawn & ~structures.body):
        yield (
            f"{outside} of {np.count_nonzero(drawn)} voxels of the target lie outside "
            "the body of the reference CT, and are left out"
        )
    centre = structures.isocentre()[0]
    from_end_mm = slice_mm * min(centre, len(drawn) - 1 - centre)
    if from_end_mm < FROM_END_MM:
        yield (
            f"The centre of the target lies {from_end_mm:.0f} mm from the first or the "
            f"last slice, expected {FROM_END_MM:g} mm or more: dose beyond the volume "
            "is not computed"
        )


def _with_controls(hu: np.ndarray, subject: EvaluationSubject) -> dict[str, np.ndarray]:
    return {
        NETWORK: hu,
        WATER: controls.water(subject),
        BULK: controls.bulk_density(subject),
    }


def _is_fine(ct: Volume) -> bool:
    return min(ct.spacing_mm[1:]) < PIXEL_MM


def _coarse(ct: Volume, fill: float = AIR_HU) -> np.ndarray:
    """Return values on the dose grid, (slices, rows, columns) float32."""
    if not _is_fine(ct):
        return ct.voxels[..., 0].astype(np.float32)
    grid = grid_covering(ct, PIXEL_MM, multiple=1)
    return resample_to_grid(ct, grid, fill=fill)[..., 0]


def _coarse_labels(labels: np.ndarray, ct: Volume) -> np.ndarray:
    """Return the label that covers more than half of a voxel of the dose grid, or 0.

    Raises:
        ValueError: one covers more than half of no voxel.
    """
    total = 0
    for value in np.unique(labels[labels != 0]):
        mask = (labels == value)[..., None].astype(np.float32)
        covered = _coarse(dataclasses.replace(ct, voxels=mask), fill=0) > 0.5
        if not covered.any():
            raise ValueError(
                f"label {value:g} has {np.count_nonzero(mask)} voxels, but covers more "
                f"than half of none of the dose grid, whose pixels are {PIXEL_MM:g} "
                "mm: expected a thicker structure, or no such label"
            )
        total = total + value * covered
    return total

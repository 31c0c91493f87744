"""Methods that give a CT: the network of a model, and baselines beside it."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from input_pipeline.dataset.dataset import Dataset
from input_pipeline.intensity import AIR_HU
from input_pipeline.preparation.statistics import count_values
from input_pipeline.resample import (
    grid_covering,
    resample_from_grid,
    resample_to_grid,
)
from input_pipeline.volume import Volume
from synthct_jax.evaluation import baselines
from synthct_jax.evaluation.subjects import (
    EvaluationSubject,
    check_translation,
    read_subjects,
    translate_checked,
)
from synthct_jax.inference.loaded_model import LoadedModel
from synthct_jax.metrics import path_length

CtMethod = Callable[[EvaluationSubject], np.ndarray | None]
"""A function from a subject to HU; None where it cannot give them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """The functions of a translation that is evaluated.

    Attributes:
        translate: stored MR, int16 (slices, rows, columns, channels), to HU (slices,
            rows, columns).
        network_input: stored MR to the network's input, (slices, rows, columns,
            channels) in [-1, 1].
        channels: of the network's input.
        resampled_to_mm: pixels that `translate` resamples slices to; None: it does not.
        cycle: HU back to such an input; None without an inverse generator.
        with_spread: as `translate`, with the standard deviation in HU of each voxel
            beside it; None if a slice is translated once, or resampled.
    """

    translate: Callable[[np.ndarray], np.ndarray]
    network_input: Callable[[np.ndarray], np.ndarray]
    channels: tuple[str, ...]
    cycle: Callable[[np.ndarray], np.ndarray] | None = None
    resampled_to_mm: float | None = None
    with_spread: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None


def open_data(loaded: LoadedModel, data_dir: Path) -> tuple[LoadedModel, Dataset]:
    """Open prepared data; return the generator for their channels, and the data.

    Raises:
        FileNotFoundError, ValueError: there are no data, or they are not what the
            network takes.
    """
    dataset = Dataset.open(data_dir)
    loaded = loaded.with_channels(dataset.manifest.domains["mr"].channels)
    dataset.check_compatible(ConfigDict(loaded.data), any_pixels=True)
    return loaded, dataset


def model_of_generator(loaded: LoadedModel, dataset: Dataset) -> Model:
    """Return the functions of a generator on prepared data.

    Slices of other pixels than those of its training, or of a size that it cannot take,
    are resampled for `translate`; there is no `cycle` then.
    """
    translator = loaded.translator_of(dataset.manifest.domains["mr"].channels)
    spacing_mm, multiple = loaded.data["spacing_mm"], loaded.method.size_multiple
    stored_mm, inverse = dataset.manifest.spacing_mm, loaded.inverse_params
    resampled = stored_mm != spacing_mm or dataset.manifest.size % multiple > 0

    def translate(mr: np.ndarray) -> np.ndarray:
        if not resampled:
            return translator(loaded.params, mr)
        volume = Volume(
            voxels=mr,
            affine=np.diag([stored_mm, stored_mm, 1.0, 1.0]),
            modality="MR",
            channels=dataset.manifest.domains["mr"].channels,
        )
        grid = grid_covering(volume, spacing_mm, multiple=multiple)
        stored = np.round(resample_to_grid(volume, grid, fill=0)).astype(mr.dtype)
        hu = translator(loaded.params, stored)
        return resample_from_grid(hu[..., None], grid, volume, fill=AIR_HU)[..., 0]

    def with_spread(mr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return translator.with_spread(loaded.params, mr)

    def cycle(hu: np.ndarray) -> np.ndarray:
        return translator.translate_back(inverse, hu)

    return Model(
        translate=translate,
        network_input=translator.network_input,
        channels=tuple(loaded.data["mr_channels"]),
        cycle=None if inverse is None or resampled else cycle,
        resampled_to_mm=spacing_mm if resampled else None,
        with_spread=with_spread if loaded.has_spread and not resampled else None,
    )


def network_ct(
    model: Model, subject: EvaluationSubject
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the network's HU, and their standard deviation if the model has one.

    Raises:
        ValueError: as `translate_checked`.
    """
    if model.with_spread is None:
        return translate_checked(model.translate, subject.mr, subject.name), None
    hu, spread = model.with_spread(subject.mr)
    check_translation(hu, subject.mr, subject.name)
    return hu, spread


def baselines_by_name(
    model: Model, dataset: Dataset
) -> tuple[dict[str, CtMethod], list[str]]:
    """Return the baselines beside a network by name, and warnings."""
    methods: dict[str, CtMethod] = {"water": lambda s: baselines.water(s.outline)}
    warnings = []
    if model.resampled_to_mm is not None:
        warnings.append(
            f"Slices of {dataset.manifest.spacing_mm:g} mm were resampled to the "
            f"{model.resampled_to_mm:g} mm of the network's training, and their CT "
            "back; the way back to MR was not evaluated"
        )
    if all(dataset.manifest.domains[name].of_split("train") for name in ("mr", "ct")):
        methods["histogram"] = _fit_histogram_map(dataset)
    else:
        warnings.append(
            "There are no training subjects of both kinds, to map histograms by"
        )
    if (hu := fit_thresholds(dataset)) is not None:
        channel = brightness_channel(dataset)
        methods["thresholds"] = lambda s: baselines.map_brightness(
            hu, s.mr[..., channel], s.outline
        )
    else:
        warnings.append(
            "There are no validation subjects with a reference CT, to choose two "
            "thresholds of brightness by, or medians"
        )
    stored = dataset.manifest.domains["mr"].channels
    channels = [stored.index(name) for name in model.channels]
    if (medians := _fit_medians(dataset, channels)) is not None:
        methods["medians"] = lambda s: baselines.map_intensities(
            medians, s.mr[..., channels], s.outline
        )
    methods["bulk"] = _bulk_density
    return methods, warnings


def _bulk_density(subject: EvaluationSubject) -> np.ndarray | None:
    if subject.reference_ct is None:
        return None
    return path_length.bulk_density(subject.reference_ct, subject.body)


def _fit_histogram_map(dataset: Dataset) -> CtMethod:
    channel = brightness_channel(dataset)
    counts = []
    for domain in ("mr", "ct"):
        total = 0
        for volume in dataset.subjects(domain, "train"):
            mapped = volume.stored[..., [channel if domain == "mr" else 0]]
            total = total + count_values(mapped, volume.outline)[0]
        counts.append(total)
    hu = baselines.fit_histogram_map(*counts)
    return lambda s: baselines.map_brightness(hu, s.mr[..., channel], s.outline)


def fit_thresholds(dataset: Dataset) -> np.ndarray | None:
    """Return HU by brightness with the least error on validation subjects.

    See `baselines.fit_thresholds`. None without validation subjects that have
    reference CT.
    """
    channel = brightness_channel(dataset)
    errors = sum(
        baselines.threshold_errors(mr[..., channel], ct, inside)
        for mr, ct, inside in _validation_pairs(dataset)
    )
    return baselines.fit_thresholds(errors) if np.any(errors) else None


def _fit_medians(dataset: Dataset, channels: Sequence[int]) -> np.ndarray | None:
    """Return the median HU by MR intensities of validation subjects, or None."""
    counts = sum(
        baselines.median_counts(mr[..., channels], ct, inside)
        for mr, ct, inside in _validation_pairs(dataset)
    )
    return baselines.fit_medians(counts) if np.any(counts) else None


def _validation_pairs(
    dataset: Dataset,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield stored MR, reference CT and the voxels to fit baselines to."""
    if not dataset.manifest.domains["mr"].of_split("validation"):
        return
    for subject in read_subjects(dataset, "validation"):
        if subject.reference_ct is not None:
            # Outside the outline baselines are air.
            yield subject.mr, subject.reference_ct, subject.body & subject.outline


def brightness_channel(dataset: Dataset) -> int:
    """Return the index of the stored MR channel that maps of brightness read."""
    channels = dataset.manifest.domains["mr"].channels
    return channels.index("in_phase") if "in_phase" in channels else 0

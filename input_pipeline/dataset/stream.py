"""Endless pairs of an MR slice and a CT slice, a pure function of (seed, position).

MR and CT are two independent streams, each shuffled anew every epoch, zipped. The
position is the step: there is no state to save, and another number of hosts, threads or
worker processes gives the same global batches.
"""

import dataclasses
import functools
from collections.abc import Sequence

import grain
import numpy as np

from input_pipeline import intensity
from input_pipeline.cpus import cpu_count
from input_pipeline.dataset.augment import Augmentation, place


def stream_pairs(
    mr: Sequence[dict],
    ct: Sequence[dict],
    data_config,
    *,
    mr_channels: Sequence[str],
    spacing_mm: float,
    seed: int,
    paired: bool = False,
) -> grain.MapDataset:
    """Return endless shuffled, augmented pairs of an MR and a CT slice.

    Args:
        mr, ct: random access to stored slices.
        data_config: `config.data`.
        mr_channels: names, in stored order.
        spacing_mm: pixel spacing of the slices.
        seed: draws order and augmentation.
        paired: draws the same order and augmentation for both domains.
    """
    augmentation = Augmentation(
        crop=int(data_config.crop),
        flip=bool(data_config.flip),
        rotate_degrees=float(data_config.rotate_degrees),
        scale_fraction=float(data_config.scale_fraction),
        shift=float(data_config.shift_mm) / spacing_mm,
    )
    channels = tuple(list(mr_channels).index(n) for n in data_config.mr_channels)
    knots = tuple(tuple(float(v) for v in knot) for knot in data_config.ct_knots)
    of_mr = _ToUnit(
        augmentation=augmentation,
        modality="MR",
        channels=channels,
        mr_exponent=float(data_config.mr_exponent),
    )
    of_ct = _ToUnit(augmentation=augmentation, modality="CT", knots=knots)
    # Seeds of their own, by .seed(): equal ones would pair MR i with CT i for ever
    # when both have equally many slices, and shuffle(seed + 1) is the next epoch.
    seeds = np.random.SeedSequence(seed).generate_state(2)
    if paired:  # ... which is what is wanted here
        seeds[1] = seeds[0]
    streams = [
        grain.MapDataset.source(slices)
        .seed(int(domain_seed))
        .shuffle()
        .random_map(to_unit)
        .repeat()
        for slices, to_unit, domain_seed in (
            (mr, of_mr, seeds[0]),
            (ct, of_ct, seeds[1]),
        )
    ]
    return grain.experimental.ZipMapDataset(streams).map(_name_pair)


def add_pairs(
    samples: grain.MapDataset, name: str, pairs: grain.MapDataset
) -> grain.MapDataset:
    """Return each sample with `NAME_mr` and `NAME_ct` of a pair beside it."""
    merge = functools.partial(_merge, name=name)
    return grain.experimental.ZipMapDataset([samples, pairs]).map(merge)


def read_ahead(batches: grain.MapDataset, *, workers: int) -> grain.DatasetIterator:
    """Iterate with threads that read ahead, in `workers` processes, or here for 0."""
    threads = min(16, cpu_count())
    stream = batches.to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    )
    if workers:
        stream = stream.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    return iter(stream)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ToUnit:
    """Augment a stored slice and map it to [-1, 1]; can be pickled for workers."""

    augmentation: Augmentation
    modality: str
    channels: tuple[int, ...] = (0,)
    mr_exponent: float = 1.0
    knots: tuple[tuple[float, float], ...] = ()

    def __call__(self, record: dict, rng: np.random.Generator) -> np.ndarray:
        image = record["image"]
        placement = self.augmentation.draw(rng, image.shape[0])
        image = place(
            image[..., self.channels],
            placement,
            fill=intensity.background(self.modality),
        )
        if self.modality == "CT":
            return intensity.hu_to_unit(image, self.knots)
        return intensity.mr_to_unit(image, self.mr_exponent)


def _merge(sample_and_pair: tuple[dict, dict], *, name: str) -> dict[str, np.ndarray]:
    sample, pair = sample_and_pair
    return sample | {f"{name}_{domain}": image for domain, image in pair.items()}


def _name_pair(pair: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
    return {"mr": pair[0], "ct": pair[1]}

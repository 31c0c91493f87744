"""Endless batches of unpaired slices, a pure function of (seed, step).

MR and CT are two independent streams, each shuffled anew every epoch, zipped. The
position is the step: there is no state to save, and another number of hosts, threads or
worker processes gives the same global batches.
"""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import grain
import numpy as np

from input_pipeline import intensity
from input_pipeline.dataset.augment import Augmentation, place
from input_pipeline.dataset.manifest import Prepared, load_prepared
from input_pipeline.dataset.storage import open_domain
from input_pipeline.slices import background


def make_stream(
    data_dir: str | Path,
    data_config,
    *,
    seed: int,
    global_batch: int,
    paired: bool = False,
    start_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator:
    """Batches of the training split, from `start_step` on.

    Concatenating what all processes get at a step gives the global batch of that step,
    in the order of process_index.

    Args:
        data_dir: a prepared data set.
        data_config: `config.data`.
        seed: draws order and augmentation.
        global_batch: slices of each domain, over all processes.
        paired: an MR and the CT of the same slice, moved alike; off, the two streams
            know nothing of each other.

    Returns:
        An iterator over {'mr': (local, H, W, channels), 'ct': (local, H, W, 1)}, both
        float32 in [-1, 1]. Close it (`close()`) when done.

    Raises:
        FileNotFoundError, ValueError: the data are missing or are not what the
            configuration asks for; names the field and both values.
    """
    if global_batch % process_count:
        raise ValueError(
            f"train.global_batch is {global_batch}, expected a multiple of the "
            f"{process_count} processes"
        )
    prepared = load_prepared(data_dir)
    check_request(prepared, data_config)
    if paired:
        _check_pairs(prepared, data_dir)
    augmentation = Augmentation(
        crop=int(data_config.crop),
        flip=bool(data_config.flip),
        rotate_degrees=float(data_config.rotate_degrees),
        scale_fraction=float(data_config.scale_fraction),
        shift=float(data_config.shift_mm) / prepared.spacing_mm,
    )
    wanted = [
        prepared.domains["mr"].channels.index(name) for name in data_config.mr_channels
    ]
    knots = tuple(tuple(float(v) for v in knot) for knot in data_config.ct_knots)
    domains = {
        "mr": _ToUnit(augmentation=augmentation, modality="MR", channels=tuple(wanted)),
        "ct": _ToUnit(augmentation=augmentation, modality="CT", knots=knots),
    }
    # Seeds of their own, by .seed(): equal ones would pair MR i with CT i for ever
    # when both have equally many slices, and shuffle(seed + 1) is the next epoch.
    seeds = np.random.SeedSequence(seed).generate_state(2)
    if paired:  # ... which is what is wanted here
        seeds[1] = seeds[0]
    streams = [
        grain.MapDataset.source(open_domain(data_dir, domain, "train"))
        .seed(int(domain_seed))
        .shuffle()
        .random_map(to_unit)
        .repeat()
        for (domain, to_unit), domain_seed in zip(domains.items(), seeds, strict=True)
    ]
    local = global_batch // process_count
    # Batch b of `local` pairs is the share of process b % count of step b // count.
    # Batched before it becomes an iterator, or workers would deal out the pairs.
    batches = (
        grain.experimental.ZipMapDataset(streams)
        .map(_name_pair)
        .batch(local, drop_remainder=True)  # else grain cannot count endless ones
        .slice(slice(start_step * process_count + process_index, None, process_count))
    )
    threads = min(16, os.cpu_count() or 1)
    workers = int(data_config.workers)
    stream = batches.to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    )
    if workers:
        stream = stream.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    return iter(stream)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ToUnit:
    """A stored slice to what the network sees; can be pickled for workers."""

    augmentation: Augmentation
    modality: str
    channels: tuple[int, ...] = (0,)
    knots: tuple[tuple[float, float], ...] = ()

    def __call__(self, record: dict, rng: np.random.Generator) -> np.ndarray:
        image = record["image"]
        placement = self.augmentation.draw(rng, image.shape[0])
        image = place(
            image[..., self.channels], placement, fill=background(self.modality)
        )
        if self.modality == "CT":
            return intensity.hu_to_unit(image, self.knots)
        return intensity.mr_to_unit(image)


def _name_pair(pair: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
    return {"mr": pair[0], "ct": pair[1]}


def check_request(prepared: Prepared, data_config) -> None:
    """Whether a prepared data set can be trained on as a configuration asks.

    Raises:
        ValueError: names the field, what it asks for and what the data are.
    """
    check_compatible(prepared, data_config)
    for domain in ("mr", "ct"):
        if domain not in prepared.domains or not prepared.domains[domain].of_split(
            "train"
        ):
            raise ValueError(f"the data have no {domain} subjects for training")
    if not 0 <= data_config.crop <= prepared.size:
        raise ValueError(
            f"data.crop is {data_config.crop}, expected 0 to {prepared.size}, the "
            "size of the slices"
        )


def _check_pairs(prepared: Prepared, data_dir: str | Path) -> None:
    """Raises ValueError where training MR and CT are not the same slices of people."""
    mr, ct = (
        {s.name: s for s in prepared.domains[domain].of_split("train")}
        for domain in ("mr", "ct")
    )
    if alone := mr.keys() ^ ct.keys():
        raise ValueError(
            f"{data_dir}: method=supervised needs MR and CT of the same training "
            f"subjects, {min(alone)} has one of them only"
        )
    for name in mr:
        if (mr[name].slices, mr[name].affine) != (ct[name].slices, ct[name].affine):
            raise ValueError(
                f"{data_dir}: method=supervised needs MR and CT on one grid, those of "
                f"{name} have {mr[name].slices} and {ct[name].slices} slices, or "
                "another position, spacing or orientation"
            )


def check_compatible(prepared: Prepared, data_config) -> None:
    """Whether prepared slices mean what a configuration (or a trained network) takes.

    Raises:
        ValueError: names the field, what it asks for and what the data are.
    """
    intensity.check_knots(data_config.ct_knots)
    for field in ("size", "spacing_mm", "mask_outside_body", "mr_percentile"):
        asked, found = getattr(data_config, field), getattr(prepared, field)
        if asked != found:
            raise ValueError(
                f"data.{field} is {asked}, but the data were prepared with {found}; "
                f"prepare them again or set --config.data.{field}={found}"
            )
    asked = tuple(data_config.mr_channels)
    found = prepared.domains["mr"].channels
    if not asked:
        raise ValueError("data.mr_channels is empty, expected one or more channels")
    for name in asked:
        if name not in found:
            raise ValueError(
                f"data.mr_channels asks for {name!r}, but the data have only "
                f"{', '.join(found)}"
            )
    if "out_of_phase" in asked and "in_phase" in set(found) - set(asked):
        raise ValueError(
            "data.mr_channels asks for out_of_phase without in_phase, but the data "
            "hold it on the scale of in_phase, which such a network would not have at "
            f"translation; prepare data with data.mr_channels={asked}"
        )


def read_subjects(
    data_dir: str | Path, domain: str, split: str
) -> Iterator[tuple[str, np.ndarray]]:
    """Whole volumes, one at a time, in the order of prepared.json.

    Yields:
        The subject's name, and (slices, size, size, channels) int16 as stored, from
        inferior to superior.

    Raises:
        FileNotFoundError, ValueError: there is no such domain or split, or the shards
            are not what prepared.json says.
    """
    prepared = load_prepared(data_dir)
    if domain not in prepared.domains:
        raise ValueError(
            f"{data_dir} has no domain {domain!r}, only {', '.join(prepared.domains)}"
        )
    subjects = prepared.domains[domain].of_split(split)
    if not subjects:
        raise ValueError(f"{data_dir}: {domain} has no subjects for {split}")
    source = open_domain(data_dir, domain, split)
    total = sum(subject.slices for subject in subjects)
    if len(source) != total:
        raise ValueError(
            f"{data_dir}: {domain} {split} has {len(source)} slices, but prepared.json "
            f"lists {total}"
        )
    start = 0
    for subject in subjects:
        records = [source[start + index] for index in range(subject.slices)]
        found = [(str(r["subject"], "utf-8"), int(r["index"])) for r in records]
        if found != [(subject.name, index) for index in range(subject.slices)]:
            raise ValueError(
                f"{data_dir}: slices {start} to {start + subject.slices} of {domain} "
                f"{split} are not those of {subject.name}, as prepared.json says"
            )
        yield subject.name, np.stack([record["image"] for record in records])
        start += subject.slices

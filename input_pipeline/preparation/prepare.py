"""Raw scans, or phantoms, to a data set that can be streamed: int16 slices in shards.

    DATA/prepared.json              what it is: subjects, splits, geometry, statistics
    DATA/slices/DOMAIN/1.0.0/       TFDS data sets in ArrayRecord shards: mr, ct, labels
    DATA/mr.png, DATA/ct.png        contact sheets to look at

It appears whole or not at all.
"""

import collections
import functools
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from input_pipeline.dataset import manifest, storage
from input_pipeline.dataset.manifest import SPLITS, Domain, Prepared, Subject
from input_pipeline.files import new_folder
from input_pipeline.preparation import jobs, local, shards, split, statistics
from input_pipeline.preparation.contact_sheet import write_contact_sheet
from input_pipeline.preparation.outcome import Request, Written
from input_pipeline.scans import layout
from input_pipeline.volume import MODALITY, MR_CHANNELS, UnusableScan

SOURCES = ("chaos", "folder", "chaos_noncontrast", "phantom")


def prepare(
    config,
    raw_dir: str | Path | None,
    data_dir: str | Path,
    *,
    workers: int | None = None,
    write: Callable[..., Written] | None = None,
) -> Prepared:
    """Prepares a data set.

    Args:
        config: the whole configuration; `data`, `seed` and for phantoms `phantom` and
            `method` are read.
        raw_dir: the scans, laid out as `layout` says; not used for phantoms.
        data_dir: must not exist, or be empty.
        workers: processes; None for one a core. The result does not depend on it.
        write: does the work instead of them; called as `processes.write`, and writes
            the same.

    Raises:
        FileExistsError: `data_dir` holds something.
        FileNotFoundError: `raw_dir`, or its folder of a domain, is not there.
        OSError: a shard could not be written. Nothing is left behind then.
        UnusableScan: one or more subjects cannot be used; lists all of them with the
            reasons. Nothing is written then.
        ValueError: a field of the configuration has no meaning; names it.
    """
    write = write or functools.partial(local.write, workers=workers)
    target = _target(config.data)
    data_dir = Path(os.path.abspath(data_dir))
    _check_free(data_dir)
    warnings: list[str] = []
    request = Request(jobs=tuple(_jobs(config, raw_dir, warnings)), target=target)
    with new_folder(data_dir) as folder:
        scratch = folder / "volumes"
        scratch.mkdir()
        written = write(request, folder, scratch=scratch)
        _refuse(written.refused, request)
        domains = _describe(written, target, folder)
        Prepared(
            source=config.data.source,
            size=target.size,
            spacing_mm=target.spacing_mm,
            mask_outside_body=target.mask_outside_body,
            mr_percentile=target.mr_percentile,
            seed=int(config.seed),
            domains=domains,
            label_names=_label_names() if "labels" in domains else (),
            warnings=tuple(warnings),
        ).save(folder)
        shutil.rmtree(scratch)
    for warning in warnings:
        logging.warning("%s", warning)
    for name, domain in domains.items():
        counts = collections.Counter(s.split for s in domain.subjects)
        logging.info(
            "%s: %s subjects, %d slices",
            name,
            ", ".join(f"{counts[split]} {split}" for split in SPLITS),
            sum(s.slices for s in domain.subjects),
        )
    return manifest.load_prepared(data_dir)


# --- what is asked --------------------------------------------------------------------


def _target(data) -> jobs.Target:
    if data.source not in SOURCES:
        raise ValueError(
            f"data.source is {data.source!r}, expected one of {', '.join(SOURCES)}"
        )
    channels = tuple(data.mr_channels)
    known = MR_CHANNELS
    if not channels or set(channels) - set(known) or len(set(channels)) < len(channels):
        raise ValueError(
            f"data.mr_channels is {channels}, expected one or more of "
            f"{', '.join(known)}, each once"
        )
    if data.size < 1 or data.spacing_mm <= 0:
        raise ValueError(
            f"data.size is {data.size} and data.spacing_mm {data.spacing_mm}, "
            "expected both above 0"
        )
    if not 0 < data.mr_percentile <= 100:
        raise ValueError(
            f"data.mr_percentile is {data.mr_percentile}, expected above 0, up to 100"
        )
    return jobs.Target(
        size=int(data.size),
        spacing_mm=float(data.spacing_mm),
        mr_channels=channels,
        mask_outside_body=bool(data.mask_outside_body),
        mr_percentile=float(data.mr_percentile),
    )


def _jobs(
    config, raw_dir: str | Path | None, warnings: list[str]
) -> Sequence[jobs.Scan | jobs.Phantom]:
    data = config.data
    if data.source == "phantom":
        return split.phantom_jobs(
            config.phantom, config.seed, paired=config.method == "supervised"
        )
    if raw_dir is None:
        raise ValueError(f"data.source={data.source} needs the folder of its scans")
    # Absolute: those who read it may run elsewhere.
    found = layout.find_scans(Path(os.path.abspath(raw_dir)), data.source)
    return split.split_scans(found, data.split, seed=config.seed, warnings=warnings)


def _check_free(data_dir: Path) -> None:
    if not data_dir.exists():
        return
    found = sorted(os.listdir(data_dir)) if data_dir.is_dir() else ["a file"]
    if not found:
        return
    what = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
    if manifest.FILE in found:
        try:
            old = manifest.load_prepared(data_dir)
            what = f"a data set from {old.source}, {old.size} x {old.size} slices"
        except ValueError:
            pass
    raise FileExistsError(
        f"{data_dir} is not empty: {what}. Existing data are never overwritten: remove "
        "them, or name another --data_dir"
    )


def _label_names() -> tuple[str, ...]:
    from input_pipeline.phantom import TISSUES

    return tuple(TISSUES)


# --- what is said of it ---------------------------------------------------------------


def _refuse(refused: dict[int, str], request: Request) -> None:
    if not refused:
        return
    listing = "".join(
        f"\n  {request.jobs[place].name}: {reason}"
        for place, reason in sorted(refused.items())
    )
    raise UnusableScan(
        f"{len(refused)} of {len(request.jobs)} scans cannot be used, so nothing was "
        f"written:{listing}"
    )


def _describe(written: Written, target: jobs.Target, folder: Path) -> dict[str, Domain]:
    """TFDS's files and contact sheets, and the domains' entries of prepared.json."""
    shards_of = collections.defaultdict(list)
    for shard in shards.assign_shards(written.volumes, target):
        shards_of[shard.domain, shard.split].append(shard)
    domains = {}
    for name in sorted({domain for domain, _ in shards_of}):
        channels = shards.channels_of(name, target)
        slices = {
            split: [shard.slices for shard in shards_of[name, split]]
            for split in SPLITS
            if (name, split) in shards_of
        }
        storage.write_metadata(
            folder,
            name,
            shape=(target.size, target.size, len(channels)),
            splits={
                split: storage.StoredSplit(
                    slices=slices[split],
                    record_bytes=written.record_bytes[name, split],
                )
                for split in slices
            },
        )
        members = [volume for volume in written.volumes if volume.domain == name]
        members.sort(key=lambda volume: SPLITS.index(volume.split))
        domains[name] = Domain(
            channels=channels,
            subjects=tuple(_subject(volume) for volume in members),
            statistics={
                split: statistics.summarise(
                    written.counts[name, split],
                    slices=sum(slices[split]),
                    pixels=sum(slices[split]) * target.size**2,
                    modality=MODALITY[name],
                )
                for split in slices
                if name in MODALITY
            },
        )
        if name in MODALITY:
            write_contact_sheet(
                folder / f"{name}.png",
                _Pictures(members),
                modality=MODALITY[name],
                channels=channels,
            )
    return domains


class _Pictures(Sequence):
    """Captions and slices of volumes, opened when they are asked for.

    A contact sheet shows a few of them, and each that is open is an open file.
    """

    def __init__(self, volumes: Sequence[jobs.StoredVolume]):
        self._volumes = volumes

    def __len__(self) -> int:
        return len(self._volumes)

    def __getitem__(self, place: int) -> tuple[str, np.ndarray]:
        volume = self._volumes[place]
        return f"{volume.name}\n{volume.split}", np.load(volume.path, mmap_mode="r")


def _subject(volume: jobs.StoredVolume) -> Subject:
    return Subject(
        name=volume.name,
        split=volume.split,
        slices=volume.slices,
        affine=tuple(tuple(float(x) for x in row) for row in volume.affine),
        scale=volume.scale,
        source=volume.source,
    )

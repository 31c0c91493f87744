"""Raw scans, or phantoms, to a data set that can be streamed: int16 slices in shards.

    DATA/prepared.json              the manifest: subjects, splits, geometry, statistics
    DATA/slices/DOMAIN/1.0.0/       TFDS data sets in ArrayRecord shards: mr, ct, labels
    DATA/mr.png, DATA/ct.png        contact sheets to look at
    DATA/subjects.csv               the folder of each subject, of your own folders

It appears whole or not at all.
"""

import collections
import csv
import functools
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from input_pipeline.dataset import manifest, storage
from input_pipeline.dataset.manifest import SPLITS, Domain, Manifest, Subject
from input_pipeline.files import new_folder
from input_pipeline.phantom import TISSUES
from input_pipeline.preparation import local, shards, split, statistics
from input_pipeline.preparation.contact_sheet import write_contact_sheet
from input_pipeline.preparation.jobs import Job, SliceFormat, StoredVolume
from input_pipeline.preparation.outcome import PrepareOutcome
from input_pipeline.preparation.ranges import DATA_RANGES
from input_pipeline.ranges import check_values
from input_pipeline.scans import layout
from input_pipeline.volume import MODALITY, UnusableScan

FOLDERS = "subjects.csv"


def prepare(
    config,
    raw_dir: str | Path | None,
    data_dir: str | Path,
    *,
    jobs: Sequence[Job] | None = None,
    workers: int | None = None,
    write: Callable[..., PrepareOutcome] | None = None,
) -> Manifest:
    """Prepare a data set.

    Args:
        config: `data`, `seed` and for phantoms `phantom` and `method` are read.
        raw_dir: the scans, laid out as `layout` says; not used for phantoms.
        data_dir: must not exist, or be empty.
        jobs: subjects to prepare instead of those of `config.data.source`.
        workers: processes; None for one a core. The result does not depend on it.
        write: does the work instead of `local.write`.

    Raises:
        FileExistsError: `data_dir` holds something.
        FileNotFoundError: `raw_dir`, or its folder of a domain, is not there.
        OSError: a shard could not be written. Nothing is left behind then.
        UnusableScan: one or more subjects cannot be used; lists all of them with the
            reasons. Nothing is written then.
        ValueError: a field of the configuration has no meaning; names it.
    """
    check_values(config, DATA_RANGES)
    write = write or functools.partial(local.write, workers=workers)
    slice_format = _slice_format(config.data)
    warnings: list[str] = []
    scans: list[layout.ScanPath] = []
    if jobs is None:
        scans = _find_scans(config.data, raw_dir)
        jobs = _jobs(config, scans, warnings)
    with new_folder(data_dir) as folder:
        scratch = folder / "volumes"
        scratch.mkdir()
        outcome = write(jobs, slice_format, folder, scratch=scratch)
        _check_usable(outcome, jobs)
        domains = _describe(outcome, slice_format, folder)
        Manifest(
            source=config.data.source,
            size=slice_format.size,
            spacing_mm=slice_format.spacing_mm,
            mask_outside_body=slice_format.mask_outside_body,
            mr_percentile=slice_format.mr_percentile,
            seed=int(config.seed),
            domains=domains,
            label_names=TISSUES if "labels" in domains else (),
            warnings=tuple(warnings),
            fingerprints=storage.fingerprints(folder),
        ).save(folder)
        shutil.rmtree(scratch)
        _write_folders(folder / FOLDERS, scans)
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
    return manifest.read_manifest(data_dir)


# --- the request ----------------------------------------------------------------------


def _slice_format(data) -> SliceFormat:
    return SliceFormat(
        size=int(data.size),
        spacing_mm=float(data.spacing_mm),
        mr_channels=tuple(data.mr_channels),
        mask_outside_body=bool(data.mask_outside_body),
        mr_percentile=float(data.mr_percentile),
    )


def _find_scans(data, raw_dir: str | Path | None) -> list[layout.ScanPath]:
    if data.source == "phantom":
        if raw_dir is not None:
            raise ValueError(
                f"--raw_dir={raw_dir}: data.source=phantom draws people, and reads no "
                "scans; --config=folder prepares them"
            )
        return []
    if raw_dir is None:
        raise ValueError(
            f"--raw_dir is missing: data.source={data.source} needs the folder of its "
            "scans"
        )
    # Absolute: those who read it may run elsewhere.
    return layout.find_scans(Path(os.path.abspath(raw_dir)), data.source)


def _jobs(
    config, scans: Sequence[layout.ScanPath], warnings: list[str]
) -> Sequence[Job]:
    if config.data.source == "phantom":
        return split.phantom_jobs(
            config.phantom, config.seed, paired=config.method == "supervised"
        )
    return split.split_scans(
        scans, config.data.split, seed=config.seed, warnings=warnings
    )


# --- the result -----------------------------------------------------------------------


def _check_usable(outcome: PrepareOutcome, jobs: Sequence[Job]) -> None:
    if not (refused := outcome.refused):
        return
    listing = "".join(
        f"\n  {jobs[place].name}: {reason}" for place, reason in refused.items()
    )
    raise UnusableScan(
        f"{len(refused)} of {len(jobs)} scans cannot be used, so nothing was "
        f"written:{listing}"
    )


def _describe(
    outcome: PrepareOutcome, slice_format: SliceFormat, folder: Path
) -> dict[str, Domain]:
    """Write TFDS's metadata and contact sheets; return the manifest's domains."""
    plan = shards.assign_shards(outcome.volumes, slice_format)
    domains = {}
    for name in sorted({shard.domain for shard in plan}):
        channels, modality = slice_format.channels(name), MODALITY.get(name)
        by_split = {split: [] for split in SPLITS}
        for shard in plan:
            if shard.domain == name:
                by_split[shard.split].append(shard)
        by_split = {split: members for split, members in by_split.items() if members}
        storage.write_metadata(
            folder,
            name,
            shape=(slice_format.size, slice_format.size, len(channels)),
            shard_slices={
                split: [shard.slices for shard in members]
                for split, members in by_split.items()
            },
            record_bytes={
                split: sum(outcome.record_bytes[shard.key] for shard in members)
                for split, members in by_split.items()
            },
        )
        volumes = [volume for volume in outcome.volumes if volume.domain == name]
        volumes.sort(key=lambda volume: SPLITS.index(volume.split))
        summaries = {}
        if modality:
            for split in by_split:
                members = [volume for volume in volumes if volume.split == split]
                slices = sum(volume.slices for volume in members)
                summaries[split] = statistics.summarise(
                    (np.load(volume.counts_path) for volume in members),
                    slices=slices,
                    pixels=slices * slice_format.size**2,
                )
            write_contact_sheet(
                folder / f"{name}.png", volumes, modality=modality, channels=channels
            )
        subjects = tuple(_subject(volume) for volume in volumes)
        domains[name] = Domain(
            channels=channels, subjects=subjects, statistics=summaries
        )
    return domains


def _write_folders(path: Path, scans: Sequence[layout.ScanPath]) -> None:
    """Write which folder each numbered subject was read from, if any is numbered."""
    folders = sorted({(scan.name, scan.folder) for scan in scans if scan.folder})
    if folders:
        # A name that is not UTF-8 keeps its bytes.
        with path.open("w", newline="", errors="surrogateescape") as stream:
            csv.writer(stream).writerows([("subject", "folder"), *folders])


def _subject(volume: StoredVolume) -> Subject:
    return Subject(
        name=volume.name,
        split=volume.split,
        slices=volume.slices,
        affine=tuple(map(tuple, volume.affine.tolist())),
        scale=volume.scale,
    )

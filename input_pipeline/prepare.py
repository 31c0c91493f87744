"""Raw scans, or phantoms, to a data set that can be streamed: int16 slices in shards.

    DATA/prepared.json              what it is: subjects, splits, geometry, statistics
    DATA/slices/DOMAIN/1.0.0/       TFDS data sets in ArrayRecord shards: mr, ct, labels
    DATA/mr.png, DATA/ct.png        contact sheets to look at

It appears whole or not at all.
"""

import collections
import concurrent.futures
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from input_pipeline import builder, layout, prepared, split, statistics, subject
from input_pipeline.contact_sheet import write_contact_sheet
from input_pipeline.prepared import SPLITS, Domain, Prepared, Subject
from input_pipeline.volume import UnusableScan

SOURCES = ("chaos", "folder", "chaos_noncontrast", "phantom")


def prepare(
    config,
    raw_dir: str | Path | None,
    data_dir: str | Path,
    *,
    workers: int | None = None,
) -> Prepared:
    """Prepares a data set.

    Args:
        config: the whole configuration; `data`, `seed` and for phantoms `phantom` and
            `method` are read.
        raw_dir: the scans, laid out as `layout` says; not used for phantoms.
        data_dir: must not exist, or be empty.
        workers: processes; None for one a core. The result does not depend on it.

    Raises:
        FileExistsError: `data_dir` holds something.
        FileNotFoundError: `raw_dir`, or its folder of a domain, is not there.
        UnusableScan: one or more subjects cannot be used; lists all of them with the
            reasons. Nothing is written then.
        ValueError: a field of the configuration has no meaning; names it.
    """
    data = config.data
    target = _target(data)
    data_dir = Path(os.path.abspath(data_dir))
    _check_free(data_dir)
    warnings: list[str] = []
    if data.source == "phantom":
        jobs = split.phantom_jobs(
            config.phantom, config.seed, paired=config.method == "supervised"
        )
    else:
        if raw_dir is None:
            raise ValueError(f"data.source={data.source} needs the folder of its scans")
        found = layout.find_scans(Path(raw_dir), data.source)
        jobs = split.split_scans(found, data.split, seed=config.seed, warnings=warnings)

    data_dir.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(
        tempfile.mkdtemp(prefix=f"{data_dir.name}.partial-", dir=data_dir.parent)
    )
    try:
        volumes_dir = partial / "volumes"
        volumes_dir.mkdir()
        volumes = _write_subjects(jobs, target, volumes_dir, workers=workers)
        summary = Prepared(
            source=data.source,
            size=target.size,
            spacing_mm=target.spacing_mm,
            mask_outside_body=target.mask_outside_body,
            mr_percentile=target.mr_percentile,
            seed=int(config.seed),
            domains=_write_domains(volumes, target, partial, scratch=volumes_dir),
            label_names=_label_names() if "labels" in volumes else (),
            warnings=tuple(warnings),
        )
        summary.save(partial)
        shutil.rmtree(volumes_dir)
        partial.chmod(0o777 & ~_umask())  # mkdtemp's is private
        try:
            partial.rename(data_dir)
        except OSError:
            _check_free(data_dir)
            raise
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    for warning in warnings:
        logging.warning("%s", warning)
    for name, domain in summary.domains.items():
        counts = collections.Counter(s.split for s in domain.subjects)
        logging.info(
            "%s: %s subjects, %d slices",
            name,
            ", ".join(f"{counts[split]} {split}" for split in SPLITS),
            sum(s.slices for s in domain.subjects),
        )
    return prepared.load_prepared(data_dir)


# --- what is asked --------------------------------------------------------------------


def _target(data) -> subject.Target:
    if data.source not in SOURCES:
        raise ValueError(
            f"data.source is {data.source!r}, expected one of {', '.join(SOURCES)}"
        )
    channels = tuple(data.mr_channels)
    known = subject.PHANTOM_CHANNELS
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
    return subject.Target(
        size=int(data.size),
        spacing_mm=float(data.spacing_mm),
        mr_channels=channels,
        mask_outside_body=bool(data.mask_outside_body),
        mr_percentile=float(data.mr_percentile),
    )


def _check_free(data_dir: Path) -> None:
    if not data_dir.exists():
        return
    found = sorted(os.listdir(data_dir)) if data_dir.is_dir() else ["a file"]
    if not found:
        return
    what = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
    if prepared.FILE in found:
        try:
            old = prepared.load_prepared(data_dir)
            what = f"a data set from {old.source}, {old.size} x {old.size} slices"
        except ValueError:
            pass
    raise FileExistsError(
        f"{data_dir} is not empty: {what}. Existing data are never overwritten: remove "
        "them, or name another --data_dir"
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _label_names() -> tuple[str, ...]:
    from input_pipeline.phantom import TISSUES

    return tuple(TISSUES)


# --- writing --------------------------------------------------------------------------


def _write_subjects(
    jobs: Sequence[subject.Scan | subject.Phantom],
    target: subject.Target,
    folder: Path,
    *,
    workers: int | None,
) -> dict[str, list[subject.StoredVolume]]:
    """All subjects' slices as .npy files, by domain, in the order of `jobs`."""
    volumes: dict[str, list[subject.StoredVolume]] = {}
    refusals = []
    for done, (job, result) in enumerate(_run(jobs, target, folder, workers), start=1):
        if isinstance(result, str):
            refusals.append(f"{job.name}: {result}")
            continue
        for volume in result:
            volumes.setdefault(volume.domain, []).append(volume)
        logging.info("%d of %d: %s", done, len(jobs), job.name)
    if refusals:
        listing = "".join(f"\n  {refusal}" for refusal in refusals)
        raise UnusableScan(
            f"{len(refusals)} of {len(jobs)} scans cannot be used, so nothing was "
            f"written:{listing}"
        )
    return volumes


def _cores() -> int:
    """Those this process may use, where the system says so; all of them elsewhere."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _run(jobs, target, folder, workers) -> Iterator[tuple]:
    workers = min(workers or _cores(), len(jobs))
    if workers <= 1:
        for job in jobs:
            yield job, subject.write_subject(job, target, folder)
        return
    # Spawned, not forked: jax's threads may be running in this process.
    with concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        try:
            yield from zip(
                jobs,
                pool.map(
                    subject.write_subject,
                    jobs,
                    [target] * len(jobs),
                    [folder] * len(jobs),
                ),
                strict=True,
            )
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_domains(
    volumes: dict[str, list[subject.StoredVolume]],
    target: subject.Target,
    folder: Path,
    *,
    scratch: Path,
) -> dict[str, Domain]:
    channels = {"mr": target.mr_channels, "ct": ("hu",), "labels": ("label",)}
    domains = {}
    for name, members in sorted(volumes.items()):
        by_split = {s: [v for v in members if v.split == s] for s in SPLITS}
        builder.write_domain(
            folder,
            builder.DomainConfig(
                name=name,
                size=target.size,
                channels=len(channels[name]),
                volumes={
                    split: [(v.name, v.path) for v in chosen]
                    for split, chosen in by_split.items()
                },
            ),
            scratch=scratch,
        )
        ordered = [v for split in SPLITS for v in by_split[split]]
        domains[name] = Domain(
            channels=channels[name],
            subjects=tuple(
                Subject(
                    name=v.name,
                    split=v.split,
                    slices=v.slices,
                    affine=tuple(tuple(float(x) for x in row) for row in v.affine),
                    scale=v.scale,
                    source=v.source,
                )
                for v in ordered
            ),
            statistics={
                split: _summarise(chosen, target)
                for split, chosen in by_split.items()
                if chosen and name in subject.MODALITY
            },
        )
        if name in subject.MODALITY:
            write_contact_sheet(
                folder / f"{name}.png",
                [(f"{v.name}\n{v.split}", np.load(v.path, "r")) for v in ordered],
                modality=subject.MODALITY[name],
                channels=channels[name],
            )
    return domains


def _summarise(volumes: Sequence[subject.StoredVolume], target: subject.Target) -> dict:
    slices = sum(volume.slices for volume in volumes)
    return statistics.summarise(
        sum(volume.counts for volume in volumes),
        slices=slices,
        pixels=slices * target.size**2,
        modality=subject.MODALITY[volumes[0].domain],
    )

"""One subject of a data set to be prepared: read or drawn, brought to slices, written.

Runs in worker processes, so it imports little and everything it takes can be pickled.
"""

import dataclasses
from pathlib import Path

import numpy as np

from input_pipeline.body import body_mask
from input_pipeline.preparation.statistics import count_values
from input_pipeline.resample import grid_around, resample_to_grid
from input_pipeline.slices import grid_affine, grid_of_body, to_slices
from input_pipeline.volume import MODALITY, MR_CHANNELS, UnusableScan, Volume, to_axial


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """What all slices of a data set have in common."""

    size: int
    spacing_mm: float
    mr_channels: tuple[str, ...]
    mask_outside_body: bool
    mr_percentile: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scan:
    """A scan that somebody made, in a folder or file that `read_scan` understands."""

    name: str
    split: str
    domain: str
    path: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phantom:
    """A subject to be drawn, and the domains that see it."""

    name: str
    split: str
    domains: tuple[str, ...]
    seed: int
    slices: int
    slice_mm: float
    contrast: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredVolume:
    """Slices of one domain of one subject, in a file.

    Attributes:
        path: .npy, (slices, size, size, channels) int16.
        counts: of `count_values`, inside the body; None for labels.
    """

    domain: str
    name: str
    split: str
    source: str
    path: Path
    slices: int
    affine: np.ndarray
    scale: tuple[float, ...] = ()
    counts: np.ndarray | None = None


def write_subject(
    job: Scan | Phantom, target: Target, folder: Path
) -> list[StoredVolume] | str:
    """The volumes of a subject, or the reason why it cannot be used."""
    try:
        if isinstance(job, Phantom):
            return _write_phantom(job, target, folder)
        return [_write_scan(job, target, folder)]
    except (UnusableScan, OSError) as error:
        return str(error)


def _write_scan(scan: Scan, target: Target, folder: Path) -> StoredVolume:
    from input_pipeline.scans.read_scan import (
        read_scan,  # phantoms do without DICOM and NIfTI
    )

    modality = MODALITY[scan.domain]
    channels = target.mr_channels if modality == "MR" else ("hu",)
    volume = to_axial(read_scan(scan.path, modality=modality, channels=channels))
    mask = body_mask(volume.voxels, modality, volume.spacing_mm)
    grid = grid_of_body(volume, mask, size=target.size, spacing_mm=target.spacing_mm)
    # Slices above and below the body hold nothing; in between, all stay.
    filled = np.flatnonzero(mask.any(axis=(1, 2)))
    first, last = filled[0], filled[-1]
    volume = dataclasses.replace(volume, voxels=volume.voxels[first : last + 1])
    return _store(
        volume,
        grid,
        mask=mask[first : last + 1],
        affine=grid_affine(volume, grid, first_slice=first),
        job=scan,
        domain=scan.domain,
        target=target,
        folder=folder,
    )


def _write_phantom(
    phantom: Phantom, target: Target, folder: Path
) -> list[StoredVolume]:
    from input_pipeline.phantom import draw_subject

    subject = draw_subject(
        phantom.seed,
        size=target.size,
        spacing_mm=target.spacing_mm,
        slices=phantom.slices,
        slice_mm=phantom.slice_mm,
        contrast=phantom.contrast,
    )
    source = f"phantom, seed {phantom.seed}, {phantom.contrast}"
    wanted = [MR_CHANNELS.index(name) for name in target.mr_channels]
    images = {
        "mr": (subject.mr[..., wanted], target.mr_channels),
        "ct": (subject.ct_hu[..., None], ("hu",)),
    }
    stored = []
    for domain in phantom.domains:
        if domain == "labels":
            path = folder / f"labels-{phantom.name}.npy"
            np.save(path, subject.labels[..., None].astype(np.int16))
            stored.append(
                StoredVolume(
                    domain=domain,
                    name=phantom.name,
                    split=phantom.split,
                    source=source,
                    path=path,
                    slices=len(subject.labels),
                    affine=subject.affine,
                )
            )
            continue
        voxels, channels = images[domain]
        volume = Volume(
            voxels=voxels,
            affine=subject.affine,
            modality=MODALITY[domain],
            channels=tuple(channels),
            source=f"{phantom.name} ({source})",
        )
        # Drawn on the very pixels that are stored: labels must not be interpolated.
        grid = grid_around(
            volume, target.spacing_mm, rows=target.size, columns=target.size
        )
        stored.append(
            _store(
                volume,
                grid,
                mask=body_mask(voxels, volume.modality, volume.spacing_mm),
                affine=subject.affine,
                job=phantom,
                domain=domain,
                target=target,
                folder=folder,
            )
        )
    return stored


def _store(
    volume: Volume, grid, *, mask, affine, job, domain, target, folder
) -> StoredVolume:
    stored, scale = to_slices(
        volume,
        grid,
        mask=mask,
        mask_outside=target.mask_outside_body,
        mr_percentile=target.mr_percentile,
    )
    body = dataclasses.replace(
        volume, voxels=mask[..., None].astype(np.float32), channels=("body",)
    )
    on_grid = resample_to_grid(body, grid, fill=0)[..., 0] >= 0.5
    path = folder / f"{domain}-{job.name}.npy"
    np.save(path, stored)
    return StoredVolume(
        domain=domain,
        name=job.name,
        split=job.split,
        source=volume.source,
        path=path,
        slices=len(stored),
        affine=affine,
        scale=tuple(float(s) for s in scale) if volume.modality == "MR" else (),
        counts=count_values(stored, on_grid),
    )

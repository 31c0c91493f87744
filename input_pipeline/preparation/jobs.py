"""Jobs of a preparation: one subject each, read or drawn, stored as slices in files.

They run in worker processes, so this module imports little and all of it can be
pickled.
"""

import abc
import dataclasses
import errno
import io
from pathlib import Path

import numpy as np

from input_pipeline.body import body_mask
from input_pipeline.preparation.statistics import count_values
from input_pipeline.resample import Grid, grid_around, resample_to_grid
from input_pipeline.scans.alignment import SAME_GRID_MM, grids_apart_mm
from input_pipeline.slices import grid_affine, grid_of_body, to_slices
from input_pipeline.volume import MODALITY, MR_CHANNELS, UnusableScan, Volume, to_axial


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceFormat:
    """Fields of config.data that all slices of a data set have in common."""

    size: int
    spacing_mm: float
    mr_channels: tuple[str, ...]
    mask_outside_body: bool
    mr_percentile: float

    def channels(self, domain: str) -> tuple[str, ...]:
        """Return the channels of a domain, in stored order."""
        return {"mr": self.mr_channels, "ct": ("hu",), "labels": ("label",)}[domain]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredVolume:
    """Slices of one domain of one subject, in a file.

    Attributes:
        path: .npy, (slices, size, size, channels) int16.
        counts_path: .npy of `count_values` in the body; None for labels.
        affine: (4, 4), (column, row, slice, 1) of the slices to RAS mm.
        scale: divisor of each MR channel; empty otherwise.
    """

    domain: str
    name: str
    split: str
    path: Path
    counts_path: Path | None
    slices: int
    affine: np.ndarray
    scale: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job(abc.ABC):
    """Preparation of a subject, of whatever origin.

    Attributes:
        name: name of the subject.
        split: one of SPLITS.
    """

    name: str
    split: str

    @abc.abstractmethod
    def store(self, slice_format: SliceFormat, folder: Path) -> list[StoredVolume]:
        """Write the subject's volumes, of one or more domains, to files in a folder.

        Raises:
            UnusableScan, OSError: the subject cannot be used.
        """


def store_subject(
    job: Job, slice_format: SliceFormat, folder: Path
) -> list[StoredVolume] | str:
    """Return the stored volumes of a job, or the reason why it cannot be used.

    Raises:
        OSError: there is no space left to write to, whatever the subject.
    """
    try:
        return job.store(slice_format, folder)
    except (UnusableScan, OSError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise
        return str(error)


def store_volume(
    images: np.ndarray,
    folder: Path,
    *,
    job: Job,
    domain: str,
    affine: np.ndarray,
    scale: tuple[float, ...] = (),
    in_body: np.ndarray | None = None,
) -> StoredVolume:
    """Save (slices, size, size, channels) int16, and counts of the values in the body.

    Args:
        in_body: (slices, size, size) bool; None: no counts.
    """
    path = folder / f"{domain}-{job.name}.npy"
    _save(path, images)
    counts_path = None
    if in_body is not None:
        counts_path = folder / f"{domain}-{job.name}-counts.npy"
        _save(counts_path, count_values(images, in_body))
    return StoredVolume(
        domain=domain,
        name=job.name,
        split=job.split,
        path=path,
        counts_path=counts_path,
        slices=len(images),
        affine=affine,
        scale=scale,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScanJob(Job):
    """A scan of a patient, in a folder or file that `read_scan` understands.

    Attributes:
        mr_path: of a CT, the MR of the same person, if there is one. Where both are on
            one grid, their slices are, too.
    """

    domain: str
    path: str
    mr_path: str | None = None

    def store(self, slice_format: SliceFormat, folder: Path) -> list[StoredVolume]:
        """Read the scan, cut it into slices and store them."""
        volume = _read(self.path, self.domain, slice_format)
        mask = _mask(volume)
        grid, first, last = _grid_and_slices(volume, mask, slice_format)
        if self.mr_path:
            mr = _read(self.mr_path, "mr", slice_format)
            if grids_apart_mm(volume.grid, mr.grid) <= SAME_GRID_MM:
                grid, first, last = _grid_and_slices(mr, _mask(mr), slice_format)
                volume = dataclasses.replace(volume, affine=mr.affine)
        affine = grid_affine(volume, grid, first_slice=first)
        volume = dataclasses.replace(volume, voxels=volume.voxels[first : last + 1])
        return [
            _store_image(
                volume,
                grid,
                mask[first : last + 1],
                slice_format,
                folder,
                job=self,
                domain=self.domain,
                affine=affine,
            )
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhantomJob(Job):
    """Preparation of a phantom subject.

    Attributes:
        domains: of 'mr', 'ct' and 'labels', those to store.
        seed, slices, slice_mm, contrast, scanner, anatomy, lesions, level_mm: as for
            `draw_subject`.
    """

    domains: tuple[str, ...]
    seed: int
    slices: int
    slice_mm: float
    contrast: str
    scanner: str
    anatomy: str
    lesions: bool = False
    level_mm: float = 0.0

    def store(self, slice_format: SliceFormat, folder: Path) -> list[StoredVolume]:
        """Draw the subject and store its slices in each of its domains."""
        from input_pipeline.phantom import draw_subject

        subject = draw_subject(
            self.seed,
            size=slice_format.size,
            spacing_mm=slice_format.spacing_mm,
            slices=self.slices,
            slice_mm=self.slice_mm,
            contrast=self.contrast,
            scanner=self.scanner,
            anatomy=self.anatomy,
            lesions=self.lesions,
            level_mm=self.level_mm,
        )
        channels = [MR_CHANNELS.index(name) for name in slice_format.mr_channels]
        images = {"mr": subject.mr[..., channels], "ct": subject.ct_hu[..., None]}
        stored = []
        for domain in self.domains:
            common = dict(job=self, domain=domain, affine=subject.affine)
            if domain == "labels":
                labels = subject.labels[..., None].astype(np.int16)
                stored.append(store_volume(labels, folder, **common))
                continue
            volume = Volume(
                voxels=images[domain],
                affine=subject.affine,
                modality=MODALITY[domain],
                channels=slice_format.channels(domain),
                source=f"{self.name} (phantom, seed {self.seed})",
            )
            # Drawn on the very pixels that are stored: labels must not be interpolated.
            size = slice_format.size
            grid = grid_around(volume, slice_format.spacing_mm, rows=size, columns=size)
            if domain == "ct" and self.anatomy == "varied":
                mask = subject.labels > 0  # with arms, which segmentation leaves out
            else:
                mask = body_mask(volume.voxels, volume.modality, volume.spacing_mm)
            stored.append(
                _store_image(volume, grid, mask, slice_format, folder, **common)
            )
        return stored


def _read(path: str, domain: str, slice_format: SliceFormat) -> Volume:
    """Return a scan in axial order."""
    # Phantoms do without DICOM and NIfTI.
    from input_pipeline.scans.read_scan import read_scan

    modality, channels = MODALITY[domain], slice_format.channels(domain)
    return to_axial(read_scan(path, modality=modality, channels=channels))


def _mask(volume: Volume) -> np.ndarray:
    """Return the mask of the body, (slices, rows, columns)."""
    return body_mask(volume.voxels, volume.modality, volume.spacing_mm)


def _grid_and_slices(
    volume: Volume, mask: np.ndarray, slice_format: SliceFormat
) -> tuple[Grid, int, int]:
    """Return the pixels around the body, and its first and last slice."""
    grid = grid_of_body(
        volume, mask, size=slice_format.size, spacing_mm=slice_format.spacing_mm
    )
    # Slices above and below the body hold nothing; in between, all stay.
    filled = np.flatnonzero(mask.any(axis=(1, 2)))
    return grid, filled[0], filled[-1]


def _store_image(
    volume: Volume,
    grid: Grid,
    mask: np.ndarray,
    slice_format: SliceFormat,
    folder: Path,
    **labels,
) -> StoredVolume:
    """Store an MR or CT volume whose body is `mask` as slices on `grid`."""
    images, scale = to_slices(
        volume,
        grid,
        mask=mask,
        mask_outside=slice_format.mask_outside_body,
        mr_percentile=slice_format.mr_percentile,
    )
    body = dataclasses.replace(
        volume, voxels=mask[..., None].astype(np.float32), channels=("body",)
    )
    return store_volume(
        images,
        folder,
        scale=tuple(float(s) for s in scale) if volume.modality == "MR" else (),
        in_body=resample_to_grid(body, grid, fill=0)[..., 0] >= 0.5,
        **labels,
    )


def _save(path: Path, array: np.ndarray) -> None:
    """Write a file that `np.load` reads."""
    # For a full disk, an error of NumPy itself would have no errno.
    content = io.BytesIO()
    np.save(content, array)
    path.write_bytes(content.getbuffer())

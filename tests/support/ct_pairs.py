"""Drawn real and synthetic CT that differ in all that a file may give away."""

from pathlib import Path

import numpy as np

from input_pipeline.scans.nifti import write_nifti
from input_pipeline.volume import Volume


def write_ct(path: Path, *, synthetic: bool, seed: int, finer: int = 1) -> None:
    """Write a CT of an ellipse with a spine, 160 mm x 120 mm, 80 mm high.

    The real one has pixels of 2 mm, slices of 3 mm, a table, noise and metal. The
    synthetic one has pixels and slices of 4 mm, neither table nor noise, and other air.
    Pixels of both may be so many times finer.
    """
    rng = np.random.default_rng(seed)
    mm, slice_mm = (4.0 / finer, 4.0) if synthetic else (2.0 / finer, 3.0)
    slices, size = round(80 / slice_mm), round(240 / mm)
    y, x = (np.mgrid[:size, :size] - (size - 1) / 2) * mm
    radius = np.hypot(x / rng.uniform(75, 85), y / rng.uniform(55, 65))
    hu = np.where(radius < 1, rng.uniform(40, 60), -1024.0 if synthetic else -1000.0)
    hu = np.where(np.hypot(x, y - 30) < 12, 400, hu)
    hu = np.repeat(hu[None], slices, axis=0)
    if not synthetic:
        hu[:, abs(y - 80) < 3] = 100
        hu[slices // 2, size // 2, size // 2] = 3000
        hu += rng.normal(0, 20, hu.shape)
    volume = Volume(
        voxels=hu[..., None].astype(np.float32),
        affine=np.diag([-mm, -mm, slice_mm, 1.0]),
        modality="CT",
        channels=("hu",),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, np.clip(hu, -1024, 3071).astype(np.int16), volume)


def write_pairs(folder: Path, count: int, *, finer: int = 1) -> tuple[str, str]:
    """Write so many CT of each kind, of different people; return their folders."""
    for kind, first_seed in (("real", 0), ("synthetic", 100)):
        for index in range(count):
            write_ct(
                folder / kind / f"{kind[0]}{index}.nii.gz",
                synthetic=kind == "synthetic",
                seed=first_seed + index,
                finer=finer,
            )
    return str(folder / "real"), str(folder / "synthetic")

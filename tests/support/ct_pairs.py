"""Drawn real and synthetic CT that differ in all that a file may give away."""

from pathlib import Path

import numpy as np

from input_pipeline.scans.nifti import write_nifti
from input_pipeline.volume import Volume


def write_ct(path: Path, *, synthetic: bool, seed: int) -> None:
    """Write a CT of an ellipse with a spine, 160 mm x 120 mm, 80 mm high.

    The real one has pixels of 2 mm, a table, noise and metal. The synthetic one has
    pixels of 4 mm, neither table nor noise, and other air.
    """
    rng = np.random.default_rng(seed)
    mm = 4.0 if synthetic else 2.0
    slices, size = round(80 / mm), round(240 / mm)
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
        affine=np.diag([-mm, -mm, mm, 1.0]),
        modality="CT",
        channels=("hu",),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, np.clip(hu, -1024, 3071).astype(np.int16), volume)


def write_pairs(folder: Path, count: int) -> tuple[str, str]:
    """Write so many CT of each kind, of different people; return their folders."""
    for index in range(count):
        write_ct(folder / "real" / f"a{index}.nii.gz", synthetic=False, seed=index)
        write_ct(
            folder / "synthetic" / f"b{index}.nii.gz", synthetic=True, seed=100 + index
        )
    return str(folder / "real"), str(folder / "synthetic")

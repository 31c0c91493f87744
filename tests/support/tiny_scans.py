"""Small volumes, phantoms and scans, for tests that must not import jax."""

import hashlib
from pathlib import Path

import nibabel
import numpy as np
from ml_collections import ConfigDict

from input_pipeline.volume import Volume
from synthct_jax.configs import folder, phantom

RAS_MM = (4.0, 3.0, 6.0)  # of columns, rows, slices in the NIfTI files below


def own_config(**data) -> ConfigDict:
    config = folder.get_config()
    config.data.update(size=48, spacing_mm=5.0)
    config.data.update(data)
    return config


def tiny_phantom(**fields) -> ConfigDict:
    config = phantom.get_config()
    config.data.update(size=32, spacing_mm=12.0)
    config.phantom.update(train_mr=2, train_ct=1, validation=1, test=1, slices=3)
    config.phantom.update(fields)
    return config


def make_volume(shape=(4, 5, 6), affine=None, channels=2, seed=0) -> Volume:
    """Make a volume of noise in MR channels."""
    rng = np.random.default_rng(seed)
    names = ("in_phase", "out_of_phase", "t2")[:channels]
    voxels = rng.normal(size=(*shape, channels)).astype(np.float32)
    affine = np.diag([-2.0, -1.5, 5.0, 1.0]) if affine is None else affine
    return Volume(voxels=voxels, affine=affine, modality="MR", channels=names)


def write_scan(path: Path, values: tuple[float, float], *, shape=(50, 48, 6)) -> None:
    """Write an ellipse, 136 mm x 108 mm, off centre in slices 1 to 4, as NIfTI."""
    i, j, _ = np.indices(shape)
    body = ((i - 22) / 17) ** 2 + ((j - 26) / 18) ** 2 < 1
    body[..., 0] = body[..., 5] = False
    outside, inside = values
    affine = np.diag([*RAS_MM, 1.0])
    affine[:3, 3] = -100, -60, 30
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.where(body, inside, outside).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(image, affine), path)


def write_subjects(root: Path, *, mr=(), ct=()) -> None:
    for name in mr:
        write_scan(root / "mr" / name / "in_phase.nii.gz", (0, 400))
        write_scan(root / "mr" / name / "out_of_phase.nii.gz", (0, 100))
    for name in ct:
        write_scan(root / "ct" / name / "ct.nii.gz", (-1000, 60))


def hashes(root: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }

"""Ten thousand damaged files: each is refused by name, or read with finite values.

The damage is random, with a seed for each case. Weights and descriptions have digests:
a damaged model file, or description of a checkpoint, is refused or reads the same. A
scan has none: where its values or its place are others, they must still be finite.
"""

import collections
import dataclasses
import json
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_dicom
import jax
import nibabel
import numpy as np
import pytest
from damage import damage_bytes, damage_element, damage_fields
from saved_states import make_metadata
from tiny_model import write_tiny_model

from input_pipeline.dataset.manifest import Domain, Manifest, Subject, read_manifest
from input_pipeline.scans.dicom_writer import CtSeries
from input_pipeline.scans.read_scan import read_scan
from input_pipeline.volume import UnusableScan, to_axial
from synthct_jax.checkpoint.metadata import (
    DamagedCheckpoint,
    read_metadata,
    with_digest,
)
from synthct_jax.checkpoint.model_file import UnusableModel, read_model

pytestmark = pytest.mark.slow

GEOMETRY = fake_dicom.Geometry(shape=(2, 4, 5))
SECONDS, MEBIBYTES = 5, 1024


def write_mr(folder: Path) -> None:
    fake_dicom.write_mr(folder, geometry=GEOMETRY)


def write_ct(folder: Path) -> None:
    fake_dicom.write_ct(folder, geometry=GEOMETRY)


def write_enhanced(folder: Path) -> None:
    fake_dicom.write_enhanced_mr(folder / "image.dcm", geometry=GEOMETRY)


def write_nifti(folder: Path, suffix: str = ".nii") -> None:
    for name in ("in_phase", "out_of_phase"):
        values = np.arange(60, dtype=np.float32).reshape(5, 4, 3)
        image = nibabel.Nifti1Image(values, np.diag([-2, -1.5, 5, 1]))
        nibabel.save(image, folder / f"{name}{suffix}")


def write_packed_nifti(folder: Path) -> None:
    write_nifti(folder, ".nii.gz")


def write_zip(folder: Path) -> None:
    write_nifti(folder)
    with zipfile.ZipFile(folder / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.glob("*.nii"):
            archive.write(path, path.name)
            path.unlink()


def write_manifest(folder: Path) -> None:
    subject = Subject(
        name="a",
        split="train",
        slices=3,
        affine=((2.0, 0.0, 0.0, 1.0),) * 4,
        scale=(310.5,),
    )
    statistics = {"train": {"slices": 3, "body_fraction": 0.4, "mean": [0.1]}}
    domain = Domain(channels=("in_phase",), subjects=(subject,), statistics=statistics)
    Manifest(
        source="folder",
        size=32,
        spacing_mm=2.0,
        mask_outside_body=True,
        mr_percentile=99.0,
        seed=0,
        domains={"mr": domain},
        warnings=("one", "two"),
    ).save(folder)


def write_model(folder: Path) -> None:
    write_tiny_model(folder / "tiny.safetensors", trained_on="ü" * 9)


def write_description(folder: Path) -> None:
    item = folder / "checkpoints" / "3" / "config"
    item.mkdir(parents=True)
    fields = with_digest({"step": 3, **make_metadata(mae=3.0).to_json()})
    (item / "metadata").write_text(json.dumps(fields))


def read_mr(folder: Path) -> None:
    volume = read_finite(folder, "MR")
    CtSeries(folder / "ct", to_axial(volume))  # can inherit the headers


def read_ct(folder: Path) -> None:
    read_finite(folder, "CT")


def read_in_phase(folder: Path) -> None:
    read_finite(folder, "MR", ("in_phase",))


def read_zip(folder: Path) -> None:
    read_finite(folder / "scan.zip", "MR")


def read_finite(scan: Path, modality: str, channels=None):
    volume = read_scan(scan, modality=modality, channels=channels)
    assert np.isfinite(volume.voxels).all() and np.isfinite(volume.affine).all()
    assert min(volume.spacing_mm) > 0
    return volume


def read_finite_manifest(folder: Path) -> None:
    json.dumps(read_manifest(folder).to_json(), allow_nan=False)


def read_card_and_weights(folder: Path) -> tuple[Any, dict]:
    file = read_model(str(folder / "tiny.safetensors"))
    return file.card, jax.tree.map(np.ndarray.tolist, file.params)


def read_description(folder: Path) -> Any:
    return vars(read_metadata(folder, 3))  # also what `==` leaves out


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file: how many cases, how it is written, damaged and read.

    What `read` returns has to be the same as of the intact file.
    """

    cases: int
    write: Callable[[Path], None]
    damage: tuple[Callable[[np.random.Generator, Path], str], ...]
    read: Callable[[Path], Any]
    error: type[Exception] = UnusableScan


ELEMENTS = (damage_element, damage_element, damage_bytes)
BYTES = (damage_bytes,)
FIELDS = (damage_fields, damage_fields, damage_bytes)
KINDS = {
    "dicom_mr": Kind(3000, write_mr, ELEMENTS, read_mr),
    "dicom_ct": Kind(1500, write_ct, ELEMENTS, read_ct),
    "dicom_enhanced": Kind(1500, write_enhanced, ELEMENTS, read_in_phase),
    "nifti": Kind(1500, write_nifti, BYTES, read_mr),
    "nifti_gz": Kind(500, write_packed_nifti, BYTES, read_mr),
    "zip": Kind(500, write_zip, BYTES, read_zip),
    "prepared_json": Kind(
        500, write_manifest, FIELDS, read_finite_manifest, ValueError
    ),
    "model": Kind(500, write_model, BYTES, read_card_and_weights, UnusableModel),
    "description": Kind(
        500, write_description, BYTES, read_description, DamagedCheckpoint
    ),
}


def test_there_are_ten_thousand_cases():
    assert sum(kind.cases for kind in KINDS.values()) == 10_000


@pytest.mark.parametrize("name", KINDS)
def test_damaged_file_is_refused_by_name_or_read_with_finite_values(name, tmp_path):
    kind = KINDS[name]
    intact, damaged = tmp_path / "intact", tmp_path / "damaged"
    intact.mkdir()
    kind.write(intact)
    expected = kind.read(intact)
    count = collections.Counter()
    reset_peak_memory()
    before = peak_memory_mib()
    for seed in range(kind.cases):
        shutil.copytree(intact, damaged)
        done = damage(np.random.default_rng(seed), damaged, kind.damage, count)
        started = time.monotonic()
        try:
            assert kind.read(damaged) == expected, (seed, done)
            count["read"] += 1
        except kind.error as error:
            assert str(damaged) in str(error), (seed, done, error)
            count["refused"] += 1
        except Exception as error:
            pytest.fail(f"seed {seed}: {done}: {type(error).__name__}: {error}")
        assert time.monotonic() - started < SECONDS, (seed, done)
        shutil.rmtree(damaged)
    assert peak_memory_mib() - before < MEBIBYTES
    print(f"| {name} | {kind.cases} | {count['refused']} | {count['read']} |")
    assert count["refused"] > kind.cases / 20
    assert all(count[way.__name__] > kind.cases / 5 for way in kind.damage)


def damage(rng, folder: Path, ways, count: collections.Counter) -> list[str]:
    """Damage one or two files of a folder; return what was done."""
    done = []
    for _ in range(rng.integers(1, 3)):
        files = fake_dicom.files(folder)
        file, way = files[rng.integers(len(files))], ways[rng.integers(len(ways))]
        try:
            done.append(way(rng, file))
            count[way.__name__] += 1
        except Exception:  # pydicom cannot read or write every damage
            done.append(damage_bytes(rng, file))
    return done


def reset_peak_memory() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024

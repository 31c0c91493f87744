"""Ten thousand cases of damage: each is refused by name, or read with finite values.

The damage is random, with a seed for each case. What the program writes itself has
digests: it is refused, or reads the same. A scan has none: where its values or its
place are others, they must still be finite. Foreign files in a series, and images that
are there twice, never change it.
"""

import collections
import dataclasses
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import damage
import damage_series
import fuzzed_outputs
import fuzzed_scans
import numpy as np
import pytest

from input_pipeline.volume import UnusableScan
from synthct_jax.checkpoint.metadata import DamagedCheckpoint
from synthct_jax.checkpoint.model_file import UnusableModel

pytestmark = pytest.mark.slow

CPU_SECONDS, MEBIBYTES = 5, 1024


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file: how many cases, how it is written, damaged and read.

    What `read` returns has to be the same as of the intact file.
    """

    cases: int
    write: Callable[[Path], None]
    damage: tuple[Callable[[np.random.Generator, Path], str], ...]
    read: Callable[[Path], Any]
    error: type[Exception] | tuple[type[Exception], ...] = UnusableScan
    pattern: str = "*"  # of the files that are damaged


ELEMENTS = (damage.damage_element, damage.damage_element, damage.damage_bytes)
BYTES = (damage.damage_bytes,)
FIELDS = (damage.damage_fields, damage.damage_fields, damage.damage_bytes)
HEADER = (damage.damage_header, damage.damage_bytes)
FRAGMENTS = (damage.damage_fragments,)
SERIES = (
    damage_series.repeat_image,
    damage_series.share_position,
    damage_series.add_foreign_file,
    damage_series.add_foreign_file,
)
SHARDS = (
    damage.flip_bit,
    damage.damage_bytes,
    damage.remove_file,
    damage.exchange_file,
    fuzzed_outputs.take_shard_of_other_data,
)
scans, outputs = fuzzed_scans, fuzzed_outputs


def checkpoint(way: Callable, cases: int = 100) -> Kind:
    read = outputs.read_checkpoint
    return Kind(cases, outputs.write_checkpoint, (way,), read, DamagedCheckpoint)


KINDS = {
    "dicom_mr": Kind(1560, scans.write_mr, ELEMENTS, scans.read_mr),
    "dicom_ct": Kind(1000, scans.write_ct, ELEMENTS, scans.read_ct),
    "dicom_enhanced": Kind(1000, scans.write_enhanced, ELEMENTS, scans.read_in_phase),
    "dicom_series": Kind(500, scans.write_series, SERIES, scans.read_series),
    "dicom_rle": Kind(300, scans.write_rle, FRAGMENTS, scans.read_ct),
    "dicom_jpeg_2000": Kind(300, scans.write_jpeg_2000, FRAGMENTS, scans.read_ct),
    "nifti": Kind(1000, scans.write_nifti, BYTES, scans.read_mr),
    "nifti_gz": Kind(500, scans.write_packed_nifti, BYTES, scans.read_mr),
    "meta_image": Kind(500, scans.write_meta_image, HEADER, scans.read_phases),
    "nrrd": Kind(500, scans.write_nrrd, HEADER, scans.read_phases),
    "zip": Kind(500, scans.write_zip, BYTES, scans.read_zip),
    "prepared_json": Kind(
        500, outputs.write_manifest, FIELDS, outputs.read_prepared, ValueError
    ),
    "shards": Kind(
        *(500, outputs.write_prepared, SHARDS, outputs.read_slices),
        error=(ValueError, FileNotFoundError),
        pattern="1.0.0/*",
    ),
    "model": Kind(
        *(500, outputs.write_model, BYTES, outputs.read_card_and_weights),
        error=UnusableModel,
    ),
    "description": Kind(
        *(500, outputs.write_description, BYTES, outputs.read_description),
        error=DamagedCheckpoint,
    ),
    "checkpoint_flipped_bit": checkpoint(damage.flip_bit),
    "checkpoint_cut": checkpoint(damage.cut_end),
    "checkpoint_zeros": checkpoint(damage.write_zeros),
    "checkpoint_file_gone": checkpoint(damage.remove_file, 40),
}


def test_there_are_ten_thousand_cases():
    assert sum(kind.cases for kind in KINDS.values()) == 10_000


# Orbax leaves the other reads of a checkpoint unfinished after an error.
UNFINISHED = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[UNFINISHED] if kind.error is DamagedCheckpoint else []
        )
        for name, kind in KINDS.items()
    ],
)
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
        done = damage_files(np.random.default_rng(seed), damaged, kind, count)
        started = time.process_time()
        try:
            assert kind.read(damaged) == expected, (seed, done)
            count["read"] += 1
        except kind.error as error:
            assert str(damaged) in str(error), (seed, done, error)
            count["refused"] += 1
        except Exception as error:
            pytest.fail(f"seed {seed}: {done}: {type(error).__name__}: {error}")
        assert time.process_time() - started < CPU_SECONDS, (seed, done)
        shutil.rmtree(damaged)
    assert peak_memory_mib() - before < MEBIBYTES
    print(f"| {name} | {kind.cases} | {count['refused']} | {count['read']} |")
    assert count["refused"] > kind.cases / 20
    assert all(count[way.__name__] > kind.cases / 6 for way in kind.damage)


def damage_files(rng, folder: Path, kind: Kind, count: collections.Counter) -> list:
    """Damage one or two files of a folder; return what was done."""
    done = []
    for _ in range(rng.integers(1, 3)):
        files = sorted(folder.rglob(kind.pattern))
        files = [path for path in files if path.is_file() and path.stat().st_size]
        file = files[rng.integers(len(files))]
        way = kind.damage[rng.integers(len(kind.damage))]
        try:
            done.append(way(rng, file))
            count[way.__name__] += 1
        except Exception:  # pydicom cannot read or write every damage
            done.append(damage.damage_bytes(rng, file))
    return done


def reset_peak_memory() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024

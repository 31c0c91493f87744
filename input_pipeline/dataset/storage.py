"""Prepared slices as TFDS data sets of ArrayRecord shards.

    DATA/slices/DOMAIN/1.0.0/    mr, ct or labels: shards, and TFDS's metadata

Each domain is a data set of its own, because TFDS wants one shape for all splits.
Slices are stored in the order of subjects and of slices within them, so that a volume
is read as a range; batches are shuffled when they are read. `preparation.shards` writes
the shards.

ArrayRecord keeps a hash of every record, so a damaged one is refused when it is read.
That a shard is the one that was prepared, and not another intact one, its fingerprint
says.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from input_pipeline.damage import describe_error, is_machine_fault

NAME = "slices"
VERSION = "1.0.0"
_END_BYTES = 64 * 2**10  # of ArrayRecord's blocks


def features(shape: tuple[int, int, int]) -> tfds.features.FeaturesDict:
    """Return the TFDS features of a stored slice.

    'image' is int16 of `shape`, (rows, columns, channels), 'subject' text, 'index' the
    position of the slice in its volume, int32.
    """
    return tfds.features.FeaturesDict(
        {
            # Raw bytes are a hundred times faster than TFDS's own int16.
            "image": tfds.features.Tensor(
                shape=shape, dtype=np.int16, encoding="bytes"
            ),
            "subject": tfds.features.Text(),
            "index": tfds.features.Scalar(dtype=np.int32),
        }
    )


def write_metadata(
    data_dir: Path,
    domain: str,
    *,
    shape: tuple[int, int, int],
    shard_slices: Mapping[str, Sequence[int]],
    record_bytes: Mapping[str, int],
) -> None:
    """Make a TFDS data set of the shards of a domain, which exist already.

    Args:
        shape: rows, columns and channels of a slice.
        shard_slices: number of slices in each shard of a split; splits in the order
            in which TFDS lists them.
        record_bytes: bytes of all records of a split.
    """
    folder = domain_dir(data_dir, domain)
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder, dataset_name=NAME, filetype_suffix="array_record"
    )
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features(shape),
        split_infos=[
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=list(slices),
                num_bytes=record_bytes[split],
                filename_template=template.replace(split=split),
            )
            for split, slices in shard_slices.items()
        ],
        filename_template=template,
        check_data=False,  # needs TensorFlow
        disable_shuffling=True,
    )


def domain_dir(data_dir: str | Path, domain: str) -> Path:
    """Return the folder of a domain's shards."""
    return Path(data_dir) / NAME / domain / VERSION


class SelectedSlices(Sequence[dict]):
    """Those of stored slices that are at given places."""

    def __init__(self, slices: Sequence[dict], places: Sequence[int]):
        self._slices, self._places = slices, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> dict:
        return self._slices[self._places[index]]


class SlicesOfFile(Sequence[dict]):
    """Slices of a .npy file, (n, rows, columns, channels).

    The file is opened for each: an open one would be copied to worker processes.
    """

    def __init__(self, path: Path):
        self._path = path

    def __len__(self) -> int:
        return len(np.load(self._path, mmap_mode="r"))

    def __getitem__(self, index: int) -> dict:
        return {"image": np.array(np.load(self._path, mmap_mode="r")[index])}


class _Slices(Sequence[dict]):
    """The slices of a split; an error of reading one names its shard."""

    def __init__(self, slices: Sequence[dict], shards: Sequence[tuple[str, int]]):
        """Take the slices, and each shard's path and number of slices."""
        self._slices, self._shards = slices, shards

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < len(self):
            raise IndexError(f"slice {index} of {len(self)}")  # ends an iteration
        place, shards = index, iter(self._shards)
        path, count = next(shards)
        while place >= count:
            place -= count
            path, count = next(shards)
        with _error_that_names(path, f"slice {place} cannot be read"):
            return self._slices[index]


@contextlib.contextmanager
def _error_that_names(path: str | Path, problem: str) -> Iterator[None]:
    """Raise ValueError, with the file and the reason, for an error in the block."""
    try:
        yield
    except Exception as error:
        if is_machine_fault(error):
            raise
        raise ValueError(f"{path}: {problem}: {describe_error(error)}") from error


def fingerprints(data_dir: Path) -> dict[str, str]:
    """Return the fingerprint of every file of the domains, by its path in DATA."""
    files = data_dir.glob(f"{NAME}/*/{VERSION}/*")
    return {
        path.relative_to(data_dir).as_posix(): _fingerprint(path)
        for path in sorted(files)
    }


def _fingerprint(path: Path) -> str:
    """Return 16 digits of the SHA-256 of a file's size and its two ends.

    The first slices and where ArrayRecord's list of records begins tell a shard from
    any other, at the cost of 128 KiB.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(b"%d " % size + file.read(_END_BYTES))
        file.seek(max(0, size - _END_BYTES))
        digest.update(file.read())
    return digest.hexdigest()[:16]


def _check_fingerprints(
    data_dir: Path, domain: str, split: str, expected: Mapping[str, str]
) -> None:
    """Raise ValueError for a file of a split that is not the one that was prepared."""
    folder = domain_dir(data_dir, domain)
    for name, prepared in expected.items():
        path = data_dir / name
        is_of_split = path.name.startswith(f"{NAME}-{split}.")
        if path.parent != folder or not (is_of_split or path.suffix == ".json"):
            continue
        if (fingerprint := _fingerprint(path)) != prepared:
            raise ValueError(
                f"{path} is not the file that was prepared: its fingerprint is "
                f"{fingerprint}, expected {prepared}; copy it again, or prepare the "
                "data again"
            )


def open_domain(
    data_dir: str | Path,
    domain: str,
    split: str,
    prepared: Mapping[str, str] | None = None,
) -> Sequence[dict]:
    """Return a random-access source of a split's slices.

    Each is a dict with the keys image, subject and index, see `features`.

    Args:
        prepared: the `fingerprints` that the files must have; older data have none.

    Raises:
        FileNotFoundError: the data set has no such domain, or a file of it is missing.
        ValueError: the domain has no such split, or a file of it is another one or
            damaged. A damaged slice raises it when it is read.
    """
    folder = domain_dir(data_dir, domain)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder, so there is no {domain}")
    _check_fingerprints(Path(data_dir), domain, split, prepared or {})
    with _error_that_names(folder, "dataset_info.json or features.json is damaged"):
        builder = tfds.builder_from_directory(folder)
    if split not in builder.info.splits:
        raise ValueError(
            f"{folder}: there is no {split} split, only "
            f"{', '.join(sorted(builder.info.splits))}"
        )
    info = builder.info.splits[split]
    with _error_that_names(folder, f"shards of {split} cannot be opened"):
        shards = list(zip(map(str, info.filepaths), info.shard_lengths, strict=True))
        return _Slices(builder.as_data_source(split=split), shards)

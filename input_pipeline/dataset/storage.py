"""Prepared slices as TFDS data sets of ArrayRecord shards.

    DATA/slices/DOMAIN/1.0.0/    mr, ct or labels: shards, and TFDS's metadata

Each domain is a data set of its own, because TFDS wants one shape for all splits.
Slices are stored in the order of subjects and of slices within them, so that a volume
is read as a range; batches are shuffled when they are read. `preparation.shards` writes
the shards.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

NAME = "slices"
VERSION = "1.0.0"


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
    return Path(data_dir) / "slices" / domain / VERSION


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


def open_domain(data_dir: str | Path, domain: str, split: str) -> Sequence[dict]:
    """Return a random-access source of a split's slices.

    Each is a dict with the keys image, subject and index, see `features`.

    Raises:
        FileNotFoundError: the data set has no such domain.
        ValueError: the domain has no such split.
    """
    folder = domain_dir(data_dir, domain)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder, so there is no {domain}")
    builder = tfds.builder_from_directory(folder)
    if split not in builder.info.splits:
        raise ValueError(
            f"{folder}: there is no {split} split, only "
            f"{', '.join(sorted(builder.info.splits))}"
        )
    return builder.as_data_source(split=split)

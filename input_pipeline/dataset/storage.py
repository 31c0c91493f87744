"""Prepared slices as TFDS data sets of ArrayRecord shards.

    DATA/slices/DOMAIN/1.0.0/    mr, ct or labels: shards, and what TFDS says of them

Where scans come from (CHAOS' layout, a folder of one's own, the phantom) makes no
difference to what is stored, so that is `prepare`'s to know, and a data set says it in
prepared.json. Domains are data sets because TFDS wants one shape for all splits of one.
Slices are stored in the order of subjects and of slices within them, so that a volume
is read as a range; the stream shuffles. `shards` writes them.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

NAME = "slices"
VERSION = "1.0.0"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredSplit:
    """Slices in each shard of a split, and the bytes of all of its records."""

    slices: Sequence[int]
    record_bytes: int


def features(shape: tuple[int, int, int]) -> tfds.features.FeaturesDict:
    """Of one slice; shape is rows, columns, channels."""
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
    splits: Mapping[str, StoredSplit],
) -> None:
    """Makes the shards of a domain, which are there, a TFDS data set.

    Args:
        data_dir: the root, DATA.
        shape: of a slice: rows, columns, channels.
        splits: in the order in which TFDS shall list them.
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
                name=name,
                shard_lengths=list(split.slices),
                num_bytes=split.record_bytes,
                filename_template=template.replace(split=name),
            )
            for name, split in splits.items()
        ],
        filename_template=template,
        check_data=False,  # needs TensorFlow
        disable_shuffling=True,
    )


def domain_dir(data_dir: str | Path, domain: str) -> Path:
    return Path(data_dir) / "slices" / domain / VERSION


def open_domain(data_dir: str | Path, domain: str, split: str) -> Sequence[dict]:
    """Random access to the slices of a split: image, subject, index.

    Raises:
        FileNotFoundError: there is no such domain.
        ValueError: it has no such split.
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

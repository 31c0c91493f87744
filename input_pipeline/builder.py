"""Prepared slices as a TFDS data set in ArrayRecord shards.

One builder, `slices`, whose configurations are the domains: mr, ct and labels. Where
scans come from (CHAOS' layout, a folder of one's own, the phantom) makes no difference
to what is stored, so that is `prepare`'s to know, and a data set says it in
prepared.json. Domains are configurations because TFDS wants one shape for all splits
of one. Slices
are stored in the order of subjects and of slices within them, so that a volume is read
as a range; the stream shuffles.
"""

import contextlib
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

VERSION = "1.0.0"


@dataclasses.dataclass(kw_only=True)
class DomainConfig(tfds.core.BuilderConfig):
    """One domain to write.

    Attributes:
        size: rows and columns of a slice.
        channels: how many.
        volumes: for each split, pairs of a subject's name and the .npy file with its
            (slices, size, size, channels) int16.
    """

    size: int = 0
    channels: int = 0
    volumes: Mapping[str, Sequence[tuple[str, Path]]] = dataclasses.field(
        default_factory=dict
    )


class Slices(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Axial slices of MR, CT or label volumes on one in-plane grid."""

    name = "slices"
    VERSION = tfds.core.Version(VERSION)

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        shape = (config.size, config.size, config.channels)
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    # Raw bytes are a hundred times faster than TFDS's own int16.
                    "image": tfds.features.Tensor(
                        shape=shape, dtype=np.int16, encoding="bytes"
                    ),
                    "subject": tfds.features.Text(),
                    "index": tfds.features.Scalar(dtype=np.int32),
                }
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager) -> dict:
        return {
            split: self._generate_examples(volumes)
            for split, volumes in self.builder_config.volumes.items()
            if volumes
        }

    def _generate_examples(
        self, volumes: Sequence[tuple[str, Path]]
    ) -> Iterator[tuple[int, dict]]:
        key = 0
        for subject, path in volumes:
            for index, image in enumerate(np.load(path, mmap_mode="r")):
                yield (
                    key,
                    {
                        "image": np.array(image),
                        "subject": subject,
                        "index": np.int32(index),
                    },
                )
                key += 1


def write_domain(data_dir: Path, config: DomainConfig, *, scratch: Path) -> None:
    """Writes DATA/slices/DOMAIN/VERSION with the splits that have volumes.

    Args:
        data_dir: the root, DATA.
        config: what to write.
        scratch: a folder for what TFDS leaves behind.
    """
    # Nothing is downloaded; TFDS's bars and announcements would say otherwise.
    tfds.disable_progress_bar()
    level = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            builder = Slices(data_dir=data_dir, config=config)
            builder.download_and_prepare(
                # The default format fails without TensorFlow, and only at the end.
                file_format="array_record",
                download_dir=scratch / "downloads",
                download_config=tfds.download.DownloadConfig(compute_stats="skip"),
            )
    finally:
        logging.set_verbosity(level)


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

"""A prepared data set of noise, which is read and augmented like that of patients."""

import dataclasses
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from input_pipeline.preparation import prepare
from input_pipeline.preparation.jobs import Job, SliceFormat, StoredVolume, store_volume

_RANGES = {"mr": (0, 1_000), "ct": (-1_000, 1_500)}  # of stored values


def prepare_noise(config: ConfigDict, data_dir: Path, *, slices: int) -> None:
    """Prepare `slices` MR and as many CT slices for training, as `config.data` asks."""
    jobs = [
        NoiseJob(name="noise", split="train", domain=domain, slices=slices)
        for domain in _RANGES
    ]
    prepare.prepare(config, None, data_dir, jobs=jobs, workers=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseJob(Job):
    """A subject of one domain, of uniform noise."""

    domain: str
    slices: int

    def store(self, slice_format: SliceFormat, folder: Path) -> list[StoredVolume]:
        """Store slices of uniform noise."""
        rng = np.random.default_rng(0)
        channels = slice_format.channels(self.domain)
        shape = (self.slices, slice_format.size, slice_format.size, len(channels))
        images = rng.integers(*_RANGES[self.domain], shape, dtype=np.int16)
        in_body = np.zeros(shape[:3], bool)
        in_body[0] = True  # enough for statistics that nobody reads
        return [
            store_volume(
                images,
                folder,
                job=self,
                domain=self.domain,
                affine=np.eye(4),
                scale=(1.0,) * len(channels) if self.domain == "mr" else (),
                in_body=in_body,
            )
        ]

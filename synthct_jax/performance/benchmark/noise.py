"""A prepared data set of noise, which is read and augmented like that of patients."""

import functools
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from input_pipeline.preparation import local, prepare, shards
from input_pipeline.preparation.jobs import Phantom, StoredVolume, Target
from input_pipeline.preparation.statistics import count_values

_RANGES = {"mr": (0, 1_000), "ct": (-1_000, 1_500)}  # of stored values


def prepare_noise(config: ConfigDict, data_dir: Path, *, slices: int) -> None:
    """Prepare `slices` MR and as many CT slices for training, as `config.data` asks.

    Preparation runs as for phantoms of one subject a domain, but stores noise.
    """
    config = config.copy_and_resolve_references()
    config.unlock()
    config.data.source = "phantom"
    config.phantom = ConfigDict(
        dict(train_mr=1, train_ct=1, validation=0, test=0)
        | dict(slices=slices, slice_mm=1.0, contrast="non_contrast")
    )
    write = functools.partial(local.write, write_subject=store_noise, workers=1)
    prepare.prepare(config, None, data_dir, write=write)


def store_noise(job: Phantom, target: Target, folder: Path) -> list[StoredVolume]:
    """Store noise in place of a subject; has the arguments of `jobs.write_subject`."""
    rng = np.random.default_rng(0)
    volumes = []
    for domain in job.domains:
        channels = shards.channels_of(domain, target)
        shape = (job.slices, target.size, target.size, len(channels))
        images = rng.integers(*_RANGES[domain], shape, dtype=np.int16)
        in_body = np.zeros(shape[:3], bool)
        in_body[0] = True  # enough for statistics that nobody reads
        path = folder / f"{domain}-{job.name}.npy"
        np.save(path, images)
        volumes.append(
            StoredVolume(
                domain=domain,
                name=job.name,
                split=job.split,
                source="noise",
                path=path,
                slices=job.slices,
                affine=np.eye(4),
                scale=(1.0,) * len(channels) if domain == "mr" else (),
                counts=count_values(images, in_body),
            )
        )
    return volumes

"""A prepared data set of noise: what is read costs the same whatever it shows."""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from input_pipeline.dataset import storage
from input_pipeline.dataset.manifest import Domain, Prepared, Subject
from input_pipeline.preparation import jobs, shards


def write_noise(config: ConfigDict, data_dir: Path, *, slices: int) -> None:
    """Writes `slices` MR and as many CT for training, as `config.data` asks for them.

    As preparation writes them: whatever their number, they are read and augmented like
    those of patients.
    """
    data = config.data
    target = jobs.Target(
        size=data.size,
        spacing_mm=data.spacing_mm,
        mr_channels=tuple(data.mr_channels),
        mask_outside_body=data.mask_outside_body,
        mr_percentile=data.mr_percentile,
    )
    rng = np.random.default_rng(0)
    data_dir.mkdir(parents=True)
    domains = {}
    for domain, (low, high) in {"mr": (0, 1_000), "ct": (-1_000, 1_500)}.items():
        channels = shards.channels_of(domain, target)
        shape = (slices, data.size, data.size, len(channels))
        path = data_dir / f"{domain}.npy"
        np.save(path, rng.integers(low, high, shape, dtype=np.int16))
        volume = jobs.StoredVolume(
            domain=domain,
            name="noise",
            split="train",
            source="noise",
            path=path,
            slices=slices,
            affine=np.eye(4),
        )
        written = shards.assign_shards([volume], target)
        sizes = [shards.write_shard(shard, data_dir) for shard in written]
        path.unlink()
        storage.write_metadata(
            data_dir,
            domain,
            shape=shape[1:],
            splits={
                "train": storage.StoredSplit(
                    slices=[shard.slices for shard in written],
                    record_bytes=sum(sizes),
                )
            },
        )
        one = Subject(
            name="noise",
            split="train",
            slices=slices,
            affine=tuple(map(tuple, np.eye(4).tolist())),
            scale=(1.0,) * len(channels) if domain == "mr" else (),
            source="noise",
        )
        domains[domain] = Domain(channels=channels, subjects=(one,), statistics={})
    Prepared(
        source=data.source,
        size=data.size,
        spacing_mm=data.spacing_mm,
        mask_outside_body=data.mask_outside_body,
        mr_percentile=data.mr_percentile,
        seed=0,
        domains=domains,
    ).save(data_dir)

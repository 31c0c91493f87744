"""Small files that the program itself writes, to be damaged, and their readers."""

import json
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np
from saved_states import make_metadata, make_state
from tiny_model import write_tiny_model
from tiny_scans import tiny_phantom

from input_pipeline.dataset.dataset import Dataset
from input_pipeline.dataset.manifest import Domain, Manifest, Subject, read_manifest
from input_pipeline.digests import with_digest
from input_pipeline.preparation import shards
from input_pipeline.preparation.prepare import prepare
from synthct_jax.checkpoint.manager import Checkpoints, state_to_arrays
from synthct_jax.checkpoint.metadata import read_metadata
from synthct_jax.checkpoint.model_file import read_model

STEP = 3


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


def write_prepared(folder: Path) -> None:
    """Write prepared data, and others of the same people beside FOLDER."""
    config = tiny_phantom(train_mr=1, train_ct=1, validation=1, test=0, slices=2)
    config.data.update(size=16, spacing_mm=24.0)
    with mock.patch.object(shards, "SHARD_BYTES", 512):  # several shards of a split
        for seed, data_dir in enumerate((folder / "data", _other_data(folder))):
            config.seed = seed
            prepare(config, None, data_dir, workers=1)


def take_shard_of_other_data(rng: np.random.Generator, path: Path) -> str:
    folder = path.parents[4]  # path: FOLDER/data/slices/DOMAIN/VERSION/SHARD
    other = _other_data(folder) / path.relative_to(folder / "data")
    shutil.copy(other, path)
    return f"{path} is that of other data"


def _other_data(folder: Path) -> Path:
    return folder.with_name("other_data")


def write_model(folder: Path) -> None:
    write_tiny_model(folder / "tiny.safetensors", trained_on="ü" * 9)


def write_description(folder: Path) -> None:
    item = folder / "checkpoints" / str(STEP) / "config"
    item.mkdir(parents=True)
    fields = with_digest({"step": STEP, **make_metadata(mae=3.0).to_json()})
    (item / "metadata").write_text(json.dumps(fields))


def write_checkpoint(folder: Path) -> None:
    with Checkpoints(folder, best_metric="mae") as checkpoints:
        checkpoints.save(make_state(STEP), make_metadata(mae=3.0))


def read_prepared(folder: Path) -> str:
    return json.dumps(read_manifest(folder).to_json(), allow_nan=False)


def read_slices(folder: Path) -> Any:
    dataset = Dataset.open(folder / "data")
    return [
        (domain, split, subject.name, subject.stored.tolist())
        for domain, content in dataset.manifest.domains.items()
        for split in ("train", "validation")
        if content.of_split(split)
        for subject in dataset.subjects(domain, split)
    ]


def read_card_and_weights(folder: Path) -> tuple[Any, dict]:
    file = read_model(str(folder / "tiny.safetensors"))
    return file.card, jax.tree.map(np.ndarray.tolist, file.params)


def read_description(folder: Path) -> Any:
    return vars(read_metadata(folder, STEP))  # also what `==` leaves out


def read_checkpoint(folder: Path) -> Any:
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        make_state(STEP),
    )
    with Checkpoints.of_run(folder) as checkpoints:
        trees = [
            state_to_arrays(checkpoints.restore(abstract, STEP)),
            checkpoints.restore_generator(STEP),
            checkpoints.restore_inverse_generator(STEP),
        ]
    arrays = jax.tree.map(lambda x: np.asarray(x).tobytes(), jax.device_get(trees))
    return arrays, read_description(folder)

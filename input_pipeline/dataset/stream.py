"""Functions of a folder, until all callers open a Dataset."""

from pathlib import Path

from input_pipeline.dataset.batches import Augmentation, _ToUnit  # noqa: F401
from input_pipeline.dataset.dataset import Dataset
from input_pipeline.dataset.manifest import load_prepared  # noqa: F401


def make_stream(data_dir, data_config, **options):
    return Dataset.open(data_dir).batches(data_config, **options)


def check_request(prepared, data_config):
    Dataset(folder=Path("data"), manifest=prepared).check_trainable(data_config)


def check_compatible(prepared, data_config):
    Dataset(folder=Path("data"), manifest=prepared).check_compatible(data_config)


def read_subjects(data_dir, domain, split):
    for volume in Dataset.open(data_dir).subjects(domain, split):
        yield volume.name, volume.stored

"""The brightness of fat, on drawn people whose tissues are known."""

import numpy as np
import pytest
from tiny_run import tiny_config

from input_pipeline.dataset.brightness import fat_threshold
from input_pipeline.dataset.dataset import Dataset
from input_pipeline.intensity import MR_ONE
from input_pipeline.preparation.prepare import prepare


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two people in pixels that most tissues fill."""
    config = tiny_config()
    config.data.update(size=96, spacing_mm=4.0)
    config.phantom.update(train_mr=1, train_ct=1, validation=1, test=1, slices=3)
    folder = tmp_path_factory.mktemp("brightness") / "data"
    prepare(config, None, folder)
    return Dataset.open(folder)


@pytest.mark.parametrize("channels", [("in_phase", "out_of_phase"), ("in_phase",)])
def test_threshold_divides_fat_from_soft_tissue(dataset, channels):
    config = tiny_config()
    config.data.mr_channels = channels
    threshold = fat_threshold(dataset, config.data)
    names = dataset.manifest.label_names
    (mr,), (labels,) = (dataset.subjects(name, "test") for name in ("mr", "labels"))
    share = mr.stored[..., : len(channels)].mean(axis=-1) / MR_ONE
    fat, muscle = (
        np.median(share[labels.stored[..., 0] == names.index(name)])
        for name in ("subcutaneous_fat", "muscle")
    )
    assert muscle < 0.75 * threshold < threshold < fat

"""Every number and choice of a configuration is refused outside its range."""

import functools
import math
import re

import pytest
from tiny_run import tiny_config

from input_pipeline.ranges import (
    ABOVE_ZERO,
    BELOW_ONE,
    ONE_OR_MORE,
    SEED,
    ZERO_OR_MORE,
    ZERO_TO_ONE,
)
from synthct_jax.checkpoint.metadata import flatten
from synthct_jax.model.ranges import RANGES, check_ranges

# Checked with the devices that there are, and with the network's stride.
ELSEWHERE = {"mesh.data", "mesh.fsdp", "mesh.space", "mesh.seeds", "translate.views"}
ELSEWHERE |= {"train.distil_views"}
PATHS = {"train.init_from", "train.distil_from"}

# For each range: numbers in it, numbers outside.
SAMPLES = {
    ZERO_OR_MORE: ([0, 1, 1e6], [-1, math.inf]),
    ABOVE_ZERO: ([1e-6, 5], [0, -1, math.inf]),
    ONE_OR_MORE: ([1, 1e6], [0, -1]),
    ZERO_TO_ONE: ([0, 0.5, 1], [-0.1, 1.1]),
    BELOW_ONE: ([0, 0.999], [-0.1, 1]),
    SEED: ([0, 2**32 - 1], [-1, 2**32]),
}
OWN = {
    "data.mr_percentile": ([99.5, 100], [0, 100.5]),
    "data.rotate_degrees": ([0, 180], [-1, 181]),
    "phantom.ct_offset_mm": ([-50, 80], [-50.5, 81]),
    "data.source": (["chaos", "folder", "phantom"], ["foo", "Chaos", ""]),
    "data.mr_channels": (
        [("in_phase",), ("t2", "in_phase")],
        [(), ("foo",), ("t2", "t2"), ("t2", "foo")],
    ),
    "method": (["cyclegan", "supervised", "distilled"], ["cyclegann"]),
    "model.upsample": (["transposed", "resize"], ["cubic"]),
    "model.dtype": (["float32", "bfloat16"], ["float16"]),
    "loss.adversarial": (["lsgan", "vanilla"], ["wgan"]),
    "train.best_metric": (["mae", "rmse", "frechet_haar"], ["psnr"]),
    "train.guard": (["log", "stop", "roll_back"], ["warn"]),
    "phantom.contrast": (["non_contrast", "delayed"], ["foo"]),
    "phantom.scanner": (["reference", "three_tesla", "randomised"], ["foo"]),
    "phantom.anatomy": (["reference", "varied"], ["foo"]),
    "phantom.train_lesions": (["", "both", "mr"], ["foo"]),
}
ZEROS = ("train.learning_rate", "train.pool_size", "loss.identity", "data.crop")


def test_every_number_and_choice_has_a_range():
    fields = flatten(tiny_config().to_dict())
    ranged = {n for n, value in fields.items() if type(value) in (int, float, str)}
    assert ranged - ELSEWHERE - PATHS == set(RANGES) - {"data.mr_channels"}


@pytest.mark.parametrize("name", RANGES)
def test_value_outside_its_range_is_refused_with_name_value_and_range(name):
    config = tiny_config()
    kind = type(functools.reduce(getattr, name.split("."), config))
    inside, outside = OWN[name] if name in OWN else SAMPLES[RANGES[name]]
    for value in inside:
        if value == kind(value):
            config.update_from_flattened_dict({name: kind(value)})
            check_ranges(config)
    if kind is int:
        outside = [value for value in outside if value == int(min(value, 2**40))]
    for value in [*outside, math.nan] if kind is float else outside:
        config.update_from_flattened_dict({name: kind(value)})
        message = f"{name} is {kind(value)!r}, expected {RANGES[name].text}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            check_ranges(config)


@pytest.mark.parametrize("name", ZEROS)
def test_zero_is_allowed_where_it_has_a_meaning(name):
    config = tiny_config()
    config.update_from_flattened_dict({name: 0})
    check_ranges(config)

"""The supervised network that stands beside the unpaired one."""

import functools

import jax
import numpy as np
import pytest
from tiny_run import tiny_config

from synthct_jax.model import methods
from synthct_jax.model.cyclegan import CycleGan
from synthct_jax.model.supervised import Supervised


def supervised_config():
    config = tiny_config()
    config.method = "supervised"
    return config


def test_initial_weights_are_those_of_the_cyclegan():
    config = supervised_config()
    key = jax.random.key(0)
    ours, theirs = (
        jax.jit(functools.partial(kind.from_config(config).init, batch=2, size=32))(key)
        for kind in (Supervised, CycleGan)
    )
    for a, b in zip(
        jax.tree.leaves(ours.generators["to_ct"]),
        jax.tree.leaves(theirs.generators["to_ct"]),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_supervised_training_fits_a_pair():
    config = supervised_config()
    config.train.steps = 1000  # the rate stays what it is
    model = methods.from_config(config)
    rng = np.random.default_rng(0)
    mr = rng.uniform(-1, 1, (2, 32, 32, 2)).astype(np.float32)
    batch = {"mr": mr, "ct": 0.5 * mr[..., :1] - 0.2}
    init = functools.partial(model.init, batch=2, size=32)
    state = jax.jit(init)(jax.random.key(0))
    step = jax.jit(model.train_step)
    losses = []
    for _ in range(40):
        state, metrics = step(state, batch)
        losses.append(float(metrics["supervised_ct"]))
    assert int(state.step) == 40
    assert losses[-1] < 0.7 * losses[0]


def test_configuration_without_method_is_a_cyclegan():
    config = tiny_config()
    with config.unlocked():
        del config.method
    assert isinstance(methods.from_config(config), CycleGan)


def test_unknown_method_is_refused():
    config = tiny_config()
    config.method = "pix2pix"
    with pytest.raises(ValueError, match="config.method is 'pix2pix', expected one of"):
        methods.from_config(config)

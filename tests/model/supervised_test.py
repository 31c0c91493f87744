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
    config.loss.supervised_adversarial = 0.1
    key = jax.random.key(0)
    ours, theirs = (
        jax.jit(functools.partial(kind.from_config(config).init, batch=2, size=32))(key)
        for kind in (Supervised, CycleGan)
    )
    for a, b in (
        (ours.generators, theirs.generators),
        (ours.discriminators, theirs.discriminators),
    ):
        jax.tree.map(np.testing.assert_array_equal, a, {name: b[name] for name in a})
    assert ours.generators.keys() == {"to_ct"} and ours.pools.keys() == {"ct"}


def test_adversarial_loss_is_optional_and_trains_its_discriminator():
    config = supervised_config()
    batch = {"mr": np.zeros((2, 32, 32, 2)), "ct": np.ones((2, 32, 32, 1))}

    def after_a_step(weight):
        config.loss.supervised_adversarial = weight
        model = methods.from_config(config, platform="any")
        state = jax.jit(functools.partial(model.init, batch=2, size=32))(
            jax.random.key(0)
        )
        return state, *jax.jit(model.train_step)(state, batch)

    before, after, terms = after_a_step(0.0)
    assert not jax.tree.leaves((before.discriminators, before.discriminator_opt))
    assert not before.pools and terms.keys() == {"supervised_ct"}
    before, after, more = after_a_step(0.5)
    assert more.keys() == {"supervised_ct", "adversarial_ct", "discriminator_ct"}
    assert more["supervised_ct"] == terms["supervised_ct"]
    assert int(after.pools["ct"].filled) == 1
    kernel = after.discriminators["ct"]["conv_0"]["kernel"]
    assert (kernel != before.discriminators["ct"]["conv_0"]["kernel"]).any()


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


def test_unknown_method_is_refused():
    config = tiny_config()
    config.method = "pix2pix"
    with pytest.raises(ValueError, match="^method is 'pix2pix', expected one of"):
        methods.from_config(config)

"""Training states: small ones to save, and those that runs have saved, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict
from tiny_run import STEPS

from synthct_jax.checkpoint.manager import Checkpoints, state_to_arrays
from synthct_jax.checkpoint.metadata import (
    CheckpointMetadata,
    library_versions,
    read_metadata,
)
from synthct_jax.configs.default import get_config
from synthct_jax.model import methods
from synthct_jax.model.image_pool import ImagePool
from synthct_jax.model.step import make_init
from synthct_jax.model.train_state import TrainState
from synthct_jax.parallel import sharding


def make_state(step=1, *, ema=True, seed=0):
    """Return a state of the real structure, with a few small arrays."""
    rng = np.random.default_rng(seed)

    def params():
        kernel = rng.standard_normal((3, 3, 8, 64)).astype(np.float32)
        return {"stem": {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(64)}}

    generators = {"to_ct": params(), "to_mr": params()}
    discriminators = {"ct": params(), "mr": params()}
    adam = optax.adam(optax.constant_schedule(1e-3))
    pool = ImagePool(
        jnp.asarray(rng.random((2, 3, 4, 4, 1)), jnp.float32), jnp.int32(2)
    )
    return TrainState(
        step=jnp.int32(step),
        generators=generators,
        discriminators=discriminators,
        generator_opt=adam.init(generators),
        discriminator_opt=adam.init(discriminators),
        ema={"to_ct": params(), "to_mr": params()} if ema else None,
        pools={"ct": pool, "mr": jax.tree.map(jnp.copy, pool)},
        rng=jax.random.key(seed),
    )


def make_metadata(**metrics):
    config = get_config()
    config.train.best_metric = "mae"
    return CheckpointMetadata(
        config=config.to_dict(),
        prepared={"source": "phantom"},
        data_dir="/data",
        versions=library_versions(),
        metrics=metrics,
    )


def arrays(workdir, step=STEPS):
    """Return every array of the state saved at `step`, 0: of the initial state."""
    with Checkpoints.of_run(workdir) as checkpoints:
        metadata = read_metadata(workdir, step or checkpoints.latest_step)
        config = ConfigDict(metadata.config)
        method = methods.from_config(config)
        init, abstract = make_init(method, config, sharding.make_mesh())
        if step:
            state = checkpoints.restore(abstract, step)
        else:
            state = init(method.initial_key(config.seed))
    return jax.device_get(state_to_arrays(state))


def assert_same_run(workdir, other, step=STEPS):
    """Assert that two runs have saved the same state, bit for bit."""
    saved, expected = arrays(workdir, step), arrays(other, step)
    assert saved.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(saved[name], expected[name], err_msg=name)


def exchange(folder, other):
    """Give each of two saved trees the other's arrays, as undetected damage would.

    Of flipped bits some fall on no array, and some on what Orbax checks by itself.
    """
    aside = folder.with_name("aside")
    folder.rename(aside)
    other.rename(folder)
    aside.rename(other)

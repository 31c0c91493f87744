"""The training states that runs have saved, read and compared bit for bit."""

import jax
import numpy as np
from ml_collections import ConfigDict
from tiny_run import STEPS

from synthct_jax.checkpoint import manager
from synthct_jax.checkpoint.manager import Checkpoints
from synthct_jax.model.cyclegan import CycleGan
from synthct_jax.model.step import make_init
from synthct_jax.parallel import sharding


def arrays(workdir, step=STEPS):
    """Every array of the state saved at `step`; of 0, that the run started from."""
    with Checkpoints.of_run(workdir) as checkpoints:
        description = checkpoints.describe(step or checkpoints.latest_step)
        config = ConfigDict(description.config)
        gan = CycleGan.from_config(config)
        init, abstract = make_init(gan, config, sharding.make_mesh())
        if step:
            state = checkpoints.restore(abstract, step)
        else:
            state = init(jax.random.key(config.seed))
    return jax.device_get(manager._to_arrays(state))


def assert_same_run(workdir, other, step=STEPS):
    found, expected = arrays(workdir, step), arrays(other, step)
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)

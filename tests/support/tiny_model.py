"""Model files of tiny networks with random weights."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from tiny_run import tiny_config

from synthct_jax.checkpoint.model_file import write_model
from synthct_jax.model import methods
from synthct_jax.model.train_state import Params


def random_params(config: ConfigDict) -> Params:
    """Return random weights of to_ct, without a compilation."""
    method, size = methods.from_config(config), config.data.size
    mr = jax.ShapeDtypeStruct((1, size, size, method.mr_channels), np.float32)
    key = jax.eval_shape(jax.random.key, 0)
    shapes = jax.eval_shape(method.to_ct.init, key, mr)["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda s: 0.1 * rng.standard_normal(s.shape).astype(np.float32), shapes
    )


def write_tiny_model(path: Path, config: ConfigDict | None = None, **fields: Any):
    """Write the tiny configuration's generator with random weights; return the card."""
    config = config or tiny_config()
    card = {
        "intended_use": "tests",
        "inputs": list(config.data.mr_channels),
        "contrast_medium": "non_contrast",
        "config": config.to_dict(),
        "trained_on": "nothing",
        "training_mr": {"body_fraction": 0.4},
        "versions": {},
    }
    return write_model(path, random_params(config), card | fields)

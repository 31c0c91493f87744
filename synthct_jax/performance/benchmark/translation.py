"""Time of translating a volume, from stored MR to HU."""

from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from synthct_jax.inference.translator import Translator
from synthct_jax.model import methods
from synthct_jax.performance.benchmark import measure

SLICES = 32


def make_volume(config: ConfigDict, slices: int = SLICES) -> np.ndarray:
    """Return noise in place of a stored MR: (slices, size, size, channels) int16."""
    shape = (slices, config.data.size, config.data.size, len(config.data.mr_channels))
    return np.random.default_rng(0).integers(0, 1_000, shape, dtype=np.int16)


def measure_translation(config: ConfigDict) -> dict[str, Any]:
    """Time the translation of `SLICES` slices, from int16 MR to HU."""
    measure.reset_peak_memory()
    method = methods.from_config(config)
    params = method.init(jax.random.key(0), batch=1, size=config.data.size).generators
    translator = Translator(
        method, config.data, stored_channels=tuple(config.data.mr_channels)
    )
    volume = make_volume(config)
    first = measure.time_calls(
        lambda: translator(params["to_ct"], volume), warm_up=0, rounds=1, seconds=0
    )
    times = measure.time_calls(lambda: translator(params["to_ct"], volume))
    return {
        **times.as_dict(),
        "compile_seconds": first.median - times.median,
        "slices": SLICES,
        "slices_per_second": SLICES / times.median,
        "peak_bytes": measure.peak_memory_bytes(),
    }

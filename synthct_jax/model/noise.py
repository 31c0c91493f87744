"""Random perturbations of MR in [-1, 1]: noise, gain and a smooth bias field."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from synthct_jax.model.train_state import Batch

KEYS = ("mr", "gain", "bias")


def draw_mr_noise(
    shape: tuple[int, ...], deviation: float, keys: Mapping[str, jax.Array]
) -> Batch:
    """Return `noise_mr` and `gain_mr` for images of a shape (n, h, w, c).

    Args:
        deviation: standard deviation of the noise, and relative of gain and bias field.
        keys: random keys by the names of `KEYS`.
    """
    n, h, w, _ = shape
    bias = jax.random.normal(keys["bias"], (n, 4, 4, 1))
    bias = jax.image.resize(bias, (n, h, w, 1), "cubic")
    gain = jax.random.normal(keys["gain"], (n, 1, 1, 1))
    return {
        "noise_mr": deviation * jax.random.normal(keys["mr"], shape),
        "gain_mr": (1 + deviation * gain) * (1 + deviation * bias),
    }


def add_mr_noise(mr: jax.Array, noise: Batch) -> jax.Array:
    """Return MR (n, h, w, c) with the gain and the noise of `draw_mr_noise`."""
    return jnp.clip((mr + 1) * noise["gain_mr"] - 1 + noise["noise_mr"], -1, 1)

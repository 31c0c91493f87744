"""The optimiser that all methods share, its schedule, and the average of weights."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def adam(train: Any, *, rate_ratio: float = 1.0) -> optax.GradientTransformation:
    """Return Adam with the schedule of `config.train`, its rates times `rate_ratio`."""
    rates = schedule(train, rate_ratio=rate_ratio)
    return optax.adam(rates, b1=train.beta1, b2=train.beta2)


def schedule(train: Any, *, rate_ratio: float = 1.0) -> optax.Schedule:
    """Return the learning rate: constant up to `decay_start`, then linearly to zero."""
    rate = train.learning_rate * rate_ratio
    constant = int(train.steps * train.decay_start)
    steps = max(train.steps - constant, 1)
    return optax.linear_schedule(rate, 0.0, steps, transition_begin=constant)


def update_ema(ema: Any, params: Any, step: jax.Array, decay: float) -> Any:
    """Return the exponential moving average of weights after one more step.

    None stays None. The average has a short memory at first, to forget initial weights.
    """
    if ema is None:
        return None
    decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda e, p: decay * e + (1.0 - decay) * p, ema, params)

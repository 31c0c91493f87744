"""MR without one of its channels, as the generator to CT gets it.

An absent channel is 0 everywhere, which no MR is: around the body it is -1. The first
layer has no bias, so that the network computes what it would without the weights of
this channel. Translation leaves these weights out. The norm behind the first layer
removes gain and offset of the channel that is left. So, but for clipping, it does not
matter that out-of-phase has the scale of in-phase in training, and its own when alone.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from synthct_jax.model.train_state import Params


def draw_present(
    shape: tuple[int, ...], probability: float, key: jax.Array
) -> jax.Array:
    """Draw which channels of MR (n, h, w, c) are present: bool (n, h, 1, c).

    With `probability` an image lacks one channel, each as often as the others. Rows are
    repeated, since they are split over devices.
    """
    n, h, _, c = shape
    share = jax.random.uniform(key, (n, 1)) / probability  # 1 or more: all are present
    present = jnp.floor(c * share) != jnp.arange(c)
    return jnp.broadcast_to(present[:, None, None], (n, h, 1, c))


def leave_out(mr: jax.Array, present: jax.Array) -> jax.Array:
    """Return MR (n, h, w, c) without the channels that are absent."""
    return jnp.where(present, mr, 0)


def take_inputs(to_ct: Params, channels: Sequence[int]) -> Params:
    """Return weights of `to_ct` that take some of its MR channels alone.

    Args:
        to_ct: of one network, or of an ensemble.
        channels: indices of those that stay.
    """
    stem = to_ct["stem"]
    kernel = stem["kernel"][..., np.array(channels), :]
    return {**to_ct, "stem": {**stem, "kernel": kernel}}


def take_outputs(to_mr: Params, channels: Sequence[int]) -> Params:
    """Return weights of `to_mr` that give some of its MR channels alone.

    Arguments are as for `take_inputs`.
    """
    kept = np.array(channels)
    head = {name: array[..., kept] for name, array in to_mr["head"].items()}
    return {**to_mr, "head": head}

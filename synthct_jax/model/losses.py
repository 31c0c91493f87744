"""Terms of the CycleGAN's losses (Zhu et al. 2017, arXiv 1703.10593), pure functions.

`CycleGan.generator_loss` weights and adds adversarial, cycle and identity losses.

All means are over every element; images are NHWC in [-1, 1] and, like the score maps,
float32 whatever the networks compute in.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

ADVERSARIAL = ("lsgan", "vanilla")


def adversarial(
    score: jax.Array,
    *,
    real: bool,
    kind: str,
    mean: Callable[[jax.Array], jax.Array] = jnp.mean,
) -> jax.Array:
    """Return the adversarial loss of scores, against the target real or fake.

    Args:
        kind: `lsgan`, the squared distance to 1 or 0 (Mao et al. 2017), or `vanilla`,
            the binary cross-entropy of the score as a logit (Goodfellow et al. 2014).
        mean: this device's share of the mean over all patches.

    Raises:
        ValueError: the kind is unknown.
    """
    if kind == "lsgan":
        return mean(jnp.square(score - (1.0 if real else 0.0)))
    if kind == "vanilla":
        return mean(jax.nn.softplus(-score if real else score))
    raise ValueError(
        f"loss.adversarial is {kind!r}, expected one of {', '.join(ADVERSARIAL)}"
    )


def mean_absolute(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the mean absolute difference, each channel weighted alike."""
    return jnp.mean(jnp.abs(a - b))


def identity_input(image: jax.Array, channels: int) -> jax.Array:
    """Return an image of one domain as input of the generator that leads to it.

    The identity loss asks `to_ct(ct) = ct`, which needs as many input channels as the
    MR has. With equal counts this is the image itself, as in the reference; otherwise
    its channels are averaged to one, and that one is repeated `channels` times: the
    generator is asked to leave alone what already looks like its output in every
    channel. Shapes: (n, h, w, c) -> (n, h, w, channels).
    """
    if image.shape[-1] == channels:
        return image
    mean = jnp.mean(image, axis=-1, keepdims=True)
    return jnp.repeat(mean, channels, axis=-1)

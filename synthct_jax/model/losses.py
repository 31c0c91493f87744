"""Terms of the CycleGAN's losses (Zhu et al. 2017, arXiv 1703.10593), pure functions.

`CycleGan.generator_loss` weights and adds adversarial, cycle and identity losses.

All means are over every element; images are NHWC in [-1, 1] and, like the score maps,
float32 whatever the networks compute in.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from input_pipeline.intensity import Knots, hu_to_unit

ADVERSARIAL = ("lsgan", "vanilla")


class TissueRange(NamedTuple):
    """T1-weighted MR intensities that identify a tissue, and the tissue's CT range.

    A pixel is of the tissue if it meets the conditions on `mean`, `least` and `most`,
    with MR rescaled from [-1, 1] to [0, 1].

    Attributes:
        mean: range of the mean over channels, exclusive.
        least: lower limit of the minimum over channels, exclusive.
        most: upper limit of the maximum over channels, exclusive.
        ct: range of the CT, in [-1, 1].
    """

    mean: tuple[float, float]
    least: float
    most: float
    ct: tuple[float, float]


def tissue_ranges(knots: Knots, fat: float) -> tuple[TissueRange, ...]:
    """Return the MR and CT ranges of fat, soft tissue, and gas or lung, in this order.

    Fat has the highest T1-weighted signal. Soft tissue has signal in every channel,
    unlike fatty tissue, whose water and fat cancel out of phase. Bone, pixels with
    partial volume and masked air match no range. The fractions of `fat` were chosen on
    the validation subjects of the phantom.

    Args:
        knots: `config.data.ct_knots`, the map from HU to [-1, 1].
        fat: intensity above which MR shows fat, 0 to 1 of its scale.
    """
    ranges = (
        ((fat, 2.0), 0.0, 2.0, (-130.0, -70.0)),
        ((0.42 * fat, 0.75 * fat), 0.33 * fat, 2.0, (0.0, 160.0)),
        ((1e-6, 0.17 * fat), -1.0, 0.17 * fat, (-1000.0, -750.0)),
    )
    return tuple(
        TissueRange(mean, least, most, tuple(map(float, hu_to_unit(hu, knots))))
        for mean, least, most, hu in ranges
    )


def tissue_masks(mr: jax.Array, ranges: tuple[TissueRange, ...]) -> list[jax.Array]:
    """Return the pixels where MR shows each tissue, bool (n, h, w, 1).

    Args:
        mr: (n, h, w, c), in [-1, 1].
        ranges: see `tissue_ranges`.
    """
    share = (mr + 1) / 2
    mean = share.mean(axis=-1, keepdims=True)
    least, most = (f(share, axis=-1, keepdims=True) for f in (jnp.min, jnp.max))
    masks = []
    for tissue in ranges:
        low, high = tissue.mean
        shows = (mean > low) & (mean < high)
        shows &= (least > tissue.least) & (most < tissue.most)
        masks.append(shows)
    return masks


def outside_ranges(
    ct: jax.Array, mr: jax.Array, ranges: tuple[TissueRange, ...]
) -> jax.Array:
    """Return the mean distance of CT from the range of the tissue that the MR shows.

    Pixels whose MR matches no tissue count as 0.

    Args:
        ct: synthetic CT (n, h, w, 1), in [-1, 1].
        mr: the MR (n, h, w, c) that it was translated from, in [-1, 1].
        ranges: see `tissue_ranges`.
    """
    distance = jnp.zeros_like(ct)
    for tissue, shows in zip(ranges, tissue_masks(mr, ranges), strict=True):
        low, high = tissue.ct
        outside = jnp.maximum(low - ct, 0) + jnp.maximum(ct - high, 0)
        distance += jnp.where(shows, outside, 0)
    return jnp.mean(distance)


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

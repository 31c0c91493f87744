"""The method: a CycleGAN between MR of any number of channels and CT.

`to_ct` and `to_mr` are the generators, the discriminators `ct` and `mr` judge images of
those domains (Zhu et al. 2017).

It is anchored if pairs of MR and CT have a weight, simulated ones or those of people
who have both on one grid: they teach `to_ct` what each tissue is, while the unpaired
images teach what images look like.

Two terms keep the anatomy without any pairs. `tissue_ranges` holds the HU of what the
brightness of the MR leaves no doubt about. Noise on the images in the middle of a cycle
keeps them from hiding there what they do not show (Bashkirova et al. 2019, arXiv
1908.01517; the noise, not the discriminator).

With channel dropout `to_ct` gets some MR without one phase: real ones, those of pairs
and synthetic ones on the way back to CT. All other MR are complete: what a cycle is
compared with, and what is judged.
"""

import dataclasses
from functools import partial
from typing import Any

import jax

from input_pipeline.intensity import Knots
from synthct_jax.model import losses, noise
from synthct_jax.model.method import Method
from synthct_jax.model.train_state import Batch, Metrics, Params

# Pairs that a batch may have beside its images. Each gives its name to the field of
# `config.loss` that is its weight, to its images, and to the term of the loss.
PAIRS = ("simulated", "paired")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CycleGan(Method):
    """Two generators and the weights of their losses.

    `identity` is a fraction of the cycle losses' weights. `fat_threshold` is the
    intensity above which MR shows fat, 0 to 1 of its scale.
    """

    cycle_mr: float = 10.0
    cycle_ct: float = 10.0
    identity: float = 0.0
    tissue_ranges: float = 0.0
    noise_ct: float = 0.0
    noise_mr: float = 0.0
    knots: Knots
    fat_threshold: float

    @classmethod
    def _own_fields(cls, config: Any) -> dict[str, Any]:
        names = ("cycle_mr", "cycle_ct", "identity")
        names += ("tissue_ranges", "fat_threshold", "noise_ct", "noise_mr")
        return {
            "domains": ("ct", "mr"),
            "pair_weights": {p: config.loss[p] for p in PAIRS if config.loss[p]},
            "knots": config.data.ct_knots,
            **{name: config.loss[name] for name in names},
        }

    def draw_noise(self, batch: Batch, key: jax.Array) -> Batch:
        """Return noise for the synthetic images of both cycles, and gain for MR."""
        names = ("ct", *noise.KEYS)
        keys = dict(zip(names, jax.random.split(key, len(names)), strict=True))
        drawn = {}
        if self.noise_ct:
            normal = jax.random.normal(keys["ct"], batch["ct"].shape)
            drawn["noise_ct"] = self.noise_ct * normal
        if self.noise_mr:
            drawn |= noise.draw_mr_noise(batch["mr"].shape, self.noise_mr, keys)
        return drawn

    def generator_loss(
        self,
        generators: dict[str, Params],
        discriminators: dict[str, Params],
        batch: Batch,
    ) -> tuple[jax.Array, tuple[Metrics, dict[str, jax.Array]]]:
        """Return the total loss; its weighted terms, and the synthetic images."""
        mr, ct = batch["mr"], batch["ct"]

        to_ct = partial(self._apply, self.to_ct, generators["to_ct"])
        to_mr = partial(self._apply, self.to_mr, generators["to_mr"])

        ct_as_input = losses.identity_input(ct, self.mr_channels)
        mr_as_input = losses.identity_input(mr, 1)
        mr_input = self._to_ct_input(mr, batch)
        synthetic_ct, *same_ct = (
            to_ct(mr_input, ct_as_input) if self.identity else to_ct(mr_input)
        )
        synthetic_mr, *same_mr = to_mr(ct, mr_as_input) if self.identity else to_mr(ct)
        synthetic = {"ct": synthetic_ct, "mr": synthetic_mr}
        terms = {
            f"adversarial_{domain}": self._adversarial_loss(
                discriminators[domain], image, real=True
            )
            for domain, image in synthetic.items()
        }
        (cycled_mr,) = to_mr(synthetic_ct + batch.get("noise_ct", 0))
        if self.noise_mr:
            synthetic_mr = noise.add_mr_noise(synthetic_mr, batch)
        synthetic_mr = self._to_ct_input(synthetic_mr, batch)
        names = (f"{pairs}_mr" for pairs in self.pair_weights)
        mr_of_pairs = (self._to_ct_input(batch[name], batch, name) for name in names)
        cycled_ct, *ct_of_pairs = to_ct(synthetic_mr, *mr_of_pairs)
        terms["cycle_mr"] = self.cycle_mr * losses.mean_absolute(cycled_mr, mr)
        terms["cycle_ct"] = self.cycle_ct * losses.mean_absolute(cycled_ct, ct)
        if self.identity:
            weight_ct = self.identity * self.cycle_ct
            weight_mr = self.identity * self.cycle_mr
            terms["identity_ct"] = weight_ct * losses.mean_absolute(same_ct[0], ct)
            terms["identity_mr"] = weight_mr * losses.mean_absolute(same_mr[0], mr)
        if self.tissue_ranges:
            ranges = losses.tissue_ranges(self.knots, self.fat_threshold)
            outside = losses.outside_ranges(synthetic_ct, mr, ranges)
            terms["tissue_ranges"] = self.tissue_ranges * outside
        for (pairs, weight), paired_ct in zip(
            self.pair_weights.items(), ct_of_pairs, strict=True
        ):
            error = losses.mean_absolute(paired_ct, batch[f"{pairs}_ct"])
            terms[f"{pairs}_ct"] = weight * error
        return sum(terms.values()), (terms, synthetic)

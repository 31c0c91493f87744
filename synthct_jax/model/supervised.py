"""The supervised network: the same generator, trained on pairs.

On the phantom's own pairs it bounds what an unpaired network of this size could reach
with this input. It needs MR and CT of one person on one grid, which hardly any clinic
has and every phantom.
"""

import dataclasses
from typing import Any, ClassVar

import jax
from jax.sharding import Mesh

from synthct_jax.model import losses
from synthct_jax.model.adversarial import AdversarialMethod
from synthct_jax.model.train_state import Batch, Metrics, Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class Supervised(AdversarialMethod):
    """The generator `to_ct`, with a discriminator if the adversarial loss has a weight.

    Optimisers and schedule are the CycleGAN's.
    """

    adversarial_weight: float = 0.0

    translate_back: ClassVar[None] = None  # there is no generator from CT to MR
    simulated: ClassVar[float] = 0.0  # simulated pairs are the batch itself

    @classmethod
    def from_config(
        cls, config: Any, *, mesh: Mesh | None = None, platform: str | None = None
    ) -> "Supervised":
        """Build from a configuration, see `methods.from_config`."""
        shared = cls.shared_fields(config, mesh=mesh, platform=platform)
        weight = config.loss.supervised_adversarial
        return cls(
            **shared | {"to_mr": None},
            domains=("ct",) if weight else (),
            adversarial_weight=weight,
        )

    def generator_loss(
        self,
        generators: dict[str, Params],
        discriminators: dict[str, Params],
        batch: Batch,
    ) -> tuple[jax.Array, tuple[Metrics, dict[str, jax.Array]]]:
        """Return the total loss; its weighted terms, and the images to be judged."""
        (synthetic_ct,) = self._apply(self.to_ct, generators["to_ct"], batch["mr"])
        terms = {"supervised_ct": losses.mean_absolute(synthetic_ct, batch["ct"])}
        if not self.domains:
            return terms["supervised_ct"], (terms, {})
        terms["adversarial_ct"] = self.adversarial_weight * self._adversarial_loss(
            discriminators["ct"], synthetic_ct, real=True
        )
        return sum(terms.values()), (terms, {"ct": synthetic_ct})

"""The supervised network: the same generator, trained on pairs.

On the phantom's own pairs it bounds what an unpaired network of this size could reach
with this input. It needs MR and CT of one person on one grid, which hardly any clinic
has and every phantom.
"""

import dataclasses
from typing import Any

import jax

from synthct_jax.model import losses
from synthct_jax.model.method import Method
from synthct_jax.model.train_state import Batch, Metrics, Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class Supervised(Method):
    """The generator `to_ct`, with a discriminator if the adversarial loss has a weight.

    Optimisers and schedule are the CycleGAN's.
    """

    adversarial_weight: float = 0.0

    @classmethod
    def _own_fields(cls, config: Any) -> dict[str, Any]:
        weight = config.loss.supervised_adversarial
        domains = ("ct",) if weight else ()
        return {"to_mr": None, "domains": domains, "adversarial_weight": weight}

    def generator_loss(
        self,
        generators: dict[str, Params],
        discriminators: dict[str, Params],
        batch: Batch,
    ) -> tuple[jax.Array, tuple[Metrics, dict[str, jax.Array]]]:
        """Return the total loss; its weighted terms, and the images to be judged."""
        mr = self._to_ct_input(batch["mr"], batch)
        (synthetic_ct,) = self._apply(self.to_ct, generators["to_ct"], mr)
        terms = {"supervised_ct": losses.mean_absolute(synthetic_ct, batch["ct"])}
        if not self.domains:
            return terms["supervised_ct"], (terms, {})
        terms["adversarial_ct"] = self.adversarial_weight * self._adversarial_loss(
            discriminators["ct"], synthetic_ct, real=True
        )
        return sum(terms.values()), (terms, {"ct": synthetic_ct})

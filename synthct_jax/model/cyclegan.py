"""The method: a CycleGAN between MR of any number of channels and CT.

`to_ct` and `to_mr` are the generators, the discriminators `ct` and `mr` judge images of
those domains (Zhu et al. 2017).

It is anchored if simulated pairs of MR and CT have a weight: they teach `to_ct` what
each tissue is, while the unpaired images teach what images look like.
"""

import dataclasses
from functools import partial
from typing import Any

import jax

from synthct_jax.model import losses
from synthct_jax.model.method import Method
from synthct_jax.model.train_state import Batch, Metrics, Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class CycleGan(Method):
    """Two generators and the weights of their losses.

    `identity` is a fraction of the cycle losses' weights. With a weight `simulated` the
    batch has pairs `simulated_mr` and `simulated_ct` as well.
    """

    cycle_mr: float = 10.0
    cycle_ct: float = 10.0
    identity: float = 0.0

    @classmethod
    def _own_fields(cls, config: Any) -> dict[str, Any]:
        names = ("cycle_mr", "cycle_ct", "identity", "simulated")
        return {"domains": ("ct", "mr")} | {name: config.loss[name] for name in names}

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
        synthetic_ct, *same_ct = to_ct(mr, ct_as_input) if self.identity else to_ct(mr)
        synthetic_mr, *same_mr = to_mr(ct, mr_as_input) if self.identity else to_mr(ct)
        synthetic = {"ct": synthetic_ct, "mr": synthetic_mr}
        terms = {
            f"adversarial_{domain}": self._adversarial_loss(
                discriminators[domain], image, real=True
            )
            for domain, image in synthetic.items()
        }
        simulated_mr = [batch["simulated_mr"]] if self.simulated else []
        (cycled_mr,) = to_mr(synthetic_ct)
        cycled_ct, *of_simulated = to_ct(synthetic_mr, *simulated_mr)
        terms["cycle_mr"] = self.cycle_mr * losses.mean_absolute(cycled_mr, mr)
        terms["cycle_ct"] = self.cycle_ct * losses.mean_absolute(cycled_ct, ct)
        if self.identity:
            weight_ct = self.identity * self.cycle_ct
            weight_mr = self.identity * self.cycle_mr
            terms["identity_ct"] = weight_ct * losses.mean_absolute(same_ct[0], ct)
            terms["identity_mr"] = weight_mr * losses.mean_absolute(same_mr[0], mr)
        if self.simulated:
            error = losses.mean_absolute(of_simulated[0], batch["simulated_ct"])
            terms["simulated_ct"] = self.simulated * error
        return sum(terms.values()), (terms, synthetic)

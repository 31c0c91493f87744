"""The distilled network: one generator that learns the CT of its teacher.

The teacher is an ensemble, or one network and several views of each slice. Its mean is
closer to the truth than a single translation, and costs as many. The student sees the
MR, with noise if that has a weight, and the mean of the clean MR is its target: one
pass translates (Hinton et al. 2015, arXiv 1503.02531; here of images, by L1).
"""

import dataclasses
from typing import Any

import jax

from synthct_jax.model import losses, noise
from synthct_jax.model.method import Method
from synthct_jax.model.train_state import Batch, Metrics, Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distilled(Method):
    """The generator `to_ct`; `ct` of a batch is the teacher's CT of its `mr`."""

    noise_mr: float = 0.0

    @classmethod
    def _own_fields(cls, config: Any) -> dict[str, Any]:
        return {"to_mr": None, "domains": (), "noise_mr": config.loss.noise_mr}

    def draw_noise(self, batch: Batch, key: jax.Array) -> Batch:
        """Return noise and gain for the MR, if they have a standard deviation."""
        if not self.noise_mr:
            return {}
        keys = jax.random.split(key, len(noise.KEYS))
        named = dict(zip(noise.KEYS, keys, strict=True))
        return noise.draw_mr_noise(batch["mr"].shape, self.noise_mr, named)

    def generator_loss(
        self,
        generators: dict[str, Params],
        discriminators: dict[str, Params],
        batch: Batch,
    ) -> tuple[jax.Array, tuple[Metrics, dict[str, jax.Array]]]:
        """Return the error against the teacher, as a term as well; no images."""
        mr = batch["mr"]
        if self.noise_mr:
            mr = noise.add_mr_noise(mr, batch)
        mr = self._to_ct_input(mr, batch)
        (synthetic_ct,) = self._apply(self.to_ct, generators["to_ct"], mr)
        error = losses.mean_absolute(synthetic_ct, batch["ct"])
        return error, ({"distilled_ct": error}, {})

"""The guard of a training: judges its validations, and says how the run goes on.

All that it knows is in each checkpoint, and is a function of the steps before. So a
resumed run gets the same judgements as one that never stopped.
"""

import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from synthct_jax.checkpoint.metadata import FIRED
from synthct_jax.evaluation.detectors import PREFIX, faults

# Discriminator losses of scores that do not depend on the image.
_CHANCE = {"lsgan": 0.25, "vanilla": math.log(2)}


class RollBack(Exception):
    """The training goes on from an earlier checkpoint; the reason is its text."""


class StoppedByGuard(RuntimeError):
    """The training ends here, because a guard fired."""


class Guard:
    """The judge of one training.

    Attributes:
        policy: `train.guard`.
        faults: those of the last validation that count; descriptions.
        roll_backs: all so far: {'step', 'to', 'reason'}.
        stopped: why the training stops here; empty: it goes on.
    """

    def __init__(self, config: ConfigDict, saved: Mapping[str, Any] | None = None):
        """Start anew, or from what `to_json` returned for a checkpoint."""
        saved = saved or {}
        self.policy = config.train.guard
        self.faults: list[str] = []
        self.roll_backs: list[dict[str, Any]] = list(saved.get("roll_backs", ()))
        self.stopped: str = saved.get("stopped", "")
        self._train = config.train
        self._chance = _CHANCE[config.loss.adversarial]
        # Since the last validation; the least mean of all losses between two of them.
        self._sums: dict[str, float] = dict(saved.get("sums", {}))
        self._steps: int = saved.get("steps", 0)
        self._least: float | None = saved.get("least")

    def to_json(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "roll_backs": self.roll_backs,
            "stopped": self.stopped,
            "sums": self._sums,
            "steps": self._steps,
            "least": self._least,
        }

    @property
    def may_roll_back(self) -> bool:
        """True if the configuration asks for a further roll-back."""
        few = len(self.roll_backs) < self._train.roll_backs
        return self.policy == "roll_back" and few

    def add(self, losses: Mapping[str, float]) -> None:
        """Add the losses of a step."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._steps += 1

    def judge(self, step: int, values: Mapping[str, float]) -> dict[str, float]:
        """Judge a validation; return all values of detectors as its metrics.

        Args:
            values: those of images, by name in `detectors.DETECTORS`.

        Returns:
            The values as `guard_NAME`, and as FIRED how many are faults, 0 before
            `train.guard_after`.
        """
        values = {**values, **self._judge_losses()}
        judged = step >= self._train.guard_after * self._train.steps
        self.faults = faults(values) if judged else []
        metrics = {f"{PREFIX}{name}": value for name, value in values.items()}
        return metrics | {FIRED: float(len(self.faults))}

    def _judge_losses(self) -> dict[str, float]:
        """Return values of the losses since the last validation, and forget them.

        Discriminator losses are relative to those of chance; the sum of all losses is
        relative to its least mean between two earlier validations.
        """
        if not self._steps:
            return {}
        means = {name: total / self._steps for name, total in self._sums.items()}
        values = {
            name: mean / self._chance
            for name, mean in means.items()
            if name.startswith("discriminator_")
        }
        total = math.fsum(means.values())  # in any order of the names
        least = total if self._least is None else self._least
        values["loss_growth"] = total / max(least, 1e-9)
        self._sums, self._steps, self._least = {}, 0, min(least, total)
        return values

    def report(self, reason: str) -> str:
        """Return the line about the end of a training that a fault has stopped."""
        history = "".join(
            f"; before, it was rolled back at step {past['step']} to {past['to']} "
            f"({past['reason']})"
            for past in self.roll_backs
        )
        return f"stopped by train.guard={self.policy}: {reason}{history}"

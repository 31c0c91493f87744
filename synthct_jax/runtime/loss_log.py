"""Losses of a training: fetched one step late, checked, averaged and written."""

import math
from collections.abc import Callable, Mapping

import jax

from synthct_jax.runtime.metric_writer import MetricWriter
from synthct_jax.runtime.progress import Progress


class LossLog:
    """The losses of the steps, fetched when the next step was dispatched.

    So reading numbers never makes the devices wait.
    """

    def __init__(
        self,
        writer: MetricWriter,
        progress: Progress,
        *,
        every: int,
        last_step: int,
        learning_rate: Callable[[int], jax.Array],
        observe: Callable[[Mapping[str, float]], None],
    ):
        """Write means of the losses every `every` steps, and at `last_step`.

        `observe` gets those of every step.
        """
        self._observe = observe
        self._writer, self._progress = writer, progress
        self._every, self._last_step = every, last_step
        self._learning_rate = learning_rate
        self._pending: tuple[int, dict[str, jax.Array]] | None = None
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, step: int, losses: dict[str, jax.Array]) -> bool:
        """Fetch the losses of the step before, then keep those of a dispatched step.

        Returns whether the step before was logged.
        """
        logged = self.fetch()
        self._pending = (step, losses)
        return logged

    def fetch(self) -> bool:
        """Show the losses of the last dispatched step; return whether they are logged.

        Raises:
            FloatingPointError: a loss is not finite.
        """
        if self._pending is None:
            return False
        (step, arrays), self._pending = self._pending, None
        losses = {name: float(v) for name, v in jax.device_get(arrays).items()}
        if not all(math.isfinite(value) for value in losses.values()):
            raise FloatingPointError(
                f"training diverged: at step {step} the losses are "
                f"{format_values(losses)}. "
                "This step is not saved; a lower train.learning_rate may help"
            )
        self._observe(losses)
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if step % self._every and step != self._last_step:
            self._progress.step(step, losses)
            return False
        means = {name: total / self._count for name, total in self._sums.items()}
        self._sums, self._count = {}, 0
        self._progress.step(step, means, logged=True)
        with jax.transfer_guard("allow"):
            rate = float(self._learning_rate(step - 1))  # the one that it used
        extra = {"learning_rate": rate}
        if self._progress.steps_per_second:
            extra["steps_per_second"] = self._progress.steps_per_second
        self._writer.write_scalars(step, means | extra)
        return True


def format_values(values: Mapping[str, float]) -> str:
    """Return names and values in one line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())

"""Stopping between two steps, when the scheduler or the user asks for it."""

import signal
from types import FrameType

import jax
from orbax.checkpoint import multihost

from synthct_jax.runtime import environment


class Preemption:
    """Remembers SIGTERM and SIGINT while it is entered.

    A single process listens itself. A second SIGINT, of an impatient user, ends it at
    once; a second SIGTERM, which some schedulers send, does not. Of several processes
    JAX's preemption service hears SIGTERM in any, after `listen`, and names one step at
    which all of them stop; SIGINT ends them.
    """

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Preemption":
        if jax.process_count() == 1:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def listen(self, step: int) -> None:
        """All processes have come to the loop; `step` is the last that is done."""
        if jax.process_count() > 1:
            environment.hear_of_preemption(step)

    def reached(self, step: int) -> str | None:
        """Why to stop after step `step`; None: go on. The same in every process."""
        if self._signal is not None:
            return self._signal.name
        if jax.process_count() > 1 and multihost.reached_preemption(step):
            return "a preemption notice"
        return None

    def _remember(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._signal = self._signal or signal.Signals(number)
        if number == signal.SIGINT:
            self._restore()

    def _restore(self) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)

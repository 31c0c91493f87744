"""Stopping between two steps, when the scheduler or the user asks for it."""

import contextlib
import signal
from types import FrameType

import jax
from orbax.checkpoint import multihost

from synthct_jax.runtime import processes, signals


class Preemption:
    """Remember SIGTERM and SIGINT after `listen`, for a loop to stop in good order.

    Before, they raise `signals.Stopped`: there is nothing to save. A single process
    catches both. A second SIGINT, of an impatient user, ends it at once; a second
    SIGTERM, which some schedulers send, does not. In several processes JAX's preemption
    service, started by `listen`, catches SIGTERM in any of them and names one step at
    which all of them stop; SIGINT ends them.
    """

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None
        self._listening = False
        self._previous: dict[signal.Signals, object] = {}
        self._patience = contextlib.ExitStack()

    def __enter__(self) -> "Preemption":
        if jax.process_count() == 1:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        self._patience.close()
        while self._previous:
            signal.signal(*self._previous.popitem())

    def listen(self, step: int) -> None:
        """Remember signals from now on; SIGTERM to one process stops all of them.

        Call it when the loop starts; all processes wait for each other here.

        On a signal, JAX's service fixes the step to stop at, once: the one after the
        last step that it was asked about, or step 1 if it was never asked. A resumed
        run is past step 1 and would never stop. So the service is asked about `step`,
        the last finished step, at once.
        """
        if jax.process_count() == 1:
            self._listening = True
            self._patience.enter_context(signals.patience())
            return
        from jax._src import distributed  # has no public name

        jax.config.update("jax_enable_preemption_service", True)
        distributed.global_state.initialize_preemption_sync_manager()
        multihost.reached_preemption(step)
        processes.barrier("SIGTERM is caught in every process")

    def reached(self, step: int) -> str | None:
        """Return the reason to stop after step `step`, the same in every process."""
        if self._signal is not None:
            return self._signal.name
        if jax.process_count() > 1 and multihost.reached_preemption(step):
            return "a preemption notice"
        return None

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if not self._listening:
            signals.raise_stopped(number, frame)
        self._signal = self._signal or signal.Signals(number)
        if number == signal.SIGINT:  # the next one ends the process
            signal.signal(number, self._previous.pop(number))

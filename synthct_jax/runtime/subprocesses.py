"""Running modes of synthct_jax.main in processes of their own.

The memory of a mode is free again when its process ends, and an error in it ends
nothing else.
"""

import contextlib
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

from synthct_jax.runtime import signals

MAIN = (sys.executable, "-m", "synthct_jax.main")
_POLL_SECONDS = 0.1


class SubprocessRunner:
    """Run one process after another; pass on SIGINT and SIGTERM while entered."""

    def __init__(self, command: Sequence[str] = MAIN, *, grace_seconds: float = 1.0):
        """Prepare to run `command` with different arguments.

        A signal is passed on as SIGTERM after `grace_seconds`: a terminal and some
        schedulers signal the child as well, and it may have ended by then.
        """
        self._command = tuple(command)
        self._grace_seconds = grace_seconds
        self._signals = 0
        self._previous: dict[signal.Signals, object] = {}
        self._patience = contextlib.ExitStack()

    def __enter__(self) -> "SubprocessRunner":
        self._patience.enter_context(signals.patience())
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._count)
        return self

    def __exit__(self, *_: object) -> None:
        self._patience.close()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def stopped(self) -> bool:
        """True after a signal: start nothing more."""
        return self._signals > 0

    def run(self, *arguments: str) -> int:
        """Print the command, run it, and return its status as a shell gives it.

        At a signal a training saves before it ends; a second signal kills any mode.
        """
        print(
            f"\n$ {shlex.join(['python', *self._command[1:], *arguments])}", flush=True
        )
        with subprocess.Popen([*self._command, *arguments]) as process:
            status = self._wait(process)
        return status if status >= 0 else 128 - status

    def _wait(self, process: subprocess.Popen) -> int:
        deadline, passed_on = None, False
        while True:
            try:
                return process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                pass
            if self._signals and deadline is None:
                deadline = time.monotonic() + self._grace_seconds
            if self._signals > 1:
                process.kill()
            elif self._signals and not passed_on and time.monotonic() > deadline:
                process.terminate()
                passed_on = True

    def _count(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._signals += 1

"""Running modes of synthct_jax.main in processes of their own.

The memory of a mode is free again when its process ends, and an error in it ends
nothing else.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

MAIN = (sys.executable, "-m", "synthct_jax.main")
STOPPED = os.EX_TEMPFAIL  # the status of a mode that has saved and can be resumed
_POLL_SECONDS = 0.1


class SubprocessRunner:
    """Run one process after another; pass on SIGINT and SIGTERM while entered."""

    def __init__(self, command: Sequence[str] = MAIN, *, grace_seconds: float = 1.0):
        """Prepare to run `command` with different arguments.

        A signal is passed on after `grace_seconds`: a terminal and some schedulers
        signal the child as well, and a second SIGINT would end it in a save.
        """
        self._command = tuple(command)
        self._grace_seconds = grace_seconds
        self._signals = 0
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> "SubprocessRunner":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._count)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def stopped(self) -> bool:
        """True after a signal: start nothing more."""
        return self._signals > 0

    def run(self, *arguments: str) -> int:
        """Print the command, run it, and return its status as a shell gives it.

        At a signal a training saves before it ends; a second signal ends any mode.
        """
        print(
            f"\n$ {shlex.join(['python', *self._command[1:], *arguments])}", flush=True
        )
        with subprocess.Popen([*self._command, *arguments]) as process:
            status = self._wait(process)
        return status if status >= 0 else 128 - status

    def _wait(self, process: subprocess.Popen) -> int:
        deadline, passed_on, terminated, can_save = None, False, False, False
        while True:
            try:
                return process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                pass
            # A training catches SIGTERM once it has something to save.
            catches = _catches_sigterm(process.pid)
            can_save |= catches
            if self._signals and deadline is None:
                deadline = time.monotonic() + self._grace_seconds
            if self._signals > 1 and not terminated:
                process.terminate()
                terminated = True
            elif self._signals and not passed_on and time.monotonic() > deadline:
                if catches:
                    process.terminate()
                elif not can_save:
                    process.send_signal(signal.SIGINT)  # removes unfinished output
                passed_on = True

    def _count(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._signals += 1


def _catches_sigterm(pid: int) -> bool:
    """Return whether a process catches SIGTERM, True where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        caught = next(line for line in lines if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    except (OSError, StopIteration):
        return True

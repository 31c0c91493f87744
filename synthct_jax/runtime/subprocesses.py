"""A mode of synthct_jax.main in a process of its own, as a user would start it.

Memory is free again when it ends, and what goes wrong in it ends nothing else.
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
STOPPED = os.EX_TEMPFAIL  # the status of a mode that has saved and will go on
_POLL_SECONDS = 0.1


class Children:
    """Starts one after another; while entered, SIGINT and SIGTERM are passed on."""

    def __init__(self, command: Sequence[str] = MAIN, *, patience_seconds: float = 1.0):
        self._command = tuple(command)
        # A terminal and some schedulers signal the child as well, and a second SIGINT
        # would end it in the middle of saving: it gets this time to hear of the first.
        self._patience_seconds = patience_seconds
        self._signals = 0
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Children":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def stopped(self) -> bool:
        """Whether a signal came: nothing else is to be started."""
        return self._signals > 0

    def run(self, *arguments: str) -> int:
        """Prints the command, runs it, and returns its status as a shell gives it.

        A training that is asked to stop saves first. A second signal ends other modes.
        """
        print(
            f"\n$ {shlex.join(['python', *self._command[1:], *arguments])}", flush=True
        )
        with subprocess.Popen([*self._command, *arguments]) as process:
            status = self._wait(process)
        return status if status >= 0 else 128 - status

    def _wait(self, process: subprocess.Popen) -> int:
        patience, asked, ended, saves = None, False, False, False
        while True:
            try:
                return process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                pass
            # A training catches SIGTERM once it has something to save.
            waits = _catches_sigterm(process.pid)
            saves |= waits
            if self._signals and patience is None:
                patience = time.monotonic() + self._patience_seconds
            if self._signals > 1 and not ended:
                process.terminate()
                ended = True
            elif self._signals and not asked and time.monotonic() > patience:
                if waits:
                    process.terminate()
                elif not saves:
                    process.send_signal(signal.SIGINT)  # removes what is half done
                asked = True

    def _remember(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._signals += 1


def _catches_sigterm(pid: int) -> bool:
    """Whether a process handles SIGTERM itself; True where the system does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        caught = next(line for line in lines if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    except (OSError, StopIteration):
        return True

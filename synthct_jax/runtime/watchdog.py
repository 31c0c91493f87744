"""Ending a process that hangs, with the stacks of all its threads on standard error."""

import faulthandler
import sys
import time


class Watchdog:
    """End the process with status 1 after too long without a sign of life.

    It is asleep until the first call of `alive`, and from `disarm` until the next call,
    so that a compilation may take as long as it needs. Python's faulthandler waits in a
    thread without the interpreter's lock, so it also notices a main thread that is
    stuck in a collective or in a file system.
    """

    def __init__(self, seconds: float):
        """Watch for silences longer than `seconds`; 0 watches for none."""
        self._seconds = seconds
        # Arming starts a thread: not at every one of a hundred steps a second.
        self._rearm_seconds = min(1.0, seconds / 10)
        self._armed_at = float("-inf")

    def __enter__(self) -> "Watchdog":
        return self

    def __exit__(self, *_: object) -> None:
        self.disarm()

    def disarm(self) -> None:
        """Expect no sign of life until the next one; return at once."""
        if self._seconds:
            faulthandler.cancel_dump_traceback_later()
        self._armed_at = float("-inf")

    def alive(self) -> None:
        """Give a sign of life, after a step, a validation or a save."""
        now = time.monotonic()
        if not self._seconds or now - self._armed_at < self._rearm_seconds:
            return
        self._armed_at = now
        faulthandler.dump_traceback_later(
            self._seconds, exit=True, file=sys.__stderr__ or sys.stderr
        )

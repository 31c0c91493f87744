"""Notices a process that hangs, and ends it with all its stacks on standard error."""

import faulthandler
import sys
import time


class Watchdog:
    """Ends the process, status 1, when nothing is heard of it for too long.

    It sleeps until the first sign of life, and whenever it is told to until the next,
    so that a compilation may take as long as it likes. Python's faulthandler waits in a
    thread without the interpreter's lock: a main thread that is stuck in a collective
    or in a file system is noticed as well.
    """

    def __init__(self, seconds: float):
        """seconds: of silence; 0 switches it off."""
        self._seconds = seconds
        # Arming starts a thread: not at every one of a hundred steps a second.
        self._rearm_seconds = min(1.0, seconds / 10)
        self._armed_at = float("-inf")

    def __enter__(self) -> "Watchdog":
        return self

    def __exit__(self, *_: object) -> None:
        self.sleep()

    def sleep(self) -> None:
        if self._seconds:
            faulthandler.cancel_dump_traceback_later()
        self._armed_at = float("-inf")

    def alive(self) -> None:
        """A step, a validation or a save has ended."""
        now = time.monotonic()
        if not self._seconds or now - self._armed_at < self._rearm_seconds:
            return
        self._armed_at = now
        faulthandler.dump_traceback_later(
            self._seconds, exit=True, file=sys.__stderr__ or sys.stderr
        )

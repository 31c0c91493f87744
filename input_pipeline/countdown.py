"""Count, rate and time left of a series of tasks, as lines for the log."""

import time
from collections.abc import Callable

from absl import logging


class Countdown:
    """The state of a series of tasks."""

    def __init__(
        self,
        total: int,
        unit: str,
        *,
        done: int = 0,
        every_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Start the clock.

        Args:
            total: number of tasks, with those that are done already.
            unit: name of the tasks in the plural: 'scans'.
            done: number of those that are done already, which the rate leaves out.
            every_seconds: least time between two lines but the last.
        """
        self._total, self._unit = total, unit
        self._every_seconds = every_seconds
        self._clock = clock
        self._started = self._logged = clock()
        self._done = self._done_before = done

    def log(self, name: str = "", *, count: int = 1, new: bool = True) -> None:
        """Count tasks as done, and log how far the series is.

        Args:
            name: name of the last of these tasks, for the line.
            new: whether they took their time; False if they were done already.
        """
        self._done += count
        self._done_before += 0 if new else count
        now = self._clock()
        if self._done < self._total and now - self._logged < self._every_seconds:
            return
        self._logged = now
        logging.info("%s", self._describe(now - self._started) + (name and f": {name}"))

    def _describe(self, seconds: float) -> str:
        text = f"{self._done} of {self._total} {self._unit}"
        new = self._done - self._done_before
        if self._done >= self._total or seconds <= 0 or not new:
            return text
        rate = new / seconds
        pace = f"{rate:.1f} {self._unit}/s" if rate >= 1 else f"{1 / rate:.1f} s each"
        left = format_seconds((self._total - self._done) / rate)
        return f"{text}, {pace}, {left} left"


def format_seconds(seconds: float) -> str:
    """Return a time as hours:minutes:seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"

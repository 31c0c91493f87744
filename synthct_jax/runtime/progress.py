"""Progress of a training on standard error.

A terminal shows one line that is redrawn after each step: step, rate, time left and
losses. A file or a job's log gets a plain line for each logged step.
"""

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from input_pipeline.countdown import format_seconds

_REDRAW_SECONDS = 0.1
_SHORT = {"adversarial": "adv", "discriminator": "disc"}  # to fit a terminal's line
_MEMORY = 0.95  # of the moving average of the time of a step


class Progress:
    """The display of a run of `total` steps that starts after step `start`."""

    def __init__(
        self,
        total: int,
        *,
        start: int = 0,
        shown: bool = True,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._total, self._step = total, start
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._shown = shown  # in one of several processes
        self._last_step_at: float | None = None
        self._drawn_at = float("-inf")
        self._seconds_per_step: float | None = None
        self._line_is_open = False

    @property
    def steps_per_second(self) -> float | None:
        """Moving average; None until two steps have ended; the first compiles."""
        return 1 / self._seconds_per_step if self._seconds_per_step else None

    def step(
        self, step: int, losses: Mapping[str, float], *, logged: bool = False
    ) -> None:
        """Show the losses of a finished step; without a terminal only if logged."""
        now = self._clock()
        if self._last_step_at is not None and step > self._step:
            seconds = (now - self._last_step_at) / (step - self._step)
            old = self._seconds_per_step
            self._seconds_per_step = (
                seconds if old is None else _MEMORY * old + (1 - _MEMORY) * seconds
            )
        self._last_step_at, self._step = now, step
        if not self._shown:
            return
        if self._stream.isatty():
            if logged or now - self._drawn_at >= _REDRAW_SECONDS:
                self._drawn_at = now
                columns = shutil.get_terminal_size().columns
                line = self._describe(losses)[: columns - 1]
                self._stream.write(f"\r\x1b[K{line}")
                self._stream.flush()
                self._line_is_open = True
        elif logged:
            print(self._describe(losses), file=self._stream, flush=True)

    def pause(self) -> None:
        """Leave the next step out of the rate, since something else comes before it."""
        self._last_step_at = None

    def note(self, text: str) -> None:
        """Print a line that is not redrawn, below the progress so far."""
        self.finish()
        if self._shown:
            print(text, file=self._stream, flush=True)

    def finish(self) -> None:
        """End the line that is redrawn, so that other output starts on a new one."""
        if self._line_is_open:
            self._stream.write("\n")
            self._stream.flush()
            self._line_is_open = False

    def _describe(self, losses: Mapping[str, float]) -> str:
        texts = [f"step {self._step}/{self._total}"]
        if rate := self.steps_per_second:
            texts.append(
                f"{rate:.2f} steps/s" if rate >= 1 else f"{1 / rate:.1f} s/step"
            )
            texts.append(f"{format_seconds((self._total - self._step) / rate)} left")
        for name, value in losses.items():
            for long, short in _SHORT.items():
                name = name.replace(long, short)
            texts.append(f"{name} {value:.3g}")
        return "  ".join(texts)

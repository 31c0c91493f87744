"""SIGINT and SIGTERM while the program is imported, before `signals.catch`.

Imports take some tenths of a second, on a busy machine a second.
"""

import multiprocessing
import os
import signal
from types import FrameType


def catch() -> None:
    """Let the signals end this process at once, with a line: nothing is written yet.

    A worker process of the program is left as it is.
    """
    if multiprocessing.parent_process() is not None:
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)


def _end(number: int, _: FrameType | None) -> None:
    os.write(2, f"Stopped by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)

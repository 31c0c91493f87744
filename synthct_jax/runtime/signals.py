"""SIGINT (Ctrl-C) and SIGTERM: a mode ends within seconds, and leaves nothing half."""

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from input_pipeline import files

RESUMABLE = 75  # exit status: stopped after saving, the same command goes on
GUARDED = 3  # exit status: a guard has stopped the training
SECONDS = 3.0  # until the handler has run
CLEANUP_SECONDS = 10.0  # until the process has ended then
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOPPED = (RESUMABLE, *(128 + number for number in _SIGNALS))
"""Exit statuses of a mode that a signal has stopped."""

_handled = threading.Event()
_numbers: list[int] = []  # of the signal that was handled
_patient = threading.Event()


class Stopped(SystemExit):
    """A signal has come: unfinished outputs are removed while this passes.

    The status is a shell's for a program that a signal ended.
    """

    def __init__(self, number: int):
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


def catch() -> None:
    """Let SIGINT and SIGTERM raise Stopped from now on, in the main thread.

    Python calls a handler between two of its own instructions: a compilation or a long
    computation in C++ would put it off for minutes. After SECONDS of that, or
    CLEANUP_SECONDS of ending, a thread removes unfinished outputs and ends the process.
    """
    for number in _SIGNALS:
        signal.signal(number, raise_stopped)
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    # The writer must outlive this call: its thread holds it.
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, writer), daemon=True).start()


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """Wait for other handlers of the signals, however long a computation takes."""
    _patient.set()
    try:
        yield
    finally:
        _patient.clear()


def abort(status: int, reason: str = "") -> NoReturn:
    """End this process at once, without what is done at an ordinary exit.

    There JAX waits for the other processes, which wait for this one in a collective, if
    it alone had an error; and XLA's threads may crash where a signal interrupted them.
    """
    if reason:
        print(reason, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def raise_stopped(number: int, frame: FrameType | None) -> None:
    """Handle the first signal; others must not interrupt the removal of outputs."""
    if _handled.is_set():
        return
    _handled.set()
    _numbers.append(number)
    if _is_called_from_c(frame):
        _end(number)
    raise Stopped(number)


def reraise() -> None:
    """Raise Stopped if a signal has come: C code may have made another error of it."""
    if _numbers:
        raise Stopped(_numbers[0])


def _is_called_from_c(frame: FrameType | None) -> bool:
    """Return whether C code on the call stack would not propagate an exception.

    Two cases are recognised by name: imports, as extension modules that import
    others abort the process (SIGABRT) on an exception; and JAX's callback of garbage
    collection, whose exceptions Python ignores.
    """
    while frame is not None:
        code = frame.f_code
        if "importlib._bootstrap" in code.co_filename or "_gc_" in code.co_name:
            return True
        frame = frame.f_back
    return False


def _end(number: int) -> NoReturn:
    """Remove unfinished outputs and end this process and its workers at once."""
    for process in multiprocessing.active_children():
        process.kill()
    files.remove_unfinished()
    abort(128 + number, f"Stopped by {signal.Signals(number).name}")


def _watch(reader: socket.socket, writer: socket.socket) -> None:
    while received := reader.recv(1):
        number = received[0]
        if number not in _SIGNALS or _patient.is_set():
            continue
        handled = _handled.wait(SECONDS)
        if _patient.is_set():
            continue
        if handled:
            time.sleep(CLEANUP_SECONDS)
        _end(number)
    writer.close()

import os
import signal
import threading

import pytest

from synthct_jax.runtime import signals
from synthct_jax.runtime.preemption import Preemption


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_is_remembered_and_the_handlers_are_restored(number):
    before = signal.getsignal(number)
    with Preemption() as preemption:
        preemption.listen(0)
        assert preemption.reached(1) is None
        os.kill(os.getpid(), number)
        assert preemption.reached(2) == number.name
        assert preemption.reached(3) == number.name
    assert signal.getsignal(number) == before


def test_second_sigint_ends_the_process_but_a_second_sigterm_does_not():
    before = signal.getsignal(signal.SIGINT)
    with Preemption() as preemption:
        preemption.listen(0)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.reached(1) == "SIGTERM"
        os.kill(os.getpid(), signal.SIGINT)
        assert preemption.reached(2) == "SIGTERM"
        assert signal.getsignal(signal.SIGINT) == before  # a second one is not caught


def test_signal_before_the_loop_stops_at_once(monkeypatch):
    monkeypatch.setattr(signals, "_handled", threading.Event())
    monkeypatch.setattr(signals, "_numbers", [])
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(signals.Stopped), Preemption():
        os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before

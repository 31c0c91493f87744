import os
import signal

import pytest

from synthct_jax.preemption import Preemption


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_remembered_once_and_handlers_come_back(number):
    before = signal.getsignal(number)
    with Preemption() as preemption:
        assert preemption.reached(1) is None
        os.kill(os.getpid(), number)
        assert preemption.reached(2) == number.name
        assert preemption.reached(3) == number.name
        assert signal.getsignal(number) == before  # a second one ends the process
    assert signal.getsignal(number) == before

"""Pools of processes that end with the process that started them."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator

_SILENCE = "ignore:resource_tracker:UserWarning"


@contextlib.contextmanager
def worker_pool(workers: int) -> Iterator[concurrent.futures.Executor]:
    """Yield a pool of processes.

    After an error no further job begins; after a signal those that run are abandoned.
    """
    others = set(multiprocessing.active_children())
    # After a kill Python's tracker of semaphores removes them, and need not say so.
    if _SILENCE not in sys.warnoptions:
        sys.warnoptions.append(_SILENCE)
    # Spawned, not forked: jax's threads may be running in this process.
    with concurrent.futures.ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_end_with_parent,
    ) as pool:
        try:
            yield pool
        except Exception:
            pool.shutdown(cancel_futures=True)
            raise
        except BaseException:  # Ctrl-C and SIGTERM as well
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.kill()
            raise


def _end_with_parent() -> None:
    """Leave Ctrl-C to the first process, and end when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()

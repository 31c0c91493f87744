"""Freed memory, which glibc keeps for reuse; with another C library nothing happens."""

import ctypes
import os

from synthct_jax.runtime.environment import is_tuning_allowed


def keep_freed_memory() -> None:
    """Make glibc keep what a training step frees for the next step.

    It helps small networks, whose arrays are below 64 MiB, the size of a thread's
    arena. Call it after the step was compiled: memory of the compiler is returned to
    the system first, 0.6 GiB for a step of full size. See mallopt(3). Only returns
    that memory if the user has set a MALLOC_ variable; does nothing without tuning.
    """
    libc = ctypes.CDLL(None)
    if not is_tuning_allowed() or not hasattr(libc, "mallopt"):
        return
    return_freed_memory()
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, -1)  # never
    libc.mallopt(top_pad, 64 * 2**20)


def return_freed_memory() -> None:
    """Return all freed memory to the system now."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

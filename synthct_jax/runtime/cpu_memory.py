"""Settings of glibc: huge pages from Linux, and freed memory kept for reuse.

Every function does nothing on other systems and with other C libraries.
"""

import ctypes
import os
import sys
from pathlib import Path

from synthct_jax.runtime.environment import is_tuning_allowed

_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_huge_pages() -> None:
    """Replace this process by the same program with huge pages, at most once.

    XLA allocates a step's temporary arrays in one piece and frees it again, gigabytes
    each time. With pages of 4 kB every page costs a fault: a third of a step's time on
    a CPU. glibc reads its settings when a program starts, hence `exec`; the arguments
    and the process id stay.
    """
    if settings := huge_page_environment():
        os.environ.update(settings)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def huge_page_environment() -> dict[str, str]:
    """Return the variables that make glibc use transparent huge pages.

    Empty if the user has set GLIBC_TUNABLES, if glibc is too old (before 2.35), or
    if the kernel gives huge pages to everybody or to nobody.
    """
    try:
        policy = _HUGE_PAGES.read_text()
        name, _, version = os.confstr("CS_GNU_LIBC_VERSION").partition(" ")
    except (OSError, ValueError, AttributeError):  # no Linux, or another C library
        return {}
    known = name == "glibc" and tuple(map(int, version.split("."))) >= (2, 35)
    if not known or "[madvise]" not in policy or "GLIBC_TUNABLES" in os.environ:
        return {}
    return {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def keep_freed_memory() -> None:
    """Make glibc keep what a training step frees for the next step.

    It helps small networks, whose arrays are below 64 MiB, the size of a thread's
    arena. Call it after the step was compiled: memory of the compiler is returned to
    the system first, 0.6 GiB for a step of full size. See mallopt(3). Does nothing if
    the user has set a MALLOC_ variable, or has forbidden tuning.
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

"""CPUs that this process may run on."""

import os


def cpu_count() -> int:
    """Return the number of CPUs in the process' affinity, or of all without one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

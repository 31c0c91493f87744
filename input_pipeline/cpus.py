"""CPUs that this process may run on."""

import os


def usable_cpus() -> list[int]:
    """Return the CPUs of the process' affinity, or all where there is no such thing."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))

"""What must be in the environment before JAX starts, and the start of several hosts."""

import ctypes
import importlib.metadata
import importlib.util
import os
from pathlib import Path

# XLA's CPU compiler fuses convolutions with their neighbours into code that is about
# three times slower than the separate operations; an empty list switches that off.
CPU_FUSION_FLAG = "--xla_cpu_experimental_ynn_fusion_type="
# An XLA flag that a release does not know aborts the process: only where it was tried.
_FUSION_FLAG_RELEASES = ("0.10.",)


def prepare_environment() -> None:
    """Sets what JAX, XLA and the allocator read once, unless the user has set it.

    To be called before jax is imported; does not import it.
    """
    _keep_freed_memory()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's chatter, not its errors
    # Compiled programs are kept: a resumed run or a second translation starts at once.
    os.environ.setdefault(
        "JAX_COMPILATION_CACHE_DIR",
        str(Path("~/.cache/synthct_jax/xla").expanduser()),
    )
    flags = os.environ.get("XLA_FLAGS", "")
    release = importlib.metadata.version("jaxlib")
    if (
        CPU_FUSION_FLAG.rstrip("=") not in flags
        and release.startswith(_FUSION_FLAG_RELEASES)
        # libtpu reads XLA_FLAGS as well, with an XLA of another release.
        and importlib.util.find_spec("libtpu") is None
    ):
        os.environ["XLA_FLAGS"] = f"{flags} {CPU_FUSION_FLAG}".strip()


def _keep_freed_memory() -> None:
    """Has glibc keep what a step frees for the next one, instead of returning it.

    XLA allocates a step's temporary arrays anew each time on a CPU, and each new page
    costs a fault: a third of the time of a small network's step. See mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's, on Linux
    if mallopt is None or any(name.startswith("MALLOC_") for name in os.environ):
        return
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 64 * 2**20)


def join_other_processes() -> None:
    """Joins the other processes of the run, where there are any.

    Slurm, Open MPI, Kubernetes and TPU pods are detected by JAX; elsewhere set
    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.

    Raises:
        Whatever JAX raises where there are other processes and joining them failed.
        It is not swallowed: each would train on its own, into the same folder.
    """
    import jax

    # JAX itself reads the address only.
    count, index = os.environ.get("JAX_NUM_PROCESSES"), os.environ.get("JAX_PROCESS_ID")
    try:
        jax.distributed.initialize(
            num_processes=None if count is None else int(count),
            process_id=None if index is None else int(index),
        )
    except ValueError as error:
        if "coordinator_address should be defined" not in str(error):
            raise

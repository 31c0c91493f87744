"""What must be in the environment before JAX starts, and the start of several hosts.

All that is set for a platform is here, and nothing that the user has set is touched:

CPU   three XLA flags, and how glibc gets memory, and what it does with freed memory.
GPU   one XLA flag. Not set, since it costs speed: --xla_gpu_deterministic_ops=true,
      without which two runs on GPUs are not equal bit for bit.
TPU   nothing: libtpu overlaps collectives with computation by itself, its flags are not
      documented, and it reads XLA_FLAGS as well, with an XLA of another release, which
      ends the process at a flag that it does not know. LIBTPU_INIT_ARGS is the user's.
"""

import ctypes
import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path
from typing import NoReturn

CPU_FLAGS = (
    # XLA fuses convolutions with their neighbours into code that is about three times
    # slower than the separate operations; an empty list switches that off.
    "--xla_cpu_experimental_ynn_fusion_type=",
    # It allocates what the backward pass adds up in, and copies of Adam's moments, at
    # the beginning of a step. With these it does late, or not at all: a tenth of the
    # memory, the same results to the last bit (docs/speed.md).
    "--xla_cpu_scheduler_type=CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
    "--xla_cpu_copy_insertion_use_region_analysis=true",
)
# Gradients are reduced while the next layers' are computed: off by default, advised in
# docs.jax.dev/en/latest/gpu_performance_tips.html, and set in NVIDIA's images of JAX.
GPU_OVERLAP_FLAG = "--xla_gpu_enable_latency_hiding_scheduler=true"
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_RELEASES = ("0.10.",)  # of jaxlib


def prepare_environment() -> None:
    """Sets what JAX, XLA and the allocator read once, unless the user has set it.

    To be called before jax is imported; does not import it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's chatter, not its errors
    # Compiled programs are kept: a resumed run or a second translation starts at once,
    # but for those with products by oneDNN, which cannot be stored (`onednn`).
    # A program for CPUs is compiled for as many as the process may use, and JAX's key
    # does not say how many: one for a single CPU would stay with it ever after.
    folder = Path("~/.cache/synthct_jax/xla").expanduser() / f"{_usable_cpus()}_cpus"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    wanted = [*CPU_FLAGS] + [GPU_OVERLAP_FLAG] * has_gpu_plugin()
    flags = os.environ.get("XLA_FLAGS", "")
    # A flag that an XLA does not know aborts the process.
    if release_was_tried() and importlib.util.find_spec("libtpu") is None:
        missing = [flag for flag in wanted if flag.split("=")[0] not in flags]
        if missing:
            os.environ["XLA_FLAGS"] = " ".join([flags, *missing]).strip()


def release_was_tried() -> bool:
    """Whether what JAX and XLA do not promise was seen to hold in this jaxlib."""
    return importlib.metadata.version("jaxlib").startswith(_RELEASES)


def use_huge_pages() -> None:
    """Starts this program anew, once, where glibc is to be told of huge pages.

    XLA asks for a step's temporary arrays in one piece and gives it back, gigabytes
    each time. On a CPU a page of 4 kB then costs a fault each: a third of a step's
    time. To be called first of all by a program; its arguments and process stay.
    """
    if wanted := huge_pages():
        os.environ.update(wanted)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def huge_pages() -> dict[str, str]:
    """What glibc must find in the environment to ask for them, where they are for those
    who ask; nothing where the user has set it, or it would not help."""
    try:
        policy = _HUGE_PAGES.read_text()
        name, _, version = os.confstr("CS_GNU_LIBC_VERSION").partition(" ")
    except (OSError, ValueError, AttributeError):  # no Linux, or another C library
        return {}
    known = name == "glibc" and tuple(map(int, version.split("."))) >= (2, 35)
    if not known or "[madvise]" not in policy or "GLIBC_TUNABLES" in os.environ:
        return {}
    return {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def _usable_cpus() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def has_gpu_plugin() -> bool:
    """Whether JAX will look for NVIDIA GPUs, as far as is known without it."""
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms and not {"cuda", "gpu"} & set(platforms.split(",")):
        return False
    plugins = ("jax_cuda13_plugin", "jax_cuda12_plugin")
    return any(importlib.util.find_spec(name) is not None for name in plugins)


def keep_freed_memory() -> None:
    """From now on glibc keeps what a step frees for the next one.

    For what is smaller than 64 MiB, the arena of a thread: the steps of small networks.
    To be called when the step is compiled: what the compiler took goes back to the
    system first, 0.6 GiB for a step of full size. See mallopt(3).
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):  # glibc's, on Linux
        return
    return_freed_memory()
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, -1)  # never
    libc.mallopt(top_pad, 64 * 2**20)


def return_freed_memory() -> None:
    """Gives the system what is free now."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's, on Linux
    if trim is not None:
        trim(0)


def join_other_processes() -> None:
    """Joins the other processes of the run, where there are any.

    Slurm, Open MPI and TPU pods are detected by JAX. Elsewhere, and where they should
    not be, set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID: then
    each process has all devices of its machine.

    Raises:
        ValueError: only some of the three variables are set, or no numbers.
        Whatever JAX raises where there are other processes and joining them failed.
        It is not swallowed: each would train on its own, into the same folder.
    """
    import jax

    told = _told_by_the_environment()
    # SIGTERM keeps its meaning until `hear_of_preemption`.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            **told,
            # Nothing is left to detect, but for one device a process by Slurm's count.
            cluster_detection_method="deactivate" if told else None,
        )
    except ValueError as error:
        if "coordinator_address should be defined" not in str(error):
            raise


def _told_by_the_environment() -> dict[str, int]:
    """What JAX does not read itself of three variables that belong together."""
    names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    values = {name: os.environ.get(name, "") for name in names}
    missing = [name for name, value in values.items() if not value]
    if len(missing) == len(names):
        return {}
    if missing:
        present = " and ".join(name for name in names if name not in missing)
        raise ValueError(
            f"{present} without {' and '.join(missing)}: set all three, or none where "
            "the cluster is detected"
        )
    for name in names[1:]:
        if not values[name].isdecimal():
            raise ValueError(f"{name}={values[name]!r}, expected a number")
    return {
        "num_processes": int(values["JAX_NUM_PROCESSES"]),
        "process_id": int(values["JAX_PROCESS_ID"]),
    }


def hear_of_preemption(step: int) -> None:
    """From now on SIGTERM to one of several processes is told to all.

    The service names the step after the last that it was asked of, once and for all,
    and step 1 if it was asked of none: never reached by a run that goes on from a
    checkpoint. So it starts here, and is asked of `step`, the last that is done.
    """
    import jax
    from jax._src import distributed  # has no public name
    from orbax.checkpoint import multihost

    jax.config.update("jax_enable_preemption_service", True)
    distributed.global_state.initialize_preemption_sync_manager()
    multihost.reached_preemption(step)
    wait_for_others("SIGTERM is heard by all")


def has_joined_others() -> bool:
    """Whether this is one of several processes; does not import jax for that."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def leave_others(status: int) -> NoReturn:
    """Ends this process at once, after an error that may be its own alone.

    At its ordinary end JAX would wait for the others, which wait for it in a
    collective.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def wait_for_others(what: str) -> None:
    """Returns when all processes of the run have come here, in an hour at most.

    A barrier of the coordinator's. A collective is none: on CPUs the first one fails
    when a process is more than 30 s late.
    """
    import jax
    from orbax.checkpoint import multihost

    if jax.process_count() > 1:
        everyone = set(range(jax.process_count()))
        multihost.sync_global_processes(what, timeout=3600, processes=everyone)

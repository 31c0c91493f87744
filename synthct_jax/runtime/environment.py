"""Environment variables that tune a process: of glibc, JAX and XLA.

They are read when a program starts. What the user has set stays. For each platform:

CPU   three XLA flags; on Linux huge pages.
GPU   one XLA flag. Not set because it costs speed: --xla_gpu_deterministic_ops=true,
      without which two runs on GPUs are not equal bit for bit.
TPU   nothing. libtpu overlaps collectives with computation by itself and its flags are
      not documented. It also reads XLA_FLAGS, by an XLA of another release, and ends
      the process at a flag that it does not know. LIBTPU_INIT_ARGS is the user's.
"""

import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from input_pipeline.cpus import cpu_count
from input_pipeline.damage import describe_error

CPU_FLAGS = (
    # XLA fuses convolutions with their neighbours into code that is about three times
    # slower than the separate operations; an empty list switches that off.
    "--xla_cpu_experimental_ynn_fusion_type=",
    # By default XLA allocates the accumulators of the backward pass, and copies of
    # Adam's moments, at the beginning of a step. These two flags delay or avoid that: a
    # tenth of the memory, the same results to the last bit (docs/speed.md).
    "--xla_cpu_scheduler_type=CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
    "--xla_cpu_copy_insertion_use_region_analysis=true",
)
# Reduces gradients while the gradients of the next layer are computed. Off by default,
# advised by docs.jax.dev/en/latest/gpu_performance_tips.html, set in NVIDIA's images.
GPU_OVERLAP_FLAG = "--xla_gpu_enable_latency_hiding_scheduler=true"
# Packages that JAX reaches a device through, one of them.
_CUDA_PLUGINS = ("jax_cuda13_plugin", "jax_cuda12_plugin")
DEVICES = {"cpu": ("jaxlib",), "gpu": _CUDA_PLUGINS, "tpu": ("libtpu",)}
TESTED_JAX = "0.10."
_TUNE = "SYNTHCT_TUNE"  # inherited by the processes that this one starts
_SWITCHES_OFF = ("--notune", "--tune=false", "--tune=f", "--tune=0")
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def tune_process(arguments: Sequence[str]) -> None:
    """Tune this process: huge pages, flags of XLA, the cache of compiled programs.

    Call it before jax is imported. The process may start anew, by `exec`, once. What
    has to wait for a later moment asks `is_tuning_allowed`. With `--notune` among the
    arguments, which absl parses later, nothing is tuned, nor in child processes.
    """
    if any("--" + a.lower().lstrip("-") in _SWITCHES_OFF for a in arguments):
        os.environ[_TUNE] = "0"
    if is_tuning_allowed():
        restart_with_huge_pages()
        set_environment()


def is_tuning_allowed() -> bool:
    """Return whether this process may use what JAX and XLA do not promise."""
    return os.environ.get(_TUNE) != "0"


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


def set_environment() -> None:
    """Set what NumPy, JAX and XLA read when they start, unless the user has set it.

    Call it before numpy and jax are imported; it imports neither.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's chatter, not its errors
    # An evaluation factors thousands of matrices of some hundred rows: 1 ms each with
    # one thread of NumPy's library, 3 ms with two.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Compiled programs are kept: a resumed run or a second translation starts at once.
    # A program for CPUs is compiled for the number of usable CPUs, which is no part of
    # JAX's key: a program for one CPU would be used on any number of them.
    folder = Path("~/.cache/synthct_jax/xla").expanduser() / f"{cpu_count()}_cpus"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    flags = [*CPU_FLAGS] + [GPU_OVERLAP_FLAG] * has_gpu_plugin()
    user_flags = os.environ.get("XLA_FLAGS", "")
    # XLA aborts the process at a flag that it does not know.
    if is_tested_jax() and importlib.util.find_spec("libtpu") is None:
        missing = [flag for flag in flags if flag.split("=")[0] not in user_flags]
        if missing:
            os.environ["XLA_FLAGS"] = " ".join([user_flags, *missing]).strip()


def is_tested_jax() -> bool:
    """Return whether the installed jax and jaxlib are of a tested series of releases.

    Undocumented flags of XLA and the oneDNN call need one. jax is not imported.
    """
    return all(
        importlib.metadata.version(name).startswith(TESTED_JAX)
        for name in ("jax", "jaxlib")
    )


def has_gpu_plugin() -> bool:
    """Return whether JAX will look for NVIDIA GPUs; does not import jax."""
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms and not {"cuda", "gpu"} & set(platforms.split(",")):
        return False
    return _is_any_installed(_CUDA_PLUGINS)


def choose_device(device: str) -> None:
    """Restrict JAX to a kind of device, one of DEVICES; does not import jax.

    Raises:
        ValueError: the package that JAX needs for it is not installed.
    """
    if not _is_any_installed(DEVICES[device]):
        raise ValueError(
            f"--device={device}: not installed: {' or '.join(DEVICES[device])} "
            "(README, Install)"
        )
    os.environ["JAX_PLATFORMS"] = "cuda" if device == "gpu" else device
    if jax := sys.modules.get("jax"):  # a configuration has imported it
        jax.config.update("jax_platforms", os.environ["JAX_PLATFORMS"])


def require_device(device: str | None) -> None:
    """Start JAX on the kind of device that --device or JAX_PLATFORMS chooses, if any.

    Raises:
        ValueError: this machine has none.
    """
    platforms = os.environ.get("JAX_PLATFORMS")
    if not platforms:
        return
    import jax

    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:  # the first without a message
        choice = f"--device={device}" if device else f"JAX_PLATFORMS={platforms}"
        raise ValueError(
            f"{choice}: this machine has none, or JAX cannot use it. "
            f"{describe_error(error)}"
        ) from error


def _is_any_installed(packages: Sequence[str]) -> bool:
    return any(importlib.util.find_spec(name) is not None for name in packages)

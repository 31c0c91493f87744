"""Environment variables that JAX and XLA read when they start.

What the user has set stays. For each platform:

CPU   three XLA flags.
GPU   one XLA flag. Not set because it costs speed: --xla_gpu_deterministic_ops=true,
      without which two runs on GPUs are not equal bit for bit.
TPU   nothing. libtpu overlaps collectives with computation by itself and its flags are
      not documented. It also reads XLA_FLAGS, by an XLA of another release, and ends
      the process at a flag that it does not know. LIBTPU_INIT_ARGS is the user's.
"""

import importlib.metadata
import importlib.util
import os
from pathlib import Path

from input_pipeline.cpus import usable_cpus

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
_TESTED_RELEASES = ("0.10.",)
_TUNE = "SYNTHCT_TUNE"  # inherited by the processes that this one starts


def forbid_tuning() -> None:
    """Make `is_tuning_allowed` False in this process and in those that it starts."""
    os.environ[_TUNE] = "0"


def is_tuning_allowed() -> bool:
    """Return whether this process may use what JAX and XLA do not promise."""
    return os.environ.get(_TUNE) != "0"


def set_environment() -> None:
    """Set what JAX and XLA read when they start, unless the user has set it.

    Call it before jax is imported; it does not import jax.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's chatter, not its errors
    # Compiled programs are kept: a resumed run or a second translation starts at once.
    # A program for CPUs is compiled for the number of usable CPUs, which is no part of
    # JAX's key: a program for one CPU would be used on any number of them.
    folder = (
        Path("~/.cache/synthct_jax/xla").expanduser() / f"{len(usable_cpus())}_cpus"
    )
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    flags = [*CPU_FLAGS] + [GPU_OVERLAP_FLAG] * has_gpu_plugin()
    user_flags = os.environ.get("XLA_FLAGS", "")
    # XLA aborts the process at a flag that it does not know.
    if is_tested_jax() and importlib.util.find_spec("libtpu") is None:
        missing = [flag for flag in flags if flag.split("=")[0] not in user_flags]
        if missing:
            os.environ["XLA_FLAGS"] = " ".join([user_flags, *missing]).strip()


def is_tested_jax() -> bool:
    """Return whether this JAX was tested with what JAX and XLA do not promise."""
    return all(
        importlib.metadata.version(name).startswith(_TESTED_RELEASES)
        for name in ("jax", "jaxlib")
    )


def has_gpu_plugin() -> bool:
    """Return whether JAX will look for NVIDIA GPUs; does not import jax."""
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms and not {"cuda", "gpu"} & set(platforms.split(",")):
        return False
    plugins = ("jax_cuda13_plugin", "jax_cuda12_plugin")
    return any(importlib.util.find_spec(name) is not None for name in plugins)

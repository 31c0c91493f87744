"""Time and memory of calls, and the best rate of matrix products on a device."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_MATMUL_SIDES = (1024, 2048, 4096)


def time_calls(
    call: Callable[[], Any], *, warm_up: int = 1, rounds: int = 3, seconds: float = 10.0
) -> list[float]:
    """Return the seconds of calls, each until the arrays that it returns are computed.

    After `warm_up` calls, which do not count, there are at least `rounds`; more follow
    until `seconds` have passed.
    """
    for _ in range(warm_up):
        jax.block_until_ready(call())
    times: list[float] = []
    while len(times) < rounds or sum(times) < seconds:
        began = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - began)
    return times


def summarise(times: list[float]) -> dict[str, Any]:
    """Return the median and the quartiles of times, for a report."""
    first, median, third = np.quantile(times, (0.25, 0.5, 0.75)).tolist()
    return {
        "median_seconds": median,
        "quartiles_seconds": (first, third),
        "rounds": len(times),
    }


def matmul_flops_per_second(dtype: jnp.dtype) -> float:
    """Return the best rate of square matrix products, in operations per second."""
    product, best = jax.jit(jnp.matmul), 0.0
    for side in _MATMUL_SIDES:
        a = jnp.ones((side, side), dtype)
        times = time_calls(lambda a=a: product(a, a), seconds=0.5)
        best = max(best, 2 * side**3 / min(times))
    return best


def reset_peak_memory() -> None:
    """Let the peak memory of this process begin anew, if the system supports it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass  # not Linux, or a kernel without it: the peak is that since the start


def peak_memory_bytes() -> int | None:
    """Return the peak memory of the first device, or on a CPU of this process.

    None: the system does not tell.
    """
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("peak_bytes_in_use")
    return process_peak_bytes()


def process_peak_bytes() -> int | None:
    """Return the peak memory of this process, None if not on Linux."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    sizes = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(sizes[0]) * 1024 if sizes else None

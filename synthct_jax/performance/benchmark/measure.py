"""Time and memory of calls, and the best rate of matrix products on a device."""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

_MATMUL_SIDES = (1024, 2048, 4096)


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds of each round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile in seconds; the median if there is one time only."""
        if len(self.seconds) < 2:
            return self.median, self.median
        first, _, third = statistics.quantiles(self.seconds, method="inclusive")
        return first, third

    def as_dict(self) -> dict[str, Any]:
        return {
            "median_seconds": self.median,
            "quartiles_seconds": self.quartiles,
            "rounds": len(self.seconds),
        }


def time_calls(
    call: Callable[[], Any], *, warm_up: int = 1, rounds: int = 3, seconds: float = 10.0
) -> Times:
    """Time calls, each until the arrays that it returns are computed.

    Args:
        warm_up: calls that do not count, before the others.
        rounds: calls that count, at least; more follow until `seconds` have passed.
    """
    for _ in range(warm_up):
        jax.block_until_ready(call())
    times: list[float] = []
    while len(times) < rounds or sum(times) < seconds:
        began = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - began)
    return Times(tuple(times))


def matmul_flops_per_second(dtype: jnp.dtype) -> float:
    """Return the best rate of square matrix products, in operations per second."""
    best = 0.0
    for side in _MATMUL_SIDES:
        a = jnp.ones((side, side), dtype)
        product = jax.jit(jnp.matmul)
        times = time_calls(lambda product=product, a=a: product(a, a), seconds=0.5)
        best = max(best, 2 * side**3 / min(times.seconds))
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
    return process_memory_bytes("VmHWM")


def process_memory_bytes(field: str, pid: int | None = None) -> int | None:
    """Return a process' VmHWM (peak) or VmRSS (now) in bytes; None if not on Linux."""
    try:
        lines = Path(f"/proc/{pid or os.getpid()}/status").read_text().splitlines()
    except OSError:
        return None
    sizes = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(sizes[0]) * 1024 if sizes else None

"""Clocks, memory, and what a device can do at best."""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

_SIDES = (1024, 2048, 4096)  # of the matrices of which products are tried


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds of each round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
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


def repeat(
    call: Callable[[], Any], *, warm_up: int = 1, rounds: int = 3, seconds: float = 10.0
) -> Times:
    """Times of `call`, each until what it returns is there.

    After `warm_up` calls that do not count, at least `rounds` that do, and more until
    `seconds` have passed.
    """
    for _ in range(warm_up):
        jax.block_until_ready(call())
    times: list[float] = []
    while len(times) < rounds or sum(times) < seconds:
        began = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - began)
    return Times(tuple(times))


def peak_flops(dtype: jnp.dtype) -> float:
    """Multiplications and additions a second: the best of square matrix products."""
    best = 0.0
    for side in _SIDES:
        a = jnp.ones((side, side), dtype)
        product = jax.jit(jnp.matmul)
        found = repeat(lambda product=product, a=a: product(a, a), seconds=0.5)
        best = max(best, 2 * side**3 / min(found.seconds))
    return best


def forget_peak() -> None:
    """The peak of this process begins anew, where the system can do that."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass  # no Linux, or a kernel without it: the peak is that since the start


def peak_bytes() -> int | None:
    """The most memory held: of the first device, or of the process where that is a CPU.

    None where nothing tells.
    """
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("peak_bytes_in_use")
    return process_bytes("VmHWM")


def process_bytes(field: str, pid: int | None = None) -> int | None:
    """A size of a process as Linux tells it: VmHWM (peak) or VmRSS (now)."""
    try:
        lines = Path(f"/proc/{pid or os.getpid()}/status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(found[0]) * 1024 if found else None

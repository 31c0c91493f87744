"""Shares of a compiled program's time by kind of operation, on a CPU."""

import collections
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax

KINDS = ("matrix products", "convolutions", "arithmetic", "moving data", "other")
# XLA names a fusion after operations in it. The first kind that matches a word counts.
_PREFIXES = {
    "matrix products": ("dot", "onednn"),
    "convolutions": ("convolution",),
    "arithmetic": ("add", "subtract", "multiply", "divide", "select", "max", "tanh")
    + ("sqrt", "power", "reduce", "compare", "exponential", "log", "convert", "rng"),
    "moving data": ("copy", "transpose", "concatenate", "slice", "pad", "stack")
    + ("broadcast", "bitcast", "reverse", "gather", "scatter", "iota"),
}
_CONTAINERS = ("ThunkExecutor", "Threadpool", "while", "end:", "call")


def time_shares(call: Callable[[], Any]) -> dict[str, float] | None:
    """Profile one call of a compiled program, and return the share of each kind.

    An operation lasts until the next one begins, on whatever thread, so that the time
    in which threads wait for each other counts. None: JAX's profiler has no operations
    of this device.
    """
    with tempfile.TemporaryDirectory(prefix="synthct_jax_profile_") as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(call())
        traces = list(Path(folder).rglob("*.xplane.pb"))
        starts = sorted(event for trace in traces for event in _operations(str(trace)))
    seconds: collections.Counter[str] = collections.Counter()
    for (start, name), (next_start, _) in zip(starts, starts[1:], strict=False):
        seconds[kind_of(name)] += next_start - start
    total = sum(seconds.values())
    return {kind: seconds[kind] / total for kind in KINDS} if total else None


def _operations(trace: str) -> Iterable[tuple[float, str]]:
    """Yield start and name of each operation on the CPU."""
    for plane in jax.profiler.ProfileData.from_file(trace).planes:
        for line in plane.lines:
            if "XLAEigen" in line.name or "PjRtCpu" in line.name:
                for event in line.events:
                    if not event.name.startswith(_CONTAINERS):
                        yield event.start_ns, event.name


def kind_of(name: str) -> str:
    """Return the kind of an operation by its compiled name, such as dot_general.12."""
    words = set(re.split(r"[_.\-$]", name))
    for kind, prefixes in _PREFIXES.items():
        if any(word.startswith(prefixes) for word in words):
            return kind
    return "other"

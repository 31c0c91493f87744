"""Where the time of a compiled program goes, on a CPU: by kind of operation."""

import collections
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax

KINDS = ("matrix products", "convolutions", "arithmetic", "moving data", "other")
# XLA names a fusion after some of the operations in it: the first kind that fits.
_MARKS = {
    "matrix products": ("dot", "onednn"),
    "convolutions": ("convolution",),
    "arithmetic": ("add", "subtract", "multiply", "divide", "select", "max", "tanh")
    + ("sqrt", "power", "reduce", "compare", "exponential", "log", "convert", "rng"),
    "moving data": ("copy", "transpose", "concatenate", "slice", "pad", "stack")
    + ("broadcast", "bitcast", "reverse", "gather", "scatter", "iota"),
}
_NO_OPERATION = ("ThunkExecutor", "Threadpool", "while", "end:", "call")


def share_by_kind(call: Callable[[], Any]) -> dict[str, float] | None:
    """Shares of the time of `call`, a compiled program that ran before, by kind.

    An operation counts from its beginning until another one begins, on whatever
    thread: what threads wait for each other is in it. None where JAX's profiler has no
    CPU operations, as on other devices.
    """
    with tempfile.TemporaryDirectory(prefix="synthct_jax_profile_") as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(call())
        traces = list(Path(folder).rglob("*.xplane.pb"))
        began = sorted(event for trace in traces for event in _operations(str(trace)))
    seconds: collections.Counter[str] = collections.Counter()
    for (start, name), (following, _) in zip(began, began[1:], strict=False):
        seconds[kind(name)] += following - start
    total = sum(seconds.values())
    return {k: seconds[k] / total for k in KINDS} if total else None


def _operations(trace: str) -> Iterable[tuple[float, str]]:
    """When each began, and its name."""
    for plane in jax.profiler.ProfileData.from_file(trace).planes:
        for line in plane.lines:
            if "XLAEigen" in line.name or "PjRtCpu" in line.name:
                for event in line.events:
                    if not event.name.startswith(_NO_OPERATION):
                        yield event.start_ns, event.name


def kind(name: str) -> str:
    """Of an operation, by its name in the compiled program: dot_general.12."""
    words = set(re.split(r"[_.\-$]", name))
    for one, marks in _MARKS.items():
        if any(word.startswith(marks) for word in words):
            return one
    return "other"

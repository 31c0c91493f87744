"""Collectives of a compiled program: kind, mesh axes, bytes, count."""

import dataclasses
import math
import re
from collections import Counter

import numpy as np
from jax.sharding import Mesh

from synthct_jax.performance.plan.chips import HOP_SECONDS, Chip
from synthct_jax.performance.plan.hlo import Array, Instruction, Program

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
    "ragged-all-to-all",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Collective:
    """Equal collectives of one program, counted together."""

    kind: str  # XLA's name, one of KINDS
    axes: tuple[str, ...]  # mesh axes along which the devices of a group differ
    group_size: int  # number of devices that exchange data with each other
    arrays: tuple[Array, ...]  # operands or results, whichever are larger
    bytes: int  # of `arrays`, for one run
    count: int  # runs in a step, those of loops by their trip counts


def find_collectives(program: Program, mesh: Mesh) -> tuple[Collective, ...]:
    """Return all collectives of a program, those that move most bytes first."""
    counts: Counter[Collective] = Counter()
    for instruction, computation, times in program.walk(into_fusions=True):
        kind = instruction.opcode.removesuffix("-start")
        if kind not in KINDS:
            continue
        operands = tuple(
            array
            for name in instruction.operands
            for array in computation[name].results
        )
        results = instruction.results
        if kind != instruction.opcode:
            # A start also returns its operands, and counters of its own.
            results = results[len(operands) :] if kind == "all-gather" else ()
        arrays = max(operands, results, key=_total_bytes)
        groups = _groups(instruction, mesh.size)
        collective = Collective(
            kind=kind,
            axes=_axes(groups, mesh),
            group_size=max(map(len, groups), default=1),
            arrays=arrays,
            bytes=_total_bytes(arrays),
            count=1,
        )
        counts[collective] += times
    merged = [dataclasses.replace(c, count=count) for c, count in counts.items()]
    return tuple(sorted(merged, key=lambda c: -c.bytes * c.count))


def _total_bytes(arrays: tuple[Array, ...]) -> int:
    return sum(array.bytes for array in arrays)


def _groups(instruction: Instruction, devices: int) -> list[list[int]]:
    """Parse the groups of devices that exchange data, as positions in the mesh."""
    text = instruction.attributes
    if "source_target_pairs=" in text:
        pairs = re.search(r"source_target_pairs=\{(.*?)\}\}", text)
        return _lists(pairs[1]) if pairs else []
    if listed := re.search(r"replica_groups=\{(.*?\})?\}", text):
        return _lists(listed[1] or "") or [list(range(devices))]
    iota = re.search(
        r"replica_groups=\[(\d+),(\d+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", text
    )
    if iota:
        count, size, shape, order = iota.groups()
        grid = np.arange(int(count) * int(size)).reshape(_numbers(shape))
        grid = grid.transpose(_numbers(order)) if order else grid
        return grid.reshape(int(count), int(size)).tolist()
    named = re.search(
        r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)"
        r"\))?\))? \{(['\w,]*)\}",
        text,
    )
    if named:
        axes, shape, order, along = named.groups()
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", axes))
        grid = np.arange(devices).reshape(_numbers(shape) if shape else -1)
        grid = grid.transpose(_numbers(order)) if order else grid
        grid = grid.reshape([int(size) for size in sizes.values()])
        inside = [list(sizes).index(axis) for axis in re.findall(r"\w+", along)]
        grid = np.moveaxis(grid, inside, range(-len(inside), 0))
        size = math.prod(grid.shape[-len(inside) :])
        return grid.reshape(-1, size).tolist()
    raise ValueError(
        f"the collective {instruction.name} has no groups of devices in a known "
        f"notation: {text[:200]}"
    )


def _numbers(text: str) -> list[int]:
    return [int(n) for n in text.split(",")]


def _lists(text: str) -> list[list[int]]:
    return [
        _numbers(group)
        for group in re.findall(r"\{?([\d,]+)\}?", text.replace("},{", "} {"))
    ]


def _axes(groups: list[list[int]], mesh: Mesh) -> tuple[str, ...]:
    """Return the mesh axes along which members of a group differ."""
    positions = np.array(np.unravel_index(range(mesh.size), mesh.devices.shape)).T
    differ = np.zeros(len(mesh.axis_names), bool)
    for group in groups:
        differ |= np.ptp(positions[group], axis=0) > 0
    return tuple(np.array(mesh.axis_names)[differ].tolist())


def least_seconds(collective: Collective, chip: Chip) -> float:
    """Return a lower bound of the time of all runs, from link rates and hops.

    A permutation or a broadcast is assumed to reach a neighbour over one link. (A mesh
    numbers devices by host and chip, so some of four that share rows are in fact two
    links apart.)
    Other collectives use rings over all links: an all-reduce of B bytes among n devices
    carries 2 B (n - 1) / n bytes and passes half of each ring twice, the others carry
    and pass half of that.
    """
    n = collective.group_size
    if n == 1:
        return 0.0
    if collective.kind in ("collective-permute", "collective-broadcast"):
        once = collective.bytes / chip.link_rate + HOP_SECONDS
    else:
        passes = 2 if collective.kind == "all-reduce" else 1
        # One ring up to the side of a pod, two crossing rings beyond it.
        sides = (n,) if n <= 16 else (math.sqrt(n),) * 2
        hops = sum(side / 2 for side in sides)
        carried = collective.bytes * (n - 1) / n
        once = passes * (carried / (chip.links * chip.link_rate) + hops * HOP_SECONDS)
    return collective.count * once

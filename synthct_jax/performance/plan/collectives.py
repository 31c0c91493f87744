"""What devices of a compiled program exchange: kind, axes, bytes, how often."""

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
    """One that devices take part in together, and its equals.

    Attributes:
        kind: as XLA calls it.
        axes: of the mesh, along which the devices that exchange something differ.
        group: so many devices exchange something with each other.
        arrays: what one device puts in or gets out, whichever is more.
        bytes: of all arrays, on one device, at one time.
        count: how many times in a step, those of loops by their trip counts.
        scope: the program's own name of where it comes from.
    """

    kind: str
    axes: tuple[str, ...]
    group: int
    arrays: tuple[Array, ...]
    bytes: int
    count: int
    scope: str = ""


def collectives(program: Program, mesh: Mesh) -> tuple[Collective, ...]:
    """All of a program, the largest first; equal ones are counted together."""
    found: Counter[Collective] = Counter()
    for instruction, computation, times in program.walk(into_fusions=True):
        kind = instruction.opcode.removesuffix("-start")
        if kind not in KINDS:
            continue
        given = tuple(
            array
            for name in instruction.operands
            for array in computation[name].results
        )
        # A start returns its operands as well, and numbers of its own.
        taken = () if kind != instruction.opcode else instruction.results
        if kind != instruction.opcode and kind == "all-gather":
            taken = instruction.results[len(given) :]
        arrays = max(given, taken, key=lambda some: sum(a.bytes for a in some))
        groups = _groups(instruction, mesh.size)
        size = max(len(group) for group in groups) if groups else 1
        found[
            Collective(
                kind=kind,
                axes=_axes(groups, mesh),
                group=size,
                arrays=tuple(Array(a.dtype, a.shape) for a in arrays),
                bytes=sum(array.bytes for array in arrays),
                count=1,
                scope=_scope(instruction),
            )
        ] += times
    merged = [dataclasses.replace(one, count=count) for one, count in found.items()]
    return tuple(sorted(merged, key=lambda one: -one.bytes * one.count))


def _groups(instruction: Instruction, devices: int) -> list[list[int]]:
    """Devices, as positions in the mesh, that exchange something with each other.

    Raises:
        ValueError: they are written in a way that is not known.
    """
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
    raise ValueError(f"no groups of devices in {instruction.name}: {text[:200]}")


def _numbers(text: str) -> list[int]:
    return [int(n) for n in text.split(",")]


def _lists(text: str) -> list[list[int]]:
    return [
        _numbers(group)
        for group in re.findall(r"\{?([\d,]+)\}?", text.replace("},{", "} {"))
    ]


def _axes(groups: list[list[int]], mesh: Mesh) -> tuple[str, ...]:
    """Axes along which members of a group lie apart."""
    positions = np.array(np.unravel_index(range(mesh.size), mesh.devices.shape)).T
    apart = np.zeros(len(mesh.axis_names), bool)
    for group in groups:
        apart |= np.ptp(positions[group], axis=0) > 0
    return tuple(
        name for name, differ in zip(mesh.axis_names, apart, strict=True) if differ
    )


def _scope(instruction: Instruction) -> str:
    name = re.search(r'op_name="([^"]*)"', instruction.attributes)
    return name[1] if name else ""


def seconds(collective: Collective, chip: Chip) -> float:
    """The least time that all of its kind take: links at their rate, and the hops.

    A permutation is taken to go to a neighbour over one link: meshes number devices by
    host and chip, so some of four that share rows are two links apart. Others go around
    rings over all links: an all-reduce of B bytes carries 2 B (n - 1) / n, the others
    half of it, and passes half of each ring's devices, once or twice.
    """
    n = collective.group
    if n == 1:
        return 0.0
    if collective.kind in ("collective-permute", "collective-broadcast"):
        once = collective.bytes / chip.link_rate + HOP_SECONDS
    else:
        passes = 2 if collective.kind == "all-reduce" else 1
        # Up to a pod's side it is one ring, beyond it two that cross.
        sides = (n,) if n <= 16 else (math.sqrt(n),) * 2
        hops = sum(side / 2 for side in sides)
        carried = collective.bytes * (n - 1) / n
        once = passes * (carried / (chip.links * chip.link_rate) + hops * HOP_SECONDS)
    return collective.count * once

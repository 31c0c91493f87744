"""Which operations of a compiled TPU program cost most, as its compiler expects."""

import dataclasses
import re
from collections.abc import Iterable

from synthct_jax.performance.plan.hlo import Instruction, Program
from synthct_jax.performance.plan.traffic import moved_by

_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_SOURCE = re.compile(r'op_name="([^"]*)"')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Operation:
    """All instructions of one kind that were made from one place of the source.

    Attributes:
        kind: what the compiler made: `convolution`, which is on the matrix unit with
            whatever was fused into it, or the name of its opcode.
        source: where in the networks, as JAX traced it; empty: the compiler's own.
        count: how often a step runs them.
        cycles: of all, as expected.
        bytes: from and to main memory.
    """

    kind: str
    source: str
    count: int
    cycles: int
    bytes: int


def operations(program: Program) -> list[Operation]:
    """All operations that the compiler says cycles of, the costliest first."""
    found: dict[tuple[str, str], list[int]] = {}
    for instruction, computation, times in program.walk():
        cycles = cycles_of(instruction)
        if not cycles:
            continue
        key = (_kind(program, instruction), _source(instruction))
        sums = found.setdefault(key, [0, 0, 0])
        moved = moved_by(program, instruction, computation)
        for place, value in enumerate((1, cycles, moved)):
            sums[place] += times * value
    rows = [
        Operation(kind=kind, source=source, count=count, cycles=cycles, bytes=moved)
        for (kind, source), (count, cycles, moved) in found.items()
    ]
    return sorted(rows, key=lambda row: -row.cycles)


def on_matrix_unit(found: Iterable[Operation]) -> int:
    """Cycles of convolutions and matrix products."""
    return sum(row.cycles for row in found if row.kind == "convolution")


def cycles_of(instruction: Instruction) -> int:
    """What the compiler expects of one run; 0 where it does not say."""
    found = _CYCLES.search(instruction.attributes)
    return int(found[1]) if found else 0


def _kind(program: Program, instruction: Instruction) -> str:
    if instruction.opcode == "fusion":
        inside = program.computations[instruction.called[0]].values()
        # To the TPU's compiler a matrix product is a convolution as well.
        if any(one.opcode == "convolution" for one in inside):
            return "convolution"
    return instruction.opcode


def _source(instruction: Instruction) -> str:
    found = _SOURCE.search(instruction.attributes)
    if not found:
        return ""
    # The step's own frames are those of every operation.
    frames = found[1].split("/")
    dull = ("shard_map", "closed_call", "while", "body")
    return "/".join(f for f in frames[1:] if f not in dull)

"""Bytes that a compiled program moves to and from main memory."""

from collections.abc import Mapping

from synthct_jax.performance.plan.hlo import Array, Instruction, Program

# They name, group or allocate arrays, or wait for what others move.
_FREE = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "while",
    "call",
    "conditional",
    "after-all",
    "partition-id",
    "replica-id",
    "async-start",
    "opt-barrier",
    "iota",
}
_SLICES = ("slice", "dynamic-slice", "gather")
_FREE_CALLS = ("AllocateBuffer", "ConcatBitcast", "Sharding")


def bytes_moved(
    program: Program, *, loops_once: bool = False, tiled: bool = True
) -> int:
    """What one device reads and writes in a step, every operation for itself.

    Of an array that is only sliced, or that a slice of is overwritten, the slice
    counts. What the compiler keeps in a TPU's vector memory costs nothing. tiled: as
    arrays lie in memory, filled up to whole tiles.
    """
    return sum(
        times * moved_by(program, instruction, computation, tiled=tiled)
        for instruction, computation, times in program.walk(loops_once=loops_once)
    )


def moved_by(
    program: Program,
    instruction: Instruction,
    computation: Mapping[str, Instruction],
    *,
    tiled: bool = True,
) -> int:
    """What one run of an instruction reads and writes; as `bytes_moved`."""
    return sum(
        array.stored_bytes if tiled else array.bytes
        for array in _moved(program, instruction, computation)
        if array.in_main_memory
    )


def _moved(
    program: Program, instruction: Instruction, computation: Mapping[str, Instruction]
) -> list[Array]:
    opcode = instruction.opcode
    operands = [computation[name] for name in instruction.operands]
    if opcode in _FREE or opcode.endswith("-done"):
        return []
    if opcode == "custom-call" and any(
        f'"{name}"' in instruction.attributes for name in _FREE_CALLS
    ):
        return []
    if opcode == "fusion":
        return _moved_by_fusion(program, instruction, operands)
    if opcode == "copy-start":  # from one memory to another, and a semaphore
        target, source, _ = instruction.results
        return [source, target]
    if opcode == "slice-start":
        source, target, _ = instruction.results
        return [target, target.resized(source)]
    if opcode in _SLICES:
        (taken,), source = instruction.results, operands[0].results[0]
        return [taken, taken.resized(source)]
    if opcode == "dynamic-update-slice":
        update = operands[1].results[0]
        return [update, update.resized(instruction.results[0])]
    return [
        *(array for operand in operands for array in operand.results),
        *instruction.results,
    ]


def _moved_by_fusion(
    program: Program, fusion: Instruction, operands: list[Instruction]
) -> list[Array]:
    moved = []
    for place, operand in enumerate(operands):
        moved += _read(program, fusion, place, operand.results[0])
    root = _root(program, fusion)
    inside = program.computations[fusion.called[0]]
    roots = [inside[n] for n in root.operands] if root.opcode == "tuple" else [root]
    for result, made in zip(fusion.results, roots, strict=True):
        update = _update(program, made, inside)
        moved.append(update.resized(result) if update else result)
    return moved


def _root(program: Program, fusion: Instruction) -> Instruction:
    inside = program.computations[fusion.called[0]].values()
    return next(instruction for instruction in inside if instruction.root)


def _read(
    program: Program, fusion: Instruction, place: int, array: Array
) -> list[Array]:
    """What a fusion reads of an operand: all of it, or the slices that it looks at."""
    inside = program.computations[fusion.called[0]]
    names = [
        instruction.name
        for instruction in inside.values()
        if instruction.opcode == "parameter"
        and int(instruction.attributes.partition(")")[0]) == place
    ]
    reads: list[Array] = []
    while names:
        name = names.pop()
        for user in inside.values():
            for position, operand in enumerate(user.operands):
                if operand != name:
                    continue
                if user.opcode == "bitcast":
                    names.append(user.name)
                elif user.opcode == "fusion":
                    reads += _read(program, user, position, array)
                elif user.opcode in _SLICES and position == 0:
                    reads.append(user.results[0].resized(array))
                elif user.opcode != "dynamic-update-slice" or position > 0:
                    return [array]  # what is overwritten in place is not read
    # Overlapping slices are not read more often than there is.
    return reads if sum(read.bytes for read in reads) < array.bytes else [array]


def _update(
    program: Program, made: Instruction, inside: Mapping[str, Instruction]
) -> Array | None:
    """The slice that a result is overwritten with, if it is made in such a way."""
    while made.opcode in ("bitcast", "copy"):
        made = inside[made.operands[0]]
    if made.opcode == "dynamic-update-slice":
        return inside[made.operands[1]].results[0]
    if made.opcode == "fusion":
        root = _root(program, made)
        return _update(program, root, program.computations[made.called[0]])
    return None

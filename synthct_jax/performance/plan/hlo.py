"""Parser of compiled programs as XLA prints them.

XLA's own `cost_analysis` counts the body of a loop once, whatever its trip count, and
leaves out collectives. Here every instruction comes with the number of times it runs.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping

_BITS = {"pred": 8, "token": 0, "opaque": 0}  # other types end in their number of bits
_ARRAY = re.compile(r"\b([a-z]+\d*(?:e\d\w*)?)\[([\d,]*)\]")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
_CALLED = re.compile(
    r"\b(?:calls|to_apply|body|true_computation|false_computation|called_computations|"
    r"branch_computations)=(?:%?([\w.\-]+)|\{([^}]*)\})"
)


@dataclasses.dataclass(frozen=True)
class Array:
    """Type and shape of an array."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Size in bytes, rounded up."""
        bits = _BITS.get(self.dtype)
        if bits is None:
            bits = int(re.match(r"[a-z]+(\d+)", self.dtype)[1])
        return -(-math.prod(self.shape) * bits // 8)


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction of a computation."""

    name: str
    opcode: str
    results: tuple[Array, ...]  # one, or those of a tuple
    operands: tuple[str, ...]  # names of instructions of the same computation
    attributes: str  # the text after the operands

    @functools.cached_property
    def called(self) -> tuple[str, ...]:
        """Names of the computations that the instruction calls."""
        matches = _CALLED.findall(self.attributes)
        return tuple(
            name.strip(" %")
            for single, several in matches
            for name in (single or several).split(",")
            if name
        )


@dataclasses.dataclass(frozen=True)
class Program:
    """Computations by name, each with its instructions by name."""

    entry: str
    computations: Mapping[str, Mapping[str, Instruction]]

    def walk(
        self, name: str = "", times: int = 1, *, into_fusions: bool = False
    ) -> Iterator[tuple[Instruction, Mapping[str, Instruction], int]]:
        """Yield each executed instruction, its computation, and how often it runs.

        Begins with the computation `name`, by default the entry, which runs so many
        times. All branches of a conditional count.
        """
        computation = self.computations[name or self.entry]
        callers = {"while", "call", "conditional", "async-start"}
        callers |= {"fusion"} if into_fusions else set()
        for instruction in computation.values():
            yield instruction, computation, times
            if instruction.opcode in callers:
                is_loop = instruction.opcode == "while"
                runs = times * (self.trip_count(instruction) if is_loop else 1)
                for called in instruction.called:
                    yield from self.walk(called, runs, into_fusions=into_fusions)

    def trip_count(self, loop: Instruction) -> int:
        """Return the number of iterations of a `while` loop.

        It is XLA's `known_trip_count`, or else the bound of a counter that starts at
        zero, as in the loops that `jax.lax.scan` compiles to.

        Raises:
            ValueError: neither is found.
        """
        known = re.search(r'known_trip_count":\{"n":"(\d+)"', loop.attributes)
        if known:
            return int(known[1])
        # Without the compiler's note: the loop counts from zero to its one constant.
        name = re.search(r"condition=%?([\w.\-]+)", loop.attributes)[1]
        bounds = [
            int(instruction.attributes.partition(")")[0])
            for instruction in self.computations[name].values()
            if instruction.opcode == "constant"
            and instruction.results[0].dtype.startswith(("s", "u"))
        ]
        tests = [i.attributes for i, _, _ in self.walk(name, into_fusions=True)]
        if len(bounds) == 1 and any("direction=LT" in test for test in tests):
            return bounds[0]
        raise ValueError(
            f"the compiled program has a loop, {loop.name}, without a trip count that "
            "can be read, expected known_trip_count or a comparison with one constant"
        )


def parse(text: str) -> Program:
    """Parse the text of a compiled program, `compiled.as_text()`."""
    computations, entry, current = {}, "", None
    for line in text.splitlines():
        if line[:1] not in (" ", "}", ""):
            head = _COMPUTATION.match(line)
            if head and not line.startswith("HloModule"):
                current = computations[head[2]] = {}
                entry = head[2] if head[1] else entry
        elif current is not None and (match := _INSTRUCTION.match(line)):
            current[match[1]] = _parse_instruction(match[1], match[2])
    return Program(entry, computations)


def _parse_instruction(name: str, text: str) -> Instruction:
    end = _closing(text) if text.startswith("(") else text.index(" ")
    shape, rest = text[:end], text[end:].strip()  # (f32[2,3]{1,0}, s32[]), for example
    results = tuple(
        Array(dtype, tuple(int(n) for n in lengths.split(",") if n))
        for dtype, lengths in _ARRAY.findall(shape)
    )
    opcode, _, rest = rest.partition("(")
    end = _closing("(" + rest) - 2
    operands = tuple(re.findall(r"%([\w.\-]+)", rest[:end]))
    # The value of a constant stands where other instructions have operands.
    attributes = rest if opcode in ("constant", "parameter") else rest[end + 1 :]
    return Instruction(name, opcode, results, operands, attributes)


def _closing(text: str) -> int:
    """Return the position after the bracket that closes the first one."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return place + 1
    raise ValueError(f"a bracket is not closed: {text[:80]}")

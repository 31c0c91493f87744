"""Reads compiled programs as XLA prints them: what runs, how often, on which arrays.

XLA's own `cost_analysis` counts the body of a loop once, whatever its trip count, and
says nothing of collectives; here every instruction comes with how often it runs.
"""

import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping

_BITS = {"pred": 8, "token": 0, "opaque": 0}  # others end in their number of bits
_ARRAY = re.compile(r"\b([a-z]+\d*(?:e\d\w*)?)\[([\d,]*)\](?:\{([^{}]*)\})?")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_CALLED = re.compile(
    r"\b(?:calls|to_apply|body|true_computation|false_computation|called_computations|"
    r"branch_computations)=(?:%?([\w.\-]+)|\{([^}]*)\})"
)


@dataclasses.dataclass(frozen=True)
class Array:
    """One array of an instruction: its type, shape, and where the compiler keeps it."""

    dtype: str
    shape: tuple[int, ...]
    layout: str = ""

    @property
    def bytes(self) -> int:
        size = 1
        for length in self.shape:
            size *= length
        return -(-size * _bits(self.dtype) // 8)

    @property
    def stored_bytes(self) -> int:
        """In memory, where a TPU fills the two fastest axes up to whole tiles."""
        tile = re.search(r"T\(([\d,]+)\)", self.layout)
        if not tile:
            return self.bytes
        shape = list(self.shape)
        fastest = [int(n) for n in self.layout.partition(":")[0].split(",") if n]
        sizes = [int(n) for n in tile[1].split(",")][::-1]
        for axis, size in zip(fastest, sizes, strict=False):
            shape[axis] = -(-shape[axis] // size) * size
        return dataclasses.replace(self, shape=tuple(shape)).bytes

    @property
    def in_main_memory(self) -> bool:
        """Or else in a TPU's vector memory, which is memory space 1 and others."""
        return re.search(r"S\(\d", self.layout) is None

    def resized(self, like: "Array") -> "Array":
        """As many elements of the array `like`, in the memory where that one is."""
        space = re.search(r"S\(\d+\)", like.layout)
        return dataclasses.replace(
            self, layout=re.sub(r"S\(\d+\)", "", self.layout) + (space or [""])[0]
        )


@dataclasses.dataclass(frozen=True)
class Instruction:
    """results: one array, or those of a tuple. operands: names, in this computation."""

    name: str
    opcode: str
    results: tuple[Array, ...]
    operands: tuple[str, ...]
    attributes: str
    root: bool

    @functools.cached_property
    def called(self) -> tuple[str, ...]:
        names = (one or several for one, several in _CALLED.findall(self.attributes))
        return tuple(
            name.strip(" %") for group in names for name in group.split(",") if name
        )

    @property
    def bytes(self) -> int:
        return sum(array.bytes for array in self.results)


@dataclasses.dataclass(frozen=True)
class Program:
    """Computations by name, each the instructions by name."""

    entry: str
    computations: Mapping[str, Mapping[str, Instruction]]

    def walk(
        self, *, into_fusions: bool = False, loops_once: bool = False
    ) -> Iterator[tuple[Instruction, Mapping[str, Instruction], int]]:
        """What a run executes: instruction, the computation it is in, how many times.

        into_fusions: what is inside of them as well. loops_once: as if all trip counts
        were one. Of a conditional all branches count.
        """
        yield from self._walk(self.entry, 1, into_fusions, loops_once)

    def _walk(
        self, name: str, times: int, into_fusions: bool, loops_once: bool
    ) -> Iterator[tuple[Instruction, Mapping[str, Instruction], int]]:
        computation = self.computations[name]
        for instruction in computation.values():
            yield instruction, computation, times
            inner = times
            match instruction.opcode:
                case "while":
                    inner *= 1 if loops_once else self.trip_count(instruction)
                case "call" | "conditional" | "async-start":
                    pass
                case "fusion" if into_fusions:
                    pass
                case _:
                    continue
            for called in instruction.called:
                yield from self._walk(called, inner, into_fusions, loops_once)

    def trip_count(self, loop: Instruction) -> int:
        """How often the body of a `while` runs, as jax.lax.scan writes it: from zero.

        Raises:
            ValueError: it cannot be read off.
        """
        known = re.search(r'known_trip_count":\{"n":"(\d+)"', loop.attributes)
        if known:
            return int(known[1])
        name = re.search(r"condition=%?([\w.\-]+)", loop.attributes)[1]
        bounds = [
            int(instruction.attributes.partition(")")[0])
            for instruction in self.computations[name].values()
            if instruction.opcode == "constant"
            and instruction.results[0].dtype.startswith(("s", "u"))
        ]
        tests = [i.attributes for c in self._reached(name) for i in c.values()]
        if len(bounds) == 1 and any("direction=LT" in test for test in tests):
            return bounds[0]
        raise ValueError(f"the trip count of {loop.name} is not in the program's text")

    def _reached(self, name: str) -> Iterator[Mapping[str, Instruction]]:
        computation = self.computations[name]
        yield computation
        for instruction in computation.values():
            for called in instruction.called:
                yield from self._reached(called)


def read(text: str) -> Program:
    """The program of `compiled.as_text()`."""
    computations, entry, current = {}, "", None
    for line in text.splitlines():
        if line[:1] not in (" ", "}", ""):
            head = _COMPUTATION.match(line)
            if head and not line.startswith("HloModule"):
                current = computations[head[2]] = {}
                entry = head[2] if head[1] else entry
        elif current is not None and (found := _INSTRUCTION.match(line)):
            current[found[2]] = _instruction(found[2], found[3], bool(found[1]))
    return Program(entry, computations)


def _instruction(name: str, text: str, root: bool) -> Instruction:
    end = _closing(text) if text.startswith("(") else text.index(" ")
    shape, rest = text[:end], text[end:].strip()
    opcode, _, rest = rest.partition("(")
    end = _closing("(" + rest) - 2
    operands = tuple(re.findall(r"%([\w.\-]+)", rest[:end]))
    # What a constant is stands where others have operands.
    attributes = rest if opcode in ("constant", "parameter") else rest[end + 1 :]
    return Instruction(name, opcode, arrays(shape), operands, attributes, root)


def arrays(text: str) -> tuple[Array, ...]:
    """The arrays of a shape as it is printed, such as `(f32[2,3]{1,0}, s32[])`."""
    return tuple(
        Array(dtype, tuple(int(n) for n in shape.split(",") if n), layout)
        for dtype, shape, layout in _ARRAY.findall(text)
    )


def _closing(text: str) -> int:
    """Where the bracket that the text begins with has been closed."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return place + 1
    raise ValueError(f"a bracket is not closed: {text[:80]}")


def _bits(dtype: str) -> int:
    if dtype in _BITS:
        return _BITS[dtype]
    return int(re.match(r"[a-z]+(\d+)", dtype)[1])

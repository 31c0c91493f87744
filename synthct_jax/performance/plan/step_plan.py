"""Compile a training step for devices that need not exist, and read off its cost.

The step is the one that training runs, with its shardings and donation. Nothing is run,
and no data are read.
"""

import dataclasses
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from synthct_jax.model import methods
from synthct_jax.model.ranges import check_ranges, check_relations
from synthct_jax.model.step import abstract_batch, make_init, make_step
from synthct_jax.parallel.mesh import choose_mesh
from synthct_jax.performance.flops import count_flops
from synthct_jax.performance.plan import hlo
from synthct_jax.performance.plan.chips import CHIPS, Chip
from synthct_jax.performance.plan.collectives import (
    Collective,
    find_collectives,
    least_seconds,
)

_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on one device, by the compiler's analysis."""

    arguments: int
    outputs: int
    aliased: int  # outputs that are written in place of arguments
    arrays: int  # peak of arguments, outputs, activations and gradients
    program: int  # machine code, which a TPU keeps in the same memory

    @property
    def peak(self) -> int:
        """Peak of arrays and program together."""
        return self.arrays + self.program


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepPlan:
    """Cost of one training step on one topology. All figures are of one device."""

    config: ConfigDict
    devices: int  # of the topology; the mesh may have fewer
    kind: str  # JAX's name of the devices
    chip: Chip | None  # their published figures; None: there are none
    mesh: Mapping[str, int]  # sizes of the axes
    memory: Memory
    flops: int  # of convolutions and products, with those recomputed for gradients
    collectives: tuple[Collective, ...]
    cycles: int | None  # of all other operations; None: the compiler gives none
    compile_seconds: float  # on this machine

    @property
    def microbatch(self) -> int:
        """Images of each domain at a time, per device or group that shares rows."""
        train, shards = self.config.train, self.mesh["data"] * self.mesh["fsdp"]
        members = self.config.mesh.seeds // self.mesh["seeds"]
        return members * train.global_batch // (train.accumulate * shards)

    @property
    def compute_seconds(self) -> float:
        """Time of convolutions and matrix products at the published peak."""
        return self.flops / self.chip.peak_flops

    @property
    def collective_seconds(self) -> float:
        return sum(least_seconds(c, self.chip) for c in self.collectives)

    @property
    def least_seconds(self) -> float:
        """Lower bound of the step: computation, then collectives."""
        return self.compute_seconds + self.collective_seconds

    @property
    def expected_seconds(self) -> float | None:
        """The compiler's estimate of the step, plus collectives; None: no estimate."""
        if self.cycles is None or self.chip.clock is None:
            return None
        return self.cycles / self.chip.clock + self.collective_seconds


def plan_step(config: ConfigDict, devices: Sequence[jax.Device]) -> StepPlan:
    """Compile the training step of `config` for `devices`, and read off its cost.

    The devices are real ones, or those of `chips.make_devices`. Raises ValueError if
    they have too little memory.
    """
    check_ranges(config)
    mesh = choose_mesh(config, devices)
    method = methods.from_config(config, mesh=mesh)
    check_relations(config, size_multiple=method.size_multiple)
    _, state = make_init(method, config, mesh)
    step = make_step(method, mesh, state)
    traced = step.trace(state, abstract_batch(config, method, mesh))
    began = time.monotonic()
    try:
        compiled = traced.lower().compile()
    except jax.errors.JaxRuntimeError as error:
        raise _explain(error) from error
    compile_seconds = time.monotonic() - began
    program, kind = hlo.parse(compiled.as_text()), devices[0].device_kind
    on_cpu = devices[0].platform == "cpu"
    return StepPlan(
        config=config,
        devices=len(devices),
        kind=kind,
        chip=next((chip for chip in CHIPS.values() if chip.kind == kind), None),
        mesh=dict(mesh.shape),
        memory=_memory(compiled.memory_analysis(), on_cpu=on_cpu),
        flops=count_flops(traced.jaxpr),
        collectives=find_collectives(program, mesh),
        cycles=estimated_cycles(program),
        compile_seconds=compile_seconds,
    )


def estimated_cycles(program: hlo.Program) -> int | None:
    """Add up the cycles that a TPU's compiler notes at its operations, or None."""
    cycles = sum(
        times * int(match[1])
        for instruction, _, times in program.walk()
        if (match := _CYCLES.search(instruction.attributes))
    )
    return cycles or None


def _memory(analysis: Any, *, on_cpu: bool) -> Memory:
    """Read the compiler's analysis of a program.

    A TPU's temporaries include arrays that stay on the chip and arrays that are never
    held together; there the compiler compares its peak with the memory. A CPU's peak
    leaves out what loops and called computations hold.
    """
    arguments, outputs = analysis.argument_size_in_bytes, analysis.output_size_in_bytes
    allocated = arguments + outputs - analysis.alias_size_in_bytes
    allocated += analysis.temp_size_in_bytes
    return Memory(
        arguments=arguments,
        outputs=outputs,
        aliased=analysis.alias_size_in_bytes,
        arrays=allocated if on_cpu else analysis.peak_memory_in_bytes,
        program=analysis.generated_code_size_in_bytes,
    )


def _explain(error: jax.errors.JaxRuntimeError) -> Exception:
    """Convert the compiler's error about memory; return others as they are."""
    sizes = re.search(r"Used (\S+) of (\S+) hbm", str(error)) or re.search(
        r"\((\S+)\) exceeds available HBM \((\S+)\)", str(error)
    )
    if not sizes:
        return error
    return ValueError(
        f"the step needs {sizes[1]}iB of memory on each device, which has "
        f"{sizes[2]}iB: lower train.global_batch, raise train.accumulate, set "
        "model.remat or model.dtype=bfloat16, or use more devices"
    )

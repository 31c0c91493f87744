"""What the training step of a configuration costs on devices that need not be there.

The step that training runs is compiled, with its shardings and donation, for the
devices of a topology; sizes, operations and collectives are read off the result.
Nothing is run, and no data are read.
"""

import dataclasses
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from synthct_jax.model import method
from synthct_jax.model.step import check_sizes, make_init, make_step
from synthct_jax.parallel import sharding
from synthct_jax.parallel.mesh import choose_mesh
from synthct_jax.performance.flops import flops
from synthct_jax.performance.plan import chips, hlo
from synthct_jax.performance.plan.chips import Chip
from synthct_jax.performance.plan.collectives import Collective, collectives, seconds
from synthct_jax.performance.plan.hlo import Array
from synthct_jax.performance.plan.operations import (
    Operation,
    on_matrix_unit,
    operations,
)
from synthct_jax.performance.plan.traffic import bytes_moved

_COSTLIEST = 10  # operations that a plan names


class DoesNotFit(ValueError):
    """The compiler found the step too large for the memory of a device."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one device, as the compiler has laid them out.

    Attributes:
        aliased: of both: outputs that are written where arguments were.
        arrays: the most that is held at once: arguments, outputs, activations,
            gradients.
        program: which a TPU keeps in the same memory.
    """

    arguments: int
    outputs: int
    aliased: int
    arrays: int
    program: int

    @property
    def peak(self) -> int:
        return self.arrays + self.program


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """One training step on one topology. All figures are of one device.

    Attributes:
        devices: of the topology; the mesh may have fewer.
        kind: of device, as JAX calls it.
        chip: its published figures; None: there are none.
        mesh: sizes of its axes.
        size: of the images, pixels.
        flops: of convolutions and matrix products, counted in the traced program;
            recomputation for gradients is among them.
        bytes_moved: to and from main memory, by every operation of the program.
        operations: the costliest, where the compiler says what it expects of them.
        cycles: that it expects of all.
        matrix_cycles: of those, of convolutions and matrix products.
        compile_seconds: of this machine.
    """

    devices: int
    kind: str
    chip: Chip | None
    mesh: Mapping[str, int]
    size: int
    global_batch: int
    accumulate: int
    dtype: str
    remat: bool
    memory: Memory
    flops: int
    bytes_moved: int
    collectives: tuple[Collective, ...]
    operations: tuple[Operation, ...]
    cycles: int | None
    matrix_cycles: int
    compile_seconds: float

    @property
    def images_at_a_time(self) -> int:
        """Of each domain, on a device or on those that share its rows."""
        return self.global_batch // (
            self.accumulate * self.mesh["data"] * self.mesh["fsdp"]
        )

    @property
    def compute_seconds(self) -> float:
        return self.flops / self.chip.peak_flops

    @property
    def memory_seconds(self) -> float:
        return self.bytes_moved / self.chip.memory_rate

    @property
    def collective_seconds(self) -> float:
        return sum(seconds(one, self.chip) for one in self.collectives)

    @property
    def step_seconds(self) -> float:
        """The least: computation and memory overlap, collectives wait for both."""
        return max(self.compute_seconds, self.memory_seconds) + self.collective_seconds

    @property
    def expected_seconds(self) -> float | None:
        """By the cycles that the compiler expects, which leave out collectives."""
        if self.cycles is None or self.chip.clock is None:
            return None
        return self.cycles / self.chip.clock + self.collective_seconds


def plan(config: ConfigDict, devices: Sequence[jax.Device]) -> Plan:
    """Compiles the training step of `config` for `devices`, and reads the result.

    Args:
        config: see configs/default.py.
        devices: real ones, or those of `chips.devices_of`.

    Raises:
        DoesNotFit: the step needs more memory than a device has; says how much.
        ValueError: the configuration does not fit the devices; names the field.
    """
    mesh = choose_mesh(config, devices)
    gan = method.from_config(config, mesh=mesh)
    check_sizes(config, gan)
    _, state = make_init(gan, config, mesh)
    size = config.data.crop or config.data.size
    images = sharding.batch_sharding(mesh)
    batch = {
        name: jax.ShapeDtypeStruct(
            (config.train.global_batch, size, size, channels),
            jnp.float32,
            sharding=images,
        )
        for name, channels in (("mr", gan.mr_channels), ("ct", 1))
    }
    traced = make_step(gan, mesh, state).trace(state, batch)
    began = time.monotonic()
    try:
        compiled = traced.lower().compile()
    except jax.errors.JaxRuntimeError as error:
        raise _does_not_fit(error) from error
    took = time.monotonic() - began
    program = hlo.read(compiled.as_text())
    found = operations(program)
    return Plan(
        devices=len(devices),
        kind=devices[0].device_kind,
        chip=chips.chip_of(devices[0].device_kind),
        mesh=dict(mesh.shape),
        size=size,
        global_batch=config.train.global_batch,
        accumulate=config.train.accumulate,
        dtype=config.model.dtype,
        remat=config.model.remat,
        memory=_memory(compiled.memory_analysis(), on_cpu=devices[0].platform == "cpu"),
        flops=flops(traced.jaxpr),
        bytes_moved=bytes_moved(program),
        collectives=collectives(program, mesh),
        operations=tuple(found[:_COSTLIEST]),
        cycles=sum(one.cycles for one in found) or None,
        matrix_cycles=on_matrix_unit(found),
        compile_seconds=took,
    )


def from_dict(fields: Mapping[str, Any]) -> Plan:
    """The plan of which `dataclasses.asdict` made this, also when it was JSON since."""
    fields = dict(fields)
    fields["memory"] = Memory(**fields["memory"])
    fields["operations"] = tuple(Operation(**one) for one in fields["operations"])
    fields["chip"] = chips.chip_of(fields["kind"])
    fields["collectives"] = tuple(
        Collective(
            **{
                **one,
                "axes": tuple(one["axes"]),
                "arrays": tuple(
                    Array(array["dtype"], tuple(array["shape"]), array["layout"])
                    for array in one["arrays"]
                ),
            }
        )
        for one in fields["collectives"]
    )
    return Plan(**fields)


def _memory(sizes: Any, *, on_cpu: bool) -> Memory:
    """Reads `sizes`, the compiler's analysis of a program.

    The temporaries of a TPU include what stays on the chip and what is never held at
    once; its peak is what the compiler refuses by. The CPU's peak leaves out what loops
    and called computations hold.
    """
    arguments, outputs = sizes.argument_size_in_bytes, sizes.output_size_in_bytes
    allocated = arguments + outputs - sizes.alias_size_in_bytes
    allocated += sizes.temp_size_in_bytes
    return Memory(
        arguments=arguments,
        outputs=outputs,
        aliased=sizes.alias_size_in_bytes,
        arrays=allocated if on_cpu else sizes.peak_memory_in_bytes,
        program=sizes.generated_code_size_in_bytes,
    )


def _does_not_fit(error: jax.errors.JaxRuntimeError) -> Exception:
    needed = re.search(r"Used (\S+) of (\S+) hbm", str(error)) or re.search(
        r"\((\S+)\) exceeds available HBM \((\S+)\)", str(error)
    )
    if not needed:
        return error
    return DoesNotFit(
        f"the step needs {needed[1]}iB of memory on each device, which has "
        f"{needed[2]}iB: lower train.global_batch, raise train.accumulate, set "
        "model.remat or model.dtype=bfloat16, or take more devices"
    )

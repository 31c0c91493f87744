"""Devices to compile for that need not exist, and what is published of their chips."""

import dataclasses
import importlib.util
import math
import os
import re

import jax
from jax.experimental import topologies

_GOOGLE = "docs.cloud.google.com/tpu/docs/"
_BOOK = "jax-ml.github.io/scaling-book"
_JOUPPI = "arXiv 2304.01433"
# All that a message between neighbours costs whatever its size. Not published by
# Google; the scaling book's order of magnitude.
HOP_SECONDS = 1e-6
HOP_SOURCE = f"{_BOOK}/sharding"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """Published figures of one chip, which is one JAX device.

    Attributes:
        kind: what JAX calls it.
        peak_flops: bfloat16 multiplications and additions per second. Convolutions of
            float32 arrays round their operands to bfloat16 there and run as fast.
        memory_bytes: of HBM; memory_rate in bytes per second.
        link_rate: bytes per second over one ICI link in one direction.
        links: ICI links of a chip.
        clock: cycles per second, for the compiler's own estimates; None: not published.
        dimensions: of the network; how many numbers a topology has.
        options: what libtpu has to be told beyond the topology's name.
    """

    kind: str
    peak_flops: float
    memory_bytes: int
    memory_rate: float
    link_rate: float
    links: int
    clock: float | None
    dimensions: int
    source: str
    example: str
    options: tuple[tuple[str, str], ...] = ()


CHIPS = {
    "v4": Chip(
        kind="TPU v4",
        peak_flops=275e12,
        memory_bytes=32 * 2**30,
        memory_rate=1200e9,
        link_rate=50e9,
        links=6,
        clock=1.05e9,
        dimensions=3,
        source=f"{_GOOGLE}v4; links and clock: {_JOUPPI}",
        example="v4:2x2x1",
        options=(("chip_config_name", "megacore"),),  # two cores as one device
    ),
    "v5e": Chip(
        kind="TPU v5 lite",
        peak_flops=197e12,
        memory_bytes=16 * 2**30,
        memory_rate=819e9,
        link_rate=50e9,
        links=4,
        clock=1.5e9,
        dimensions=2,
        source=f"{_GOOGLE}v5e; clock: {_BOOK}/tpus",
        example="v5e:4x4",
    ),
    "v5p": Chip(
        kind="TPU v5",
        peak_flops=459e12,
        memory_bytes=95 * 2**30,
        memory_rate=2765e9,
        link_rate=100e9,
        links=6,
        clock=459e12 / (2 * 4 * 2 * 128**2),
        dimensions=3,
        source=f"{_GOOGLE}v5p; clock: the peak over two cores of four 128x128 units",
        example="v5p:2x2x1",
    ),
    "v6e": Chip(
        kind="TPU v6 lite",
        peak_flops=918e12,
        memory_bytes=32 * 2**30,
        memory_rate=1638e9,
        link_rate=100e9,
        links=4,
        clock=None,
        dimensions=2,
        source=f"{_GOOGLE}v6e",
        example="v6e:2x2",
    ),
}


def devices_of(topology: str) -> list[jax.Device]:
    """Devices to compile for, such as `v5e:4x4` or `cpu:8`.

    Nothing has to be there: TPUs are described by libtpu, and CPUs are virtual devices
    of this machine, which stand in for others and have no published figures. To be
    called before JAX has started: it is told to leave real devices alone.

    Raises:
        ValueError: there is no such topology, or libtpu is not installed.
    """
    name, _, shape = topology.partition(":")
    sides = [int(side) for side in shape.split("x") if side.isdigit()]
    known = [chip.example for chip in CHIPS.values()] + ["cpu:8"]
    dimensions = CHIPS[name].dimensions if name in CHIPS else 1
    if name not in (*CHIPS, "cpu") or not re.fullmatch(r"\d+(x\d+)*", shape):
        raise ValueError(
            f"--topology={topology} is not known, expected such as: {', '.join(known)}"
        )
    if len(sides) != dimensions or 0 in sides:
        raise ValueError(
            f"--topology={topology}: {name} has {dimensions} sides, such as "
            f"{'cpu:8' if name == 'cpu' else CHIPS[name].example}"
        )
    jax.config.update("jax_platforms", "cpu")
    if name == "cpu":
        return _virtual(sides[0])
    return _described(topology, sides, CHIPS[name])


def chip_of(kind: str) -> Chip | None:
    """What is published of a kind of device; None: nothing is known."""
    return next((chip for chip in CHIPS.values() if chip.kind == kind), None)


def _virtual(count: int) -> list[jax.Device]:
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:  # JAX has started: with enough of them, or not
        if len(jax.devices("cpu")) < count:
            raise ValueError(
                f"--topology=cpu:{count}: JAX has started with "
                f"{len(jax.devices('cpu'))} devices already"
            ) from None
    return jax.devices("cpu")[:count]


def _described(topology: str, sides: list[int], chip: Chip) -> list[jax.Device]:
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError(
            f"--topology={topology} needs the TPU compiler, libtpu: "
            "pip install -e '.[tpu]'"
        )
    # There is no TPU to look for, and other programs may have libtpu open.
    for name, value in (
        ("TPU_SKIP_MDS_QUERY", "1"),
        ("TPU_ACCELERATOR_TYPE", "v5litepod-8"),
        ("TPU_WORKER_HOSTNAMES", "localhost"),
        ("ALLOW_MULTIPLE_LIBTPU_LOAD", "1"),
    ):
        os.environ.setdefault(name, value)
    options = dict(chip.options)
    if math.prod(sides) == 1:  # a host has four otherwise
        options["chips_per_host_bounds"] = (1, 1, 1)
    try:
        found = topologies.get_topology_desc(
            platform="tpu", topology_name=topology, **options
        )
    except jax.errors.JaxRuntimeError as error:
        raise ValueError(
            f"--topology={topology}: libtpu has no such slice: {error}"
        ) from error
    return list(found.devices)

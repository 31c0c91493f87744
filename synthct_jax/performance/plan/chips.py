"""Devices to compile for that need not exist, and published figures of their chips."""

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
# Latency of a message between neighbours, whatever its size. Google does not publish
# it; this is the scaling book's order of magnitude.
HOP_SECONDS = 1e-6
HOP_SOURCE = f"{_BOOK}/sharding"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """Published figures of one chip, which is one JAX device.

    Attributes:
        peak_flops: bfloat16 multiplications and additions per second. Convolutions of
            float32 arrays round their operands to bfloat16 and run as fast.
    """

    kind: str  # JAX's name of the device
    peak_flops: float
    memory_bytes: int  # of HBM
    link_rate: float  # bytes per second over one ICI link in one direction
    links: int  # ICI links of a chip
    clock: float | None  # cycles per second; None: not published
    source: str  # where the figures are published
    example: str  # a topology, with as many sides as the chips' network
    options: tuple[tuple[str, str], ...] = ()  # that libtpu needs besides


CHIPS = {
    "v4": Chip(
        kind="TPU v4",
        peak_flops=275e12,
        memory_bytes=32 * 2**30,
        link_rate=50e9,
        links=6,
        clock=1.05e9,
        source=f"{_GOOGLE}v4; links and clock: {_JOUPPI}",
        example="v4:2x2x1",
        options=(("chip_config_name", "megacore"),),  # two cores as one device
    ),
    "v5e": Chip(
        kind="TPU v5 lite",
        peak_flops=197e12,
        memory_bytes=16 * 2**30,
        link_rate=50e9,
        links=4,
        clock=1.5e9,
        source=f"{_GOOGLE}v5e; clock: {_BOOK}/tpus",
        example="v5e:4x4",
    ),
    "v5p": Chip(
        kind="TPU v5",
        peak_flops=459e12,
        memory_bytes=95 * 2**30,
        link_rate=100e9,
        links=6,
        clock=459e12 / (2 * 4 * 2 * 128**2),
        source=f"{_GOOGLE}v5p; clock: the peak over two cores of four 128x128 units",
        example="v5p:2x2x1",
    ),
    "v6e": Chip(
        kind="TPU v6 lite",
        peak_flops=918e12,
        memory_bytes=32 * 2**30,
        link_rate=100e9,
        links=4,
        clock=None,
        source=f"{_GOOGLE}v6e",
        example="v6e:2x2",
    ),
}


def make_devices(topology: str) -> list[jax.Device]:
    """Return the devices of a topology, such as `v5e:4x4` or `cpu:8`, to compile for.

    The hardware need not exist: libtpu describes TPUs, and CPUs are virtual devices of
    this machine, which have no published figures. Call it before JAX starts, because it
    makes JAX ignore real accelerators.
    """
    name, _, shape = topology.partition(":")
    examples = {name: chip.example for name, chip in CHIPS.items()} | {"cpu": "cpu:8"}
    if name not in examples or not re.fullmatch(r"\d+(x\d+)*", shape):
        raise ValueError(
            f"--topology={topology} is unknown, expected for example: "
            f"{', '.join(examples.values())}"
        )
    sides, dimensions = list(map(int, shape.split("x"))), examples[name].count("x") + 1
    if len(sides) != dimensions or 0 in sides:
        raise ValueError(
            f"--topology={topology} has sides {shape}, expected {dimensions} of at "
            f"least 1, such as {examples[name]}"
        )
    jax.config.update("jax_platforms", "cpu")
    if name == "cpu":
        return _virtual_cpus(sides[0])
    return _described_tpus(topology, sides, CHIPS[name])


def _virtual_cpus(count: int) -> list[jax.Device]:
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:  # JAX has started already, perhaps with enough devices
        if len(jax.devices("cpu")) < count:
            raise ValueError(
                f"--topology=cpu:{count}: JAX has already started with "
                f"{len(jax.devices('cpu'))} devices"
            ) from None
    return jax.devices("cpu")[:count]


def _described_tpus(topology: str, sides: list[int], chip: Chip) -> list[jax.Device]:
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError(
            f"--topology={topology} needs the TPU compiler, libtpu: "
            "pip install -e '.[tpu]'"
        )
    # Do not look for a TPU, and allow other programs to have libtpu open.
    for name, value in (
        ("TPU_SKIP_MDS_QUERY", "1"),
        ("TPU_ACCELERATOR_TYPE", "v5litepod-8"),
        ("TPU_WORKER_HOSTNAMES", "localhost"),
        ("ALLOW_MULTIPLE_LIBTPU_LOAD", "1"),
    ):
        os.environ.setdefault(name, value)
    options = dict(chip.options)
    if math.prod(sides) == 1:  # by default a host has four
        options["chips_per_host_bounds"] = (1, 1, 1)
    try:
        description = topologies.get_topology_desc(
            platform="tpu", topology_name=topology, **options
        )
    except jax.errors.JaxRuntimeError as error:
        raise ValueError(
            f"--topology={topology} is no slice that libtpu knows: {error}"
        ) from error
    return list(description.devices)

"""Collectives that are read off compiled programs, and the least time they take."""

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from synthct_jax.performance.plan import hlo
from synthct_jax.performance.plan.chips import CHIPS, HOP_SECONDS
from synthct_jax.performance.plan.collectives import (
    Collective,
    find_collectives,
    least_seconds,
)

TEXT = """HloModule m, is_scheduled=true

%add (x: f32[], y: f32[]) -> f32[] {{
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}}

ENTRY %main (p: f32[4,8]) -> f32[4,8] {{
  %p = f32[4,8]{{1,0:T(8,128)}} parameter(0)
  {operation}
}}
"""


def parse_one(operation):
    """Return the collective of a program with one operation, on a 2 x 2 x 2 mesh."""
    mesh = Mesh(
        np.array([jax.devices()[0]] * 8).reshape(2, 2, 2), ("data", "fsdp", "space")
    )
    program = hlo.parse(TEXT.format(operation=operation))
    (collective,) = find_collectives(program, mesh)
    return collective


@pytest.mark.parametrize(
    ("groups", "axes", "size"),
    [
        ("{{0,1,2,3,4,5,6,7}}", ("data", "fsdp", "space"), 8),
        ("{}", ("data", "fsdp", "space"), 8),
        ("{{0,4},{1,5},{2,6},{3,7}}", ("data",), 2),
        ("[4,2]<=[8]", ("space",), 2),
        ("[4,2]<=[2,4]T(1,0)", ("data",), 2),
        ("[2,4]<=[2,2,2]T(1,0,2)", ("data", "space"), 4),
        ("mesh['a'=2,'b'=2,'c'=2] {'b'}", ("fsdp",), 2),
        ("mesh['a'=2,'b'=4], device_ids=([2,2,2]T(1,0,2)) {'a'}", ("fsdp",), 2),
    ],
)
def test_groups_of_devices_become_mesh_axes(groups, axes, size):
    collective = parse_one(
        "ROOT %r = f32[4,8]{1,0:T(8,128)} all-reduce(%p), channel_id=1, "
        f"replica_groups={groups}, use_global_device_ids=true, to_apply=%add"
    )
    assert (collective.axes, collective.group_size) == (axes, size)
    assert (collective.kind, collective.count) == ("all-reduce", 1)
    assert collective.bytes == 128


def test_asynchronous_permutation_counts_once():
    collective = parse_one(
        "%s = (f32[4,8]{1,0}, f32[4,8]{1,0}, u32[], u32[]) collective-permute-start("
        "%p), channel_id=1, source_target_pairs={{0,1},{2,3},{4,5},{6,7}}\n"
        "  ROOT %d = f32[4,8]{1,0} collective-permute-done(%s)"
    )
    assert (collective.axes, collective.group_size) == (("space",), 2)
    assert (collective.count, collective.bytes) == (1, 128)


def test_unknown_notation_of_groups_is_refused():
    with pytest.raises(ValueError, match="the collective r has no groups of devices"):
        parse_one("ROOT %r = f32[4,8] all-reduce(%p), replica_groups=else, to_apply=%a")


@pytest.mark.parametrize(
    ("kind", "devices", "expected"),
    [
        # Rings over all links, each passed twice.
        ("all-reduce", 4, 2 * 0.75 * 1e9 / (4 * 50e9) + 4 * HOP_SECONDS),
        ("collective-permute", 2, 1e9 / 50e9 + HOP_SECONDS),  # over one link
    ],
)
def test_least_time_of_a_collective_follows_from_its_links(kind, devices, expected):
    collective = Collective(
        kind=kind, axes=(), group_size=devices, arrays=(), bytes=10**9, count=2
    )
    assert least_seconds(collective, CHIPS["v5e"]) == pytest.approx(2 * expected)

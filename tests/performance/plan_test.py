"""Counting what a compiled step does, on programs whose counts are known."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from paths import PYTHONPATH
from tiny_run import tiny_config

from synthct_jax.layers.convolution import convolve, convolve_transposed
from synthct_jax.layers.cpu import onednn
from synthct_jax.performance.flops import flops
from synthct_jax.performance.plan import chips, hlo, table
from synthct_jax.performance.plan.operations import (
    Operation,
    on_matrix_unit,
    operations,
)
from synthct_jax.performance.plan.plan import DoesNotFit, _does_not_fit, from_dict, plan
from synthct_jax.performance.plan.report import report
from synthct_jax.performance.plan.traffic import bytes_moved


def shape(*lengths):
    return jax.ShapeDtypeStruct(lengths, jnp.float32)


# --- operations -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        lambda x, k: convolve(x, k, padding=(1, 1)),
        lambda x, k: convolve(x, k, stride=2, padding=(1, 1)),
        convolve_transposed,
    ],
    ids=["plain", "stride 2", "transposed"],
)
def test_flops_of_convolutions_and_their_gradients_are_those_xla_counts(layer):
    def loss(x, k):
        return jnp.sum(layer(x, k) * weight)

    image, kernel = (2, 8, 8, 32), (3, 3, 32, 48)
    weight = jnp.ones(jax.eval_shape(layer, shape(*image), shape(*kernel)).shape)
    step = jax.jit(jax.value_and_grad(loss, (0, 1)))
    arguments = (shape(*image), shape(*kernel))
    counted = flops(step.trace(*arguments).jaxpr)
    # XLA counts the few additions and multiplications of elements as well.
    expected = step.lower(*arguments).compile().cost_analysis()["flops"]
    assert counted == pytest.approx(expected, rel=0.01)
    assert counted > 1e6


def test_flops_of_matrix_products():
    def products(a, b):
        return jnp.einsum("bij,bjk->bik", a, b)

    traced = jax.jit(products).trace(shape(5, 7, 11), shape(5, 11, 13))
    assert flops(traced.jaxpr) == 2 * 5 * 7 * 11 * 13


def test_flops_of_products_by_onednn(monkeypatch):
    monkeypatch.setattr(onednn, "LEAST_FLOPS", 0)
    monkeypatch.setattr(onednn, "available", lambda: True)  # traced only
    turned = partial(onednn.product, transpose_a=True, transpose_b=True)
    traced = jax.jit(turned).trace(shape(5, 11, 7), shape(5, 13, 11))
    assert "dot_general" not in str(traced.jaxpr)
    assert flops(traced.jaxpr) == 2 * 5 * 7 * 11 * 13


def repeated(times, *, unroll=1):
    def body(x, k):
        return jnp.tanh(convolve(x, k, padding=(1, 1))), None

    def network(x, kernels):
        return jnp.sum(lax.scan(body, x, kernels, unroll=unroll)[0])

    step = jax.jit(jax.grad(network, (0, 1)))
    return step, (shape(1, 16, 16, 16), shape(times, 3, 3, 16, 16))


def test_a_loop_counts_as_often_as_it_runs_and_xla_counts_it_once():
    loop, arguments = repeated(5)
    unrolled, _ = repeated(5, unroll=5)
    counted = flops(loop.trace(*arguments).jaxpr)
    assert counted == flops(unrolled.trace(*arguments).jaxpr)
    by_xla = [
        step.lower(*arguments).compile().cost_analysis()["flops"]
        for step in (loop, unrolled)
    ]
    assert counted == pytest.approx(by_xla[1], rel=0.01)
    assert by_xla[0] < 0.5 * counted


def test_only_what_a_device_has_counts():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split, whole = jax.P("data"), jax.P()
    product = jax.shard_map(
        jnp.matmul, mesh=mesh, in_specs=(split, whole), out_specs=split
    )
    traced = jax.jit(product).trace(shape(8, 4), shape(4, 4))
    assert flops(traced.jaxpr) == 2 * 4 * 4 * 4


def test_the_dearest_branch_counts():
    def either(condition, x):
        return lax.cond(condition, lambda x: x @ x, lambda x: x, x)

    condition = jax.ShapeDtypeStruct((), jnp.bool_)
    traced = jax.jit(either).trace(condition, shape(4, 4))
    assert flops(traced.jaxpr) == 2 * 4**3


# --- the program's text ---------------------------------------------------------------


def test_trip_counts_are_read_with_and_without_the_compilers_note():
    step, arguments = repeated(5)
    text = step.lower(*arguments).compile().as_text()
    assert "known_trip_count" in text
    for version in (text, text.replace("known_trip_count", "else")):
        program = hlo.read(version)
        loops = [i for i, _, _ in program.walk() if i.opcode == "while"]
        assert [program.trip_count(loop) for loop in loops] == [5, 5]


def test_instructions_of_nested_loops_run_as_often_as_both_say():
    def inner(x, _):
        return jnp.sin(x) @ x, None

    def outer(x, _):
        return lax.scan(inner, x, None, length=3)[0], None

    def program(x):
        return lax.scan(outer, x, None, length=4)[0]

    text = jax.jit(program).lower(shape(8, 8)).compile().as_text()
    walked = list(hlo.read(text).walk(into_fusions=True))
    times = [n for i, _, n in walked if i.opcode == "sine"]
    assert times == [12]


def test_bytes_are_those_of_every_operand_and_result():
    def program(x, y):
        return x @ y

    compiled = jax.jit(program).lower(shape(64, 32), shape(32, 16)).compile()
    moved = bytes_moved(hlo.read(compiled.as_text()))
    assert moved == 4 * (64 * 32 + 32 * 16 + 64 * 16)
    assert moved == compiled.cost_analysis()["bytes accessed"]


def test_a_loop_reads_the_slice_it_is_at_and_not_all_of_them():
    length, size = 10, 64

    def body(x, weight):
        return jnp.sin(x * weight), jnp.cos(x)

    def program(x, weights):
        return lax.scan(body, x, weights)

    step = jax.jit(program).lower(shape(size, size), shape(length, size, size))
    text = step.compile().as_text()
    array = 4 * size * size
    program = hlo.read(text)
    moved = bytes_moved(program) - bytes_moved(program, loops_once=True)
    # x and the weight are read, x and the slice that is kept are written; the compiler
    # may do it in several operations, but none moves all the slices.
    assert 4 <= moved / ((length - 1) * array) <= 10


def test_arrays_are_stored_in_whole_tiles():
    tiled, plain = hlo.arrays("(f32[2,3,8]{2,1,0:T(8,128)S(1)}, bf16[3,5]{1,0})")
    assert (tiled.bytes, tiled.stored_bytes) == (192, 2 * 8 * 128 * 4)
    assert not tiled.in_main_memory
    assert (plain.bytes, plain.stored_bytes) == (30, 30)
    assert plain.in_main_memory


TPU_PROGRAM = """HloModule step

%inner (p0: bf16[8,128], p1: bf16[128,128]) -> bf16[8,128] {
  %p0 = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
  %p1 = bf16[128,128]{1,0:T(8,128)(2,1)S(1)} parameter(1)
  ROOT %c = bf16[8,128]{1,0:T(8,128)(2,1)} convolution(%p0, %p1), dim_labels=bf_io->bf
}

ENTRY %main (a: bf16[8,128], b: bf16[128,128]) -> bf16[8,128] {
  %a = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
  %b = bf16[128,128]{1,0:T(8,128)(2,1)S(1)} parameter(1)
  %f = bf16[8,128]{1,0:T(8,128)(2,1)} fusion(%a, %b), kind=kOutput, calls=%inner, \
metadata={op_name="jit(step)/shard_map/Net/while/body/dot"}, \
backend_config={"estimated_cycles":"300"}
  %g = bf16[8,128]{1,0:T(8,128)(2,1)} fusion(%f, %b), kind=kOutput, calls=%inner, \
metadata={op_name="jit(step)/shard_map/Net/while/body/dot"}, \
backend_config={"estimated_cycles":"200"}
  ROOT %r = bf16[8,128]{1,0:T(8,128)(2,1)} copy(%g), \
backend_config={"estimated_cycles":"100"}
}
""".replace("\\\n", "")


def test_operations_are_named_by_what_they_were_made_of_the_costliest_first():
    found = operations(hlo.read(TPU_PROGRAM))
    image = 8 * 128 * 2  # what lies in vector memory is not moved
    assert found == [
        Operation(
            kind="convolution", source="Net/dot", count=2, cycles=500, bytes=4 * image
        ),
        Operation(kind="copy", source="", count=1, cycles=100, bytes=2 * image),
    ]
    assert on_matrix_unit(found) == 500


# --- topologies -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        ("v9:2x2", "is not known, expected such as: v4:2x2x1, v5e:4x4"),
        ("v5e", "is not known"),
        ("v5e:4by4", "is not known"),
        ("v5e:2x2x2", "v5e has 2 sides, such as v5e:4x4"),
        ("v5p:4x4", "v5p has 3 sides, such as v5p:2x2x1"),
        ("cpu:0", "cpu has 1 sides"),
        ("cpu:1000", "JAX has started with 2 devices already"),
    ],
)
def test_a_topology_that_is_not_there_is_refused(topology, message):
    jax.devices()
    with pytest.raises(ValueError, match=message):
        chips.devices_of(topology)


def test_without_libtpu_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"libtpu: pip install -e '\.\[tpu\]'"):
        chips.devices_of("v5e:2x2")


def test_too_large_a_step_says_how_much_it_needs():
    error = jax.errors.JaxRuntimeError(
        "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.51G of "
        "15.75G hbm. Exceeded hbm capacity by 4.76G."
    )
    found = _does_not_fit(error)
    assert isinstance(found, DoesNotFit)
    assert "needs 20.51GiB of memory on each device, which has 15.75GiB" in str(found)
    error = jax.errors.JaxRuntimeError(
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for "
        "HLO temporaries (16.50G) exceeds available HBM (15.75G)."
    )
    assert "needs 16.50GiB of memory" in str(_does_not_fit(error))
    other = jax.errors.JaxRuntimeError("INTERNAL: else")
    assert _does_not_fit(other) is other


# --- plans ----------------------------------------------------------------------------


def small(**fields):
    """The generator alone, which compiles soonest."""
    config = tiny_config(global_batch=4)
    config.method = "supervised"
    config.data.size = 64
    config.model.update(width=8, blocks=2)
    config.unlock()
    config.update_from_flattened_dict(fields)
    return config


def test_a_plan_tells_memory_work_and_exchange_of_the_step():
    config = small()
    found = plan(config, jax.devices()[:2])
    batch = 4 * 2 * 64 * 64 * (2 + 1)
    state = found.memory.arguments - batch
    assert state > 3 * found.collectives[0].bytes * 0.99  # weights, two of Adam
    assert found.memory.aliased == pytest.approx(state, rel=0.01)  # the state is given
    assert found.images_at_a_time == 2
    assert [one.kind for one in found.collectives] == ["all-reduce"]
    text = report(found)
    assert "2 devices (cpu), mesh: data 2, fsdp 1, space 1" in text
    assert "no times: nothing is published of cpu devices" in text

    # As if on a chip; and the same when it was JSON.
    chip = chips.CHIPS["v5e"]
    dear = Operation(
        kind="convolution", source="stem", count=6, cycles=15 * 10**5, bytes=2 * 10**9
    )
    found = dataclasses.replace(
        found,
        **dict(kind=chip.kind, chip=chip, operations=(dear,)),
        **dict(cycles=3 * 10**6, matrix_cycles=2 * 10**6),
    )
    kept = from_dict(json.loads(json.dumps(dataclasses.asdict(found))))
    assert kept == found
    assert found.step_seconds == pytest.approx(
        max(found.flops / 197e12, found.bytes_moved / 819e9) + found.collective_seconds
    )
    assert found.expected_seconds == pytest.approx(2e-3 + found.collective_seconds)
    text = report(found)
    assert "assumed: 197 TFLOP/s" in text and chip.source in text
    assert "67% of all is on the matrix unit" in text
    assert "     1.00   2.00      6  convolution: stem" in text
    row = table.markdown(
        "v5e:1x1 train.global_batch=4 model.remat=True",
        {"plan": dataclasses.asdict(found)},
    )
    assert row.startswith("| v5e:1x1 | 64 | float32 | 4 | 2 | remat True |")
    assert row.count("|") == len(table._COLUMNS) + 1
    refused = table.markdown(
        "v5e:1x1 train.global_batch=4",
        {"refused": "too large", "asked": (64, "float32", 4)},
    )
    assert refused.startswith("| v5e:1x1 | 64 | float32 | 4 |  |  | too large |")
    assert refused.count("|") == len(table._COLUMNS) + 1


def test_a_table_compiles_what_it_has_not_compiled_before(
    tmp_path, monkeypatch, capsys
):
    compiled = []

    def compile_row(line, config):
        compiled.append((line, config.data.size))
        return {"refused": "too large", "asked": (config.data.size, "float32", 4)}

    monkeypatch.setattr(table, "_compile", compile_row)
    rows, results = tmp_path / "rows.txt", tmp_path / "results.jsonl"
    rows.write_text("# A comment.\n## One\nv5e:1x1 model.remat=True\n")
    for size in (64, 64, 32):  # of another configuration it is another row
        config = small()
        config.data.size = size
        table.write_tables(config, rows, results)
        said = capsys.readouterr().out
        assert "## One" in said and f"| v5e:1x1 | {size} |" in said
    assert compiled == [("v5e:1x1 model.remat=True", size) for size in (64, 32)]


@pytest.mark.slow
def test_parts_and_recomputation_cost_what_they_should():
    devices = jax.devices()[:2]
    whole = plan(small(), devices)
    parts = plan(small(**{"train.accumulate": 2}), devices)
    again = plan(small(**{"model.remat": True}), devices)
    # Kernels are transformed once a part, in the CPU's convolutions.
    assert parts.flops == pytest.approx(whole.flops, rel=0.02)
    assert parts.images_at_a_time == 1
    assert parts.memory.arrays < whole.memory.arrays
    assert [o.kind for o in parts.collectives] == ["all-reduce"]
    assert [o.count for o in parts.collectives] == [1]
    assert parts.collectives[0].bytes == whole.collectives[0].bytes
    assert 1.05 < again.flops / whole.flops < 1.34  # a third more where all is repeated


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs libtpu: the extra tpu"
)
def test_for_tpus_the_compilers_own_convolutions_are_taken():
    program = """
import jax, sys
from tiny_run import tiny_config
from synthct_jax.performance.plan import chips, hlo, plan
texts = []
read = hlo.read
hlo.read = lambda text: texts.append(text) or read(text)
found = plan.plan(tiny_config(global_batch=4), chips.devices_of("v5e:2x2"))
assert [one.kind for one in found.collectives] == ["all-reduce"], found.collectives
assert found.chip and found.cycles
opcodes = [i.opcode for i, _, _ in read(texts[0]).walk(into_fusions=True)]
print(opcodes.count("convolution"))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={
            **os.environ,
            "XLA_FLAGS": "",  # libtpu ends the process at flags of the CPU
            "PYTHONPATH": PYTHONPATH,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 20

"""The cost of a training step that is compiled for devices that need not exist."""

import importlib.util
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from tiny_run import tiny_config, variables

from synthct_jax.performance.plan import chips, hlo
from synthct_jax.performance.plan.collectives import Collective
from synthct_jax.performance.plan.report import format_report
from synthct_jax.performance.plan.step_plan import (
    Memory,
    StepPlan,
    _explain,
    estimated_cycles,
    plan_step,
)


def shape(*lengths):
    return jax.ShapeDtypeStruct(lengths, jnp.float32)


# --- the program's text ---------------------------------------------------------------


def test_trip_count_is_read_with_and_without_the_compilers_note():
    def program(x):
        return lax.scan(lambda x, _: (jnp.sin(x) @ x, None), x, None, length=5)[0]

    text = jax.jit(program).lower(shape(8, 8)).compile().as_text()
    assert "known_trip_count" in text
    for version in (text, text.replace("known_trip_count", "other")):
        parsed = hlo.parse(version)
        loops = [i for i, _, _ in parsed.walk() if i.opcode == "while"]
        assert [parsed.trip_count(loop) for loop in loops] == [5]


def test_instruction_of_nested_loops_runs_the_product_of_their_trip_counts():
    def inner(x, _):
        return jnp.sin(x) @ x, None

    def outer(x, _):
        return lax.scan(inner, x, None, length=3)[0], None

    def program(x):
        return lax.scan(outer, x, None, length=4)[0]

    text = jax.jit(program).lower(shape(8, 8)).compile().as_text()
    walked = list(hlo.parse(text).walk(into_fusions=True))
    times = [n for i, _, n in walked if i.opcode == "sine"]
    assert times == [12]


TPU_PROGRAM = """HloModule step

%body (s: (s32[], f32[8])) -> (s32[], f32[8]) {
  %s = (s32[], f32[8]{0:T(128)}) parameter(0)
  %i = s32[] get-tuple-element(%s), index=0
  %x = f32[8]{0:T(128)} get-tuple-element(%s), index=1
  %y = f32[8]{0:T(128)} add(%x, %x), backend_config={"estimated_cycles":"300"}
  ROOT %t = (s32[], f32[8]{0:T(128)}) tuple(%i, %y)
}

ENTRY %main (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %p = (s32[], f32[8]{0:T(128)}) parameter(0)
  %w = (s32[], f32[8]{0:T(128)}) while(%p), condition=%none, body=%body, \
backend_config={"known_trip_count":{"n":"4"}}
  ROOT %r = (s32[], f32[8]{0:T(128)}) copy(%w), \
backend_config={"estimated_cycles":"100"}
}
""".replace("\\\n", "")


def test_estimated_cycles_of_a_loop_count_once_per_iteration():
    assert estimated_cycles(hlo.parse(TPU_PROGRAM)) == 4 * 300 + 100


def test_program_without_estimates_has_no_cycles():
    text = TPU_PROGRAM.replace("estimated_cycles", "other")
    assert estimated_cycles(hlo.parse(text)) is None


# --- topologies -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        ("v9:2x2", "is unknown, expected for example: v4:2x2x1, v5e:4x4"),
        ("v5e", "is unknown"),
        ("v5e:4by4", "is unknown"),
        ("v5e:2x2x2", "has sides 2x2x2, expected 2 of at least 1, such as v5e:4x4"),
        ("v5p:4x4", "has sides 4x4, expected 3 of at least 1, such as v5p:2x2x1"),
        ("cpu:0", "expected 1 of at least 1, such as cpu:8"),
        ("cpu:1000", "JAX has already started with 2 devices"),
    ],
)
def test_unknown_topology_is_refused(topology, message):
    jax.devices()
    with pytest.raises(ValueError, match=message):
        chips.make_devices(topology)


def test_missing_libtpu_names_the_extra_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"libtpu: pip install -e '\.\[tpu\]'"):
        chips.make_devices("v5e:2x2")


def test_step_that_does_not_fit_says_how_much_memory_it_needs():
    error = jax.errors.JaxRuntimeError(
        "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.51G of "
        "15.75G hbm. Exceeded hbm capacity by 4.76G."
    )
    message = str(_explain(error))
    assert isinstance(_explain(error), ValueError)
    assert "needs 20.51GiB of memory on each device, which has 15.75GiB" in message
    error = jax.errors.JaxRuntimeError(
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for "
        "HLO temporaries (16.50G) exceeds available HBM (15.75G)."
    )
    assert "needs 16.50GiB of memory" in str(_explain(error))
    other = jax.errors.JaxRuntimeError("INTERNAL: other")
    assert _explain(other) is other


# --- plans ----------------------------------------------------------------------------


def small(**fields):
    """Return a configuration with a generator alone, which compiles fastest."""
    config = tiny_config(global_batch=4)
    config.method = "supervised"
    config.data.size = 64
    config.model.update(width=8, blocks=2)
    config.unlock()
    config.update_from_flattened_dict(fields)
    return config


def test_plan_has_memory_and_collectives_of_the_step():
    plan = plan_step(small(), jax.devices()[:2])
    batch = 4 * 2 * 64 * 64 * (2 + 1)
    state = plan.memory.arguments - batch
    assert state > 3 * plan.collectives[0].bytes * 0.99  # weights, two moments of Adam
    assert plan.memory.aliased == pytest.approx(state, rel=0.01)  # it is donated
    assert plan.microbatch == 2
    assert [c.kind for c in plan.collectives] == ["all-reduce"]
    text = format_report(plan)
    assert "2 devices (cpu), mesh: seeds 1, data 2, fsdp 1, space 1" in text
    assert "times: unknown, no figures are published of cpu devices" in text


def test_times_of_a_plan_add_computation_and_collectives():
    chip = chips.CHIPS["v5e"]
    plan = StepPlan(
        config=tiny_config(global_batch=4),
        devices=2,
        kind=chip.kind,
        chip=chip,
        mesh={"seeds": 1, "data": 2, "fsdp": 1, "space": 1},
        memory=Memory(arguments=3, outputs=2, aliased=1, arrays=4, program=5),
        flops=197 * 10**9,
        collectives=(
            Collective(
                kind="all-reduce",
                axes=("data",),
                group_size=2,
                arrays=(),
                bytes=10**6,
                count=1,
            ),
        ),
        cycles=3 * 10**6,
        compile_seconds=1.0,
    )
    assert plan.memory.peak == 9
    assert plan.least_seconds == pytest.approx(1e-3 + plan.collective_seconds)
    assert plan.expected_seconds == pytest.approx(2e-3 + plan.collective_seconds)
    text = format_report(plan)
    assert "assumed: 197 TFLOP/s" in text and chip.source in text
    assert f"{4 / plan.expected_seconds:.1f} slices/s" in text


@pytest.mark.slow
def test_microbatches_save_memory_and_remat_adds_operations():
    devices = jax.devices()[:2]
    plain = plan_step(small(), devices)
    split = plan_step(small(**{"train.accumulate": 2}), devices)
    remat = plan_step(small(**{"model.remat": True}), devices)
    # The convolutions of CPUs transform kernels once a microbatch.
    assert split.flops == pytest.approx(plain.flops, rel=0.02)
    assert split.microbatch == 1
    assert split.memory.arrays < plain.memory.arrays
    assert [c.kind for c in split.collectives] == ["all-reduce"]
    assert [c.count for c in split.collectives] == [1]
    assert split.collectives[0].bytes == plain.collectives[0].bytes
    assert 1.05 < remat.flops / plain.flops < 1.34  # 4/3 if all were recomputed


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs libtpu: the extra tpu"
)
def test_step_for_tpus_uses_the_compilers_convolutions():
    program = """
import jax, sys
from tiny_run import tiny_config
from synthct_jax.performance.plan import chips, hlo, step_plan
texts = []
parse = hlo.parse
hlo.parse = lambda text: texts.append(text) or parse(text)
plan = step_plan.plan_step(tiny_config(global_batch=4), chips.make_devices("v5e:2x2"))
assert [c.kind for c in plan.collectives] == ["all-reduce"], plan.collectives
assert plan.chip and plan.cycles
opcodes = [i.opcode for i, _, _ in parse(texts[0]).walk(into_fusions=True)]
print(opcodes.count("convolution"))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=variables(XLA_FLAGS=""),  # libtpu ends the process on flags of the CPU
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 20

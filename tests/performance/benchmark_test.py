"""--mode=benchmark says what was measured, of whom and on what."""

import functools
import json

import jax
import jax.numpy as jnp
import pytest
from tiny_run import tiny_config

from input_pipeline.dataset import stream
from input_pipeline.dataset.manifest import load_prepared
from synthct_jax.performance.benchmark import benchmark, clock, input, profiling
from synthct_jax.performance.benchmark.noise import write_noise
from synthct_jax.runtime import environment


@pytest.mark.slow
def test_every_part_is_measured_and_written(tmp_path, monkeypatch):
    monkeypatch.setattr(input, "SECONDS", 0.2)
    quick = functools.partial(clock.repeat, seconds=0.1)
    monkeypatch.setattr(clock, "repeat", quick)
    monkeypatch.setattr(clock, "_SIDES", (256,))
    caching = jax.config.jax_enable_compilation_cache
    try:
        found = benchmark.benchmark(tiny_config(), tmp_path / "benchmark.json")
    finally:
        jax.config.update("jax_enable_compilation_cache", caching)
    kept = json.loads((tmp_path / "benchmark.json").read_text())
    assert kept["step"] == json.loads(json.dumps(found["step"]))
    assert kept["machine"]["device"] == "cpu"
    step = found["step"]
    assert step["slices_per_second"] == 2 / step["median_seconds"]
    # Nothing in this network is wide enough for Winograd to save arithmetic in it.
    assert 0.9 < step["program_flops"] / step["method_flops"] < 2
    assert step["share_of_peak"] == pytest.approx(
        step["program_flops"] / step["median_seconds"] / found["matrix_product_flops"]
    )
    assert 0 <= step["input_wait_share"] < 1
    assert sum(step["share_by_kind"].values()) == pytest.approx(1)
    start = found["start"]
    assert 0 < start["with_cache_seconds"] < start["without_cache_seconds"]
    assert found["translation"]["slices"] == 32
    assert [one["cores"] for one in found["input"]][0] == 1
    assert all(one["pairs_per_second"] > 0 for one in found["input"])
    assert found["checkpoint"]["bytes"] > 10_000
    text = benchmark.table(found)
    assert f" {step['slices_per_second']:.2f} |" in text
    assert len({len(line) for line in text.splitlines()}) == 1, text


def test_times_are_medians_of_rounds_after_the_first_ones():
    calls = []

    def call():
        calls.append(len(calls))
        return jnp.zeros(())

    times = clock.repeat(call, warm_up=2, rounds=5, seconds=0)
    assert len(calls) == 7 and len(times.seconds) == 5
    assert clock.Times((3.0, 1.0, 2.0)).median == 2.0
    assert clock.Times((1.0, 2.0, 3.0)).quartiles == (1.5, 2.5)
    assert clock.Times((4.0,)).quartiles == (4.0, 4.0)


def test_the_peak_of_memory_begins_anew():
    if clock.peak_bytes() is None:
        pytest.skip("this system does not tell")
    environment.return_freed_memory()  # of other tests: it would be taken again
    clock.forget_peak()
    before = clock.peak_bytes()
    block = bytearray(300 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    high = clock.peak_bytes()
    assert high >= before + 250 * 2**20
    del block
    environment.return_freed_memory()
    clock.forget_peak()
    assert clock.peak_bytes() < high


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("dot_general.12", "matrix products"),
        ("ffi_call.7__onednn$matmul", "matrix products"),
        ("convolution.3", "convolutions"),
        ("convert_power_fusion", "arithmetic"),
        ("multiply_bitcast_fusion.1", "arithmetic"),
        ("slice_concatenate_fusion", "moving data"),
        ("all-reduce.2", "arithmetic"),
        ("custom-call", "other"),
    ],
)
def test_operations_are_of_a_kind(name, kind):
    assert profiling.kind(name) == kind


def test_a_program_of_products_spends_its_time_on_them():
    product = jax.jit(lambda a: (a @ a) @ (a + 1))
    a = jnp.ones((512, 512))
    jax.block_until_ready(product(a))
    found = profiling.share_by_kind(lambda: product(a))
    if found is None:
        pytest.skip("the profiler has no operations of this device")
    assert sum(found.values()) == pytest.approx(1)
    assert found["matrix products"] > 0.5


def test_noise_is_prepared_data(tmp_path):
    config = tiny_config()
    write_noise(config, tmp_path / "data", slices=6)
    prepared = load_prepared(tmp_path / "data")
    stream.check_request(prepared, config.data)
    batches = stream.make_stream(tmp_path / "data", config.data, seed=0, global_batch=4)
    batch = next(batches)
    batches.close()
    assert batch["mr"].shape == (4, 32, 32, 2) and batch["ct"].std() > 0.1

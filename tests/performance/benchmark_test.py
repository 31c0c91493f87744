"""Measurements of --mode=benchmark."""

import functools
import json

import jax
import jax.numpy as jnp
import pytest
from absl import flags
from tiny_run import tiny_config

from input_pipeline.dataset.dataset import Dataset
from synthct_jax.performance.benchmark import measure, suite, workloads
from synthct_jax.performance.benchmark.noise import prepare_noise
from synthct_jax.runtime import cpu_memory


@pytest.mark.slow
def test_benchmark_measures_every_part_and_writes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(workloads, "SECONDS", 0.2)
    quick = functools.partial(measure.time_calls, seconds=0.1)
    monkeypatch.setattr(measure, "time_calls", quick)
    monkeypatch.setattr(measure, "_MATMUL_SIDES", (256,))
    if not flags.FLAGS.is_parsed():  # grain's worker processes read them
        flags.FLAGS.mark_as_parsed()
    caching = jax.config.jax_enable_compilation_cache
    config = tiny_config()
    config.phantom.update(anatomies=2, scanner="randomised")
    config.loss.simulated = 10.0
    try:
        results = suite.run_benchmark(config, tmp_path / "benchmark.json")
    finally:
        jax.config.update("jax_enable_compilation_cache", caching)
    kept = json.loads((tmp_path / "benchmark.json").read_text())
    assert kept["step"] == json.loads(json.dumps(results["step"]))
    assert kept["machine"]["device"] == "cpu"
    step = results["step"]
    assert step["slices_per_second"] == 2 / step["median_seconds"]
    # Nothing in this network is wide enough for Winograd to save arithmetic in it.
    assert 0.9 < step["program_flops"] / step["method_flops"] < 2
    assert step["share_of_peak"] == pytest.approx(
        step["program_flops"] / step["median_seconds"] / results["matrix_product_flops"]
    )
    assert 0 <= step["input_wait_share"] < 1
    start = results["start"]
    assert 0 < start["with_cache_seconds"] < start["without_cache_seconds"]
    assert results["translation"]["slices"] == 32
    assert all(rate > 0 for rate in results["input"]["pairs_per_second"].values())
    assert results["checkpoint"]["bytes"] > 10_000
    text = suite.format_table(results)
    assert f" {step['slices_per_second']:.2f} |" in text
    assert len({len(line) for line in text.splitlines()}) == 1, text


def test_times_leave_out_the_warm_up_calls():
    calls = []

    def call():
        calls.append(len(calls))
        return jnp.zeros(())

    times = measure.time_calls(call, warm_up=2, rounds=5, seconds=0)
    assert len(calls) == 7 and len(times) == 5
    summary = measure.summarise([3.0, 1.0, 2.0])
    assert summary["median_seconds"] == 2.0
    assert summary["quartiles_seconds"] == (1.5, 2.5)


def test_peak_memory_begins_anew_after_a_reset():
    if measure.peak_memory_bytes() is None:
        pytest.skip("this system does not tell")
    cpu_memory.return_freed_memory()  # of other tests, which would be used again
    measure.reset_peak_memory()
    before = measure.peak_memory_bytes()
    block = bytearray(300 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    high = measure.peak_memory_bytes()
    assert high >= before + 250 * 2**20
    del block
    cpu_memory.return_freed_memory()
    measure.reset_peak_memory()
    assert measure.peak_memory_bytes() < high


def test_noise_can_be_read_as_prepared_data(tmp_path):
    config = tiny_config()
    prepare_noise(config, tmp_path / "data", slices=6)
    dataset = Dataset.open(tmp_path / "data")
    batches = dataset.batches(config.data, seed=0, global_batch=4)
    batch = next(batches)
    batches.close()
    assert batch["mr"].shape == (4, 32, 32, 2) and batch["ct"].std() > 0.1

"""All measurements of a configuration on the devices at hand: --mode=benchmark."""

import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging
from ml_collections import ConfigDict

from input_pipeline import files
from input_pipeline.cpus import cpu_count
from synthct_jax.checkpoint.metadata import library_versions
from synthct_jax.model.ranges import check_ranges
from synthct_jax.parallel.batches import draw_anatomies, simulates_pairs
from synthct_jax.parallel.mesh import choose_mesh
from synthct_jax.performance.benchmark import measure, startup, step, workloads
from synthct_jax.performance.benchmark.noise import prepare_noise

OUTPUT = "benchmark.json"
_SLICES = 64  # of each domain, at least


def run_benchmark(config: ConfigDict, output: Path) -> dict[str, Any]:
    """Measure start, input, step, translation and checkpoints of `config`, on noise.

    Write the results to `output` (JSON) and return them. JAX's compilation cache is off
    for the rest of the process.
    """
    check_ranges(config)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="synthct_jax_benchmark_") as folder:
        data_dir = Path(folder) / "data"
        anatomies_dir = Path(folder) / "anatomies"
        if simulates_pairs(config):
            config = config.copy_and_resolve_references()
            config.phantom.anatomies = 1  # no rate depends on their number
            draw_anatomies(config, anatomies_dir)
        prepare_noise(config, data_dir, slices=max(_SLICES, config.train.global_batch))
        logging.info("Start")
        results["start"] = startup.measure_startup(
            config, data_dir, anatomies_dir, Path(folder)
        )
        # Compile times are measured, not the time to read programs from the cache.
        jax.config.update("jax_enable_compilation_cache", False)
        mesh = choose_mesh(config)
        results |= {"machine": describe_machine(), "config": config.to_dict()}
        logging.info("Input")
        results["input"] = workloads.measure_data_loading(
            config, data_dir, anatomies_dir
        )
        rate = measure.matmul_flops_per_second(jnp.dtype(config.model.dtype))
        results["matrix_product_flops"] = rate
        logging.info("Training step")
        results["step"] = step.measure_step(
            config, mesh, data_dir, anatomies_dir, matmul_rate=rate
        )
        logging.info("Translation")
        results["translation"] = workloads.measure_translation(config)
        logging.info("Checkpoint")
        run = Path(folder) / "run"
        results["checkpoint"] = workloads.measure_checkpoint(config, mesh, run)
    files.write_file(output, json.dumps(results, indent=1) + "\n")
    return results


def describe_machine() -> dict[str, Any]:
    """Return devices, cores, processor and library versions of this process."""
    devices = jax.devices()
    return {
        "devices": len(devices),
        "device": devices[0].device_kind,
        "cores": cpu_count(),
        "processor": _processor(),
        "versions": library_versions(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.processor()).strip()


def format_table(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table that is also aligned for a terminal."""
    s, t, c = results["step"], results["translation"], results["checkpoint"]
    start, rates = results["start"], results["input"]["pairs_per_second"]
    rows = [
        ("start to first step, s", f"{start['without_cache_seconds']:.1f}"),
        ("the same with cached programs, s", f"{start['with_cache_seconds']:.1f}"),
        ("matrix products, GFLOP/s", f"{results['matrix_product_flops'] / 1e9:.0f}"),
        ("step, median (quartiles), s", _median_and_quartiles(s)),
        ("compiling the step, s", f"{s['compile_seconds']:.1f}"),
        ("slices of each domain a second", f"{s['slices_per_second']:.2f}"),
        ("step as defined, GFLOP", f"{s['method_flops'] / 1e9:.4g}"),
        ("step as computed, GFLOP", f"{s['program_flops'] / 1e9:.4g}"),
        ("rate of the step as computed", f"{s['share_of_peak']:.0%}"),
        ("rate of the step as defined", f"{s['method_share_of_peak']:.0%}"),
        ("peak memory of the step, GiB", _gib(s["peak_bytes"])),
        ("step with its input, mean, s", f"{s['loop_mean_seconds']:.4g}"),
        ("time waiting for input", f"{s['input_wait_share']:.1%}"),
        (f"translating {t['slices']} slices, s", _median_and_quartiles(t)),
        ("compiling the translation, s", f"{t['compile_seconds']:.1f}"),
        ("slices translated a second", f"{t['slices_per_second']:.1f}"),
        ("peak memory of translation, GiB", _gib(t["peak_bytes"])),
        ("pairs read a second by threads", f"{rates['threads']:.0f}"),
        ("pairs read a second by processes", f"{rates['processes']:.0f}"),
        ("a save stops training for, s", f"{c['stops_training_seconds']:.2f}"),
        ("save, s", f"{c['save_seconds']:.2f}"),
        ("restore, s", f"{c['restore_seconds']:.2f}"),
        ("checkpoint, MB", f"{c['bytes'] / 1e6:.0f}"),
    ]
    left = max(len(name) for name, _ in rows)
    right = max(len(value) for _, value in rows)
    head = [("", ""), ("-" * left, "-" * (right - 1) + ":")]
    return "\n".join(f"| {a:{left}} | {b:>{right}} |" for a, b in head + rows)


def _median_and_quartiles(times: dict[str, Any]) -> str:
    low, high = times["quartiles_seconds"]
    return f"{times['median_seconds']:.4g} ({low:.4g} to {high:.4g})"


def _gib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**30:.2f}"

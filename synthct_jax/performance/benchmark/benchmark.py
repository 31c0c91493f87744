"""How fast a configuration is on the devices at hand: --mode=benchmark."""

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
from synthct_jax.checkpoint import manager
from synthct_jax.parallel.mesh import choose_mesh
from synthct_jax.performance.benchmark import (
    checkpointing,
    clock,
    input,
    start,
    step,
    translation,
)
from synthct_jax.performance.benchmark.noise import write_noise

FILE = "benchmark.json"
_SLICES = 64  # of each domain, in the noise that stands for data


def benchmark(config: ConfigDict, output: Path) -> dict[str, Any]:
    """Measures the step, translation, input and checkpoints of `config`, on noise.

    Writes `output`, a JSON file.

    Raises:
        ValueError: the configuration does not fit the devices.
    """
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="synthct_jax_benchmark_") as folder:
        data_dir = Path(folder) / "data"
        write_noise(config, data_dir, slices=max(_SLICES, config.train.global_batch))
        logging.info("Start")
        found["start"] = start.measure_start(config, data_dir, Path(folder))
        # The compiler's own time is measured, not that of reading what it did before.
        jax.config.update("jax_enable_compilation_cache", False)
        mesh = choose_mesh(config)
        found |= {"machine": describe_machine(), "config": config.to_dict()}
        logging.info("Input")
        found["input"] = input.measure_input(config, data_dir)
        peak = clock.peak_flops(jnp.dtype(config.model.dtype))
        found["matrix_product_flops"] = peak
        logging.info("Training step")
        found["step"] = step.measure_step(config, mesh, data_dir, peak=peak)
        logging.info("Translation")
        found["translation"] = translation.measure_translation(config)
        logging.info("Checkpoint")
        found["checkpoint"] = checkpointing.measure_saving(
            config, mesh, Path(folder) / "run"
        )
    files.write_file(output, json.dumps(found, indent=1) + "\n")
    return found


def describe_machine() -> dict[str, Any]:
    devices = jax.devices()
    return {
        "devices": len(devices),
        "device": devices[0].device_kind,
        "processes": jax.process_count(),
        "cores": len(input.cores()),
        "processor": _processor(),
        "versions": manager.versions(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.processor()).strip()


def table(found: dict[str, Any]) -> str:
    """What was measured, for a terminal or a page of Markdown."""
    s, t, c = found["step"], found["translation"], found["checkpoint"]
    starts = found["start"]
    rows = [
        ("start to first step, s", f"{starts['without_cache_seconds']:.1f}"),
        ("the same again, programs kept, s", f"{starts['with_cache_seconds']:.1f}"),
        ("matrix product, GFLOP/s", f"{found['matrix_product_flops'] / 1e9:.0f}"),
        ("step, s", _spread(s)),
        ("step compiled, s", f"{s['compile_seconds']:.1f}"),
        ("slices of each domain a second", f"{s['slices_per_second']:.2f}"),
        ("arithmetic of the method, GFLOP", f"{s['method_flops'] / 1e9:.4g}"),
        ("arithmetic of the program, GFLOP", f"{s['program_flops'] / 1e9:.4g}"),
        ("share of the matrix product's rate", f"{s['share_of_peak']:.0%}"),
        ("the same by the method's arithmetic", f"{s['method_share_of_peak']:.0%}"),
        ("memory of the step at most, GiB", _gib(s["peak_bytes"])),
        *(
            (f"of the step, {kind}", f"{share:.0%}")
            for kind, share in (s["share_by_kind"] or {}).items()
            if share
        ),
        ("step with its input, s", f"{s['loop_median_seconds']:.4g}"),
        ("of that, waiting for input", f"{s['input_wait_share']:.1%}"),
        (f"translation of {t['slices']} slices, s", _spread(t)),
        ("translation compiled, s", f"{t['compile_seconds']:.1f}"),
        ("slices translated a second", f"{t['slices_per_second']:.1f}"),
        ("memory of translation at most, GiB", _gib(t["peak_bytes"])),
        *(
            (
                f"pairs read a second, {one['cores']} cores, {one['workers']} workers",
                f"{one['pairs_per_second']:.0f}",
            )
            for one in found["input"]
        ),
        ("save stops training, s", f"{c['stops_training_seconds']:.2f}"),
        ("save, s", f"{c['save_seconds']:.2f}"),
        ("restore, s", f"{c['restore_seconds']:.2f}"),
        ("checkpoint, MB", f"{c['bytes'] / 1e6:.0f}"),
    ]
    left = max(len(name) for name, _ in rows)
    right = max(len(value) for _, value in rows)
    head = [("", ""), ("-" * left, "-" * (right - 1) + ":")]
    return "\n".join(f"| {a:{left}} | {b:>{right}} |" for a, b in head + rows)


def _spread(times: dict[str, Any]) -> str:
    low, high = times["quartiles_seconds"]
    return f"{times['median_seconds']:.4g} ({low:.4g} to {high:.4g})"


def _gib(size: int | None) -> str:
    return "not told" if size is None else f"{size / 2**30:.2f}"

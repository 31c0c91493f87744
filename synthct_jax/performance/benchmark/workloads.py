"""Rates of the input pipeline and of translation, and the time of a checkpoint."""

import contextlib
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from input_pipeline.cpus import cpu_count
from input_pipeline.dataset.dataset import Dataset
from synthct_jax.checkpoint.manager import Checkpoints
from synthct_jax.checkpoint.metadata import CheckpointMetadata, library_versions
from synthct_jax.inference.translator import Translator
from synthct_jax.model import methods
from synthct_jax.model.step import make_init
from synthct_jax.parallel import sharding
from synthct_jax.parallel.batches import open_batches
from synthct_jax.performance.benchmark import measure

SLICES = 32  # of the volume that is translated
SECONDS = 5.0  # of a measurement of the input pipeline
_WARM_UP_BATCHES = 4  # while threads and worker processes start


def measure_data_loading(
    config: ConfigDict, data_dir: Path, anatomies_dir: Path
) -> dict[str, Any]:
    """Measure pairs a second, read by threads and by one worker process a core."""
    cores = cpu_count()
    dataset = Dataset.open(data_dir)
    batch = config.mesh.seeds * config.train.global_batch
    mesh = sharding.make_mesh(jax.local_devices()[:1])
    config = config.copy_and_resolve_references()
    rates = {}
    for name, workers in (("threads", 0), ("processes", cores)):
        config.data.workers = workers
        with contextlib.closing(
            open_batches(config, dataset, mesh, anatomies_dir=anatomies_dir)
        ) as batches:
            for _ in range(_WARM_UP_BATCHES):
                next(batches)
            began, count = time.perf_counter(), 0
            while time.perf_counter() - began < SECONDS:
                next(batches)
                count += batch
            rates[name] = count / (time.perf_counter() - began)
    return {"cores": cores, "pairs_per_second": rates}


def measure_translation(config: ConfigDict) -> dict[str, Any]:
    """Time the translation of `SLICES` slices of noise, from int16 MR to HU."""
    measure.reset_peak_memory()
    method, size = methods.from_config(config), config.data.size
    params = method.init(method.initial_key(0), batch=1, size=size).generators["to_ct"]
    channels = tuple(config.data.mr_channels)
    translator = Translator(method, config.data, stored_channels=channels)
    shape = (SLICES, size, size, len(channels))
    volume = np.random.default_rng(0).integers(0, 1_000, shape, dtype=np.int16)
    first, *times = measure.time_calls(
        lambda: translator(params, volume), warm_up=0, rounds=4
    )
    summary = measure.summarise(times)
    return {
        **summary,
        "compile_seconds": first - summary["median_seconds"],
        "slices": SLICES,
        "slices_per_second": SLICES / summary["median_seconds"],
        "peak_bytes": measure.peak_memory_bytes(),
    }


def measure_checkpoint(config: ConfigDict, mesh: Mesh, workdir: Path) -> dict[str, Any]:
    """Save and restore a new training state.

    A save stops training until the state is copied, and goes on in the background until
    it is on disk.
    """
    method = methods.from_config(config, mesh=mesh)
    init, abstract = make_init(method, config, mesh)
    state = jax.block_until_ready(init(method.initial_key(config.seed)))
    metadata = CheckpointMetadata(
        config=config.to_dict(), prepared={}, data_dir="", versions=library_versions()
    )
    with Checkpoints(workdir) as checkpoints:
        began = time.perf_counter()
        checkpoints.save(state.replace(step=state.step + 1), metadata)
        stopped = time.perf_counter() - began
        checkpoints.wait()
        saved = time.perf_counter() - began
        began = time.perf_counter()
        jax.block_until_ready(checkpoints.restore(abstract, 1))
        restored = time.perf_counter() - began
    files = [path for path in workdir.rglob("checkpoints/**/*") if path.is_file()]
    return {
        "stops_training_seconds": stopped,
        "save_seconds": saved,
        "restore_seconds": restored,
        "bytes": sum(path.stat().st_size for path in files),
    }

"""Time of saving and restoring a checkpoint."""

import time
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from synthct_jax.checkpoint.manager import Checkpoints
from synthct_jax.checkpoint.metadata import CheckpointMetadata, library_versions
from synthct_jax.model import methods
from synthct_jax.model.step import make_init


def measure_checkpoint(config: ConfigDict, mesh: Mesh, workdir: Path) -> dict[str, Any]:
    """Save and restore a new training state.

    A save stops training until the state is copied, and goes on in the background until
    it is on disk.
    """
    method = methods.from_config(config, mesh=mesh)
    init, abstract = make_init(method, config, mesh)
    state = jax.block_until_ready(init(jax.random.key(config.seed)))
    metadata = CheckpointMetadata(
        config=config.to_dict(),
        prepared={},
        data_dir="",
        versions=library_versions(),
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
    folder = workdir / "checkpoints"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {
        "stops_training_seconds": stopped,
        "save_seconds": saved,
        "restore_seconds": restored,
        "bytes": size,
    }

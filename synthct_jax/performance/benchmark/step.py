"""Time of the training step, and how much of the device it uses."""

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from input_pipeline.dataset.dataset import Dataset
from synthct_jax.model import methods
from synthct_jax.model.step import check_sizes, compiled, make_init, make_step
from synthct_jax.model.train_state import Metrics
from synthct_jax.parallel import sharding
from synthct_jax.performance.benchmark import measure, profiling
from synthct_jax.performance.flops import count_flops
from synthct_jax.runtime import cpu_memory


class CompiledStep:
    """The compiled step of a configuration, with a state and a batch of noise.

    Attributes:
        batch: of images, as `Dataset.batches` yields them, on the devices.
        compile_seconds: of tracing and compiling.
    """

    def __init__(self, config: ConfigDict, mesh: Mesh, *, platform: str | None = None):
        method = methods.from_config(config, mesh=mesh, platform=platform)
        check_sizes(config, method)
        init, abstract = make_init(method, config, mesh)
        self._step = make_step(method, mesh, abstract)
        self._state = init(jax.random.key(config.seed))
        del init  # frees its program, as training does
        size = config.data.crop or config.data.size
        rng = np.random.default_rng(0)
        _, shares = sharding.share_of_process(mesh)
        local = config.train.global_batch // shares
        self.batch = sharding.to_global(
            {
                domain: rng.uniform(-1, 1, (local, size, size, channels)).astype("f4")
                for domain, channels in (("mr", method.mr_channels), ("ct", 1))
            },
            mesh,
        )
        began = time.perf_counter()
        self._compiled = compiled(self._step, self._state, self.batch)
        self.compile_seconds = time.perf_counter() - began
        cpu_memory.keep_freed_memory()  # as training does

    def __call__(self) -> Metrics:
        """Run one step and return its losses, which may not be computed yet."""
        self._state, losses = self._compiled(self._state, self.batch)
        return losses

    @property
    def program_flops(self) -> int:
        """Operations on one device, with convolutions as the program computes them."""
        return count_flops(self._step.trace(self._state, self.batch).jaxpr)


def method_flops(config: ConfigDict, mesh: Mesh) -> int:
    """Count operations on one device, with convolutions as they are defined."""
    method = methods.from_config(config, mesh=mesh, platform="any")
    _, state = make_init(method, config, mesh)
    size = config.data.crop or config.data.size
    batch = {
        domain: jax.ShapeDtypeStruct(
            (config.train.global_batch, size, size, channels), jnp.float32
        )
        for domain, channels in (("mr", method.mr_channels), ("ct", 1))
    }
    return count_flops(make_step(method, mesh, state).trace(state, batch).jaxpr)


def measure_step(
    config: ConfigDict, mesh: Mesh, data_dir: Path, *, matmul_rate: float
) -> dict[str, Any]:
    """Time the step alone, then in a loop that reads its batches as training does.

    Args:
        matmul_rate: operations per second of matrix products on one device.
    """
    measure.reset_peak_memory()
    step = CompiledStep(config, mesh)
    times = measure.time_calls(step, warm_up=2)
    memory = measure.peak_memory_bytes()
    of_method, of_program = method_flops(config, mesh), step.program_flops
    waited, wall, count = _run_loop(step, config, mesh, data_dir, times.median)
    return {
        **times.as_dict(),
        "compile_seconds": step.compile_seconds,
        "slices_per_second": config.train.global_batch / times.median,
        "peak_bytes": memory,
        "method_flops": of_method,
        "program_flops": of_program,
        "flops_per_second": of_program / times.median,
        "share_of_peak": of_program / times.median / matmul_rate,
        "method_share_of_peak": of_method / times.median / matmul_rate,
        "loop_mean_seconds": wall / count,
        "input_wait_share": waited / wall,
        "share_by_kind": profiling.time_shares(step),
    }


def _run_loop(
    step: CompiledStep, config: ConfigDict, mesh: Mesh, data_dir: Path, seconds: float
) -> tuple[float, float, int]:
    """Run steps for about ten seconds; return seconds of waiting, of all, and steps."""
    count = int(np.clip(10 / seconds, 3, 200))
    share, shares = sharding.share_of_process(mesh)
    batches = Dataset.open(data_dir).batches(
        config.data,
        seed=config.seed,
        global_batch=config.train.global_batch,
        process_index=share,
        process_count=shares,
    )
    try:
        step.batch = sharding.to_global(next(batches), mesh)
        jax.block_until_ready(step())
        waited, began = 0.0, time.perf_counter()
        for _ in range(count):
            losses = step()
            wait_began = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - wait_began
            step.batch = sharding.to_global(batch, mesh)
            jax.block_until_ready(losses)
        return waited, time.perf_counter() - began, count
    finally:
        batches.close()

"""The training step: how long it takes, how much of the device it uses."""

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from input_pipeline.dataset import stream
from synthct_jax.model import method
from synthct_jax.model.cyclegan import Metrics
from synthct_jax.model.step import check_sizes, compiled, make_init, make_step
from synthct_jax.parallel import sharding
from synthct_jax.performance.benchmark import clock, profiling
from synthct_jax.performance.flops import count_flops


class ReadyStep:
    """The step of a configuration, compiled, with a state and a batch of noise.

    Attributes:
        compile_seconds: of tracing and compiling.
    """

    def __init__(self, config: ConfigDict, mesh: Mesh, *, platform: str | None = None):
        self._gan = method.from_config(config, mesh=mesh, platform=platform)
        check_sizes(config, self._gan)
        init, abstract = make_init(self._gan, config, mesh)
        self._step = make_step(self._gan, mesh, abstract)
        self.state = init(jax.random.key(config.seed))
        del init  # as training does
        size = config.data.crop or config.data.size
        rng = np.random.default_rng(0)
        share, shares = sharding.share_of_process(mesh)
        local = config.train.global_batch // shares
        self.batch = sharding.to_global(
            {
                name: rng.uniform(-1, 1, (local, size, size, channels)).astype("f4")
                for name, channels in (("mr", self._gan.mr_channels), ("ct", 1))
            },
            mesh,
        )
        began = time.perf_counter()
        self.compiled = compiled(self._step, self.state, self.batch)
        self.compile_seconds = time.perf_counter() - began

    def __call__(self) -> Metrics:
        self.state, metrics = self.compiled(self.state, self.batch)
        return metrics

    @property
    def program_flops(self) -> int:
        """What the program does on a device, with the convolutions it is written in."""
        return count_flops(self._step.trace(self.state, self.batch).jaxpr)


def method_flops(config: ConfigDict, mesh: Mesh) -> int:
    """What the definition of the step asks of one device, however it is computed."""
    gan = method.from_config(config, mesh=mesh, platform="any")
    _, state = make_init(gan, config, mesh)
    size = config.data.crop or config.data.size
    batch = {
        name: jax.ShapeDtypeStruct(
            (config.train.global_batch, size, size, channels), jnp.float32
        )
        for name, channels in (("mr", gan.mr_channels), ("ct", 1))
    }
    return count_flops(make_step(gan, mesh, state).trace(state, batch).jaxpr)


def measure_step(
    config: ConfigDict, mesh: Mesh, data_dir: Path, *, peak: float
) -> dict[str, Any]:
    """Times one step alone, then in a loop that reads its batches as training does.

    Args:
        peak: multiplications and additions a second of one device.
    """
    clock.forget_peak()
    step = ReadyStep(config, mesh)
    alone = clock.repeat(step, warm_up=2)
    memory = clock.peak_bytes()
    asked, done = method_flops(config, mesh), step.program_flops
    waited, wall, count = _loop(step, config, mesh, data_dir, alone.median)
    return {
        **alone.as_dict(),
        "compile_seconds": step.compile_seconds,
        "slices_per_second": config.train.global_batch / alone.median,
        "peak_bytes": memory,
        "method_flops": asked,
        "program_flops": done,
        "flops_per_second": done / alone.median,
        "share_of_peak": done / alone.median / peak,
        "method_share_of_peak": asked / alone.median / peak,
        "loop_median_seconds": wall / count,
        "input_wait_share": waited / wall,
        "share_by_kind": profiling.share_by_kind(step),
    }


def _loop(
    step: ReadyStep, config: ConfigDict, mesh: Mesh, data_dir: Path, seconds: float
) -> tuple[float, float, int]:
    """Seconds waited for batches, seconds in all, and steps."""
    count = int(np.clip(10 / seconds, 3, 200))
    share, shares = sharding.share_of_process(mesh)
    batches = stream.make_stream(
        data_dir,
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
            metrics = step()
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            step.batch = sharding.to_global(batch, mesh)
            jax.block_until_ready(metrics)
        return waited, time.perf_counter() - began, count
    finally:
        batches.close()

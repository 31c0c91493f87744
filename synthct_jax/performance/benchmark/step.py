"""Time of the training step, and how much of the device it uses."""

import contextlib
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from input_pipeline.dataset.dataset import Dataset
from synthct_jax.model import methods
from synthct_jax.model.ranges import check_relations
from synthct_jax.model.step import abstract_batch, compile_step, make_init, make_step
from synthct_jax.model.train_state import Metrics
from synthct_jax.parallel import sharding
from synthct_jax.parallel.batches import open_batches
from synthct_jax.performance.benchmark import measure
from synthct_jax.performance.flops import count_flops
from synthct_jax.runtime import cpu_memory


class CompiledStep:
    """The compiled training step of a configuration; a call runs it.

    The state is updated by each call.

    Attributes:
        batch: images by domain, at first noise.
        compile_seconds: time that compilation took.
    """

    def __init__(self, config: ConfigDict, mesh: Mesh, *, platform: str | None = None):
        method = methods.from_config(config, mesh=mesh, platform=platform)
        check_relations(config, size_multiple=method.size_multiple)
        init, abstract = make_init(method, config, mesh)
        step = make_step(method, mesh, abstract)
        self._state = init(method.initial_key(config.seed))
        del init  # frees its program, as training does
        rng = np.random.default_rng(0)

        def noise(images: jax.ShapeDtypeStruct) -> jax.Array:
            def part(index: tuple[slice, ...]) -> np.ndarray:
                ends = [i.indices(n) for i, n in zip(index, images.shape, strict=True)]
                shape = [stop - start for start, stop, _ in ends]
                return rng.uniform(-1, 1, shape).astype(np.float32)

            return jax.make_array_from_callback(images.shape, images.sharding, part)

        self.batch = jax.tree.map(noise, abstract_batch(config, method, mesh))
        began = time.perf_counter()
        self._compiled = compile_step(step, self._state, self.batch)
        self.compile_seconds = time.perf_counter() - began
        cpu_memory.keep_freed_memory()  # as training does

    def __call__(self) -> Metrics:
        """Run one step and return its losses, which may not be computed yet."""
        self._state, losses = self._compiled(self._state, self.batch)
        return losses


def count_step_flops(
    config: ConfigDict, mesh: Mesh, *, platform: str | None = None
) -> int:
    """Count the FLOPs of a training step on one device, without compiling it.

    Multiplications and additions of convolutions and matrix products count.

    Args:
        platform: platform whose implementation of the layers is counted; 'any' for
            convolutions as they are defined, None for that of `mesh`.
    """
    method = methods.from_config(config, mesh=mesh, platform=platform)
    _, state = make_init(method, config, mesh)
    step = make_step(method, mesh, state)
    return count_flops(step.trace(state, abstract_batch(config, method, mesh)).jaxpr)


def measure_step(
    config: ConfigDict,
    mesh: Mesh,
    data_dir: Path,
    anatomies_dir: Path,
    *,
    matmul_rate: float,
) -> dict[str, Any]:
    """Measure time, memory and utilisation of the step, alone and with its input.

    Args:
        anatomies_dir: label maps for simulated pairs, if the configuration has any.
        matmul_rate: FLOP/s of matrix products on one device.
    """
    measure.reset_peak_memory()
    step = CompiledStep(config, mesh)
    times = measure.summarise(measure.time_calls(step, warm_up=2))
    memory, seconds = measure.peak_memory_bytes(), times["median_seconds"]
    of_method = count_step_flops(config, mesh, platform="any")
    of_program = count_step_flops(config, mesh)
    return {
        **times,
        "compile_seconds": step.compile_seconds,
        "slices_per_second": config.mesh.seeds * config.train.global_batch / seconds,
        "peak_bytes": memory,
        "method_flops": of_method,
        "program_flops": of_program,
        "share_of_peak": of_program / seconds / matmul_rate,
        "method_share_of_peak": of_method / seconds / matmul_rate,
        **_measure_loop(
            step, config, mesh, data_dir, anatomies_dir, steps=10 / seconds
        ),
    }


def _measure_loop(
    step: CompiledStep,
    config: ConfigDict,
    mesh: Mesh,
    data_dir: Path,
    anatomies_dir: Path,
    *,
    steps: float,
) -> dict[str, float]:
    """Run about so many steps; return the mean time, and the share spent waiting."""
    count = int(np.clip(steps, 3, 200))
    dataset = Dataset.open(data_dir)
    batches = open_batches(config, dataset, mesh, anatomies_dir=anatomies_dir)
    with contextlib.closing(batches):
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
        wall = time.perf_counter() - began
    return {"loop_mean_seconds": wall / count, "input_wait_share": waited / wall}

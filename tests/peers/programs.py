"""Programs to compare: each returns a function that runs the task once.

Each runs in a process of its own, and imports there what it needs.
"""

import contextlib
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from synthct_jax.configs import default
from synthct_jax.parallel.mesh import choose_mesh

Call = Callable[[], Any]
BATCH = 8  # slices translated at once, as our translator does


def make_config(task: Mapping[str, Any]) -> ConfigDict:
    """Return our configuration with the settings of the PyTorch program."""
    config = default.get_config()
    config.unlock()
    config.data.mr_channels = ("in_phase", "out_of_phase", "t2")[: task["channels"]]
    config.data.size = task["size"]
    config.model.width = config.model.discriminator_width = task["width"]
    config.model.blocks = task["blocks"]
    config.loss.identity = 0.5
    config.train.global_batch = task["batch"]
    config.train.pool_size = 0
    return config


# --- one training step ----------------------------------------------------------------


def our_step(task: Mapping[str, Any], **changes: Any) -> Call:
    from synthct_jax.runtime import environment

    environment.set_environment()
    import jax

    from synthct_jax.performance.benchmark.step import CompiledStep

    config = make_config(task)
    step = CompiledStep(config, choose_mesh(config), **changes)
    return lambda: jax.device_get(step())


def torch_step(
    task: Mapping[str, Any],
    *,
    compiled: bool = False,
    channels_last: bool = False,
    bfloat16: bool = False,
) -> Call:
    import torch

    from tests.peers.torch_cyclegan import TorchCycleGan

    size = dict(width=task["width"], blocks=task["blocks"])
    model = TorchCycleGan(task["channels"], **size, autocast=bfloat16)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for networks in (model.generators, model.discriminators):
        for name, network in networks.items():
            network.to(memory_format=layout)
            networks[name] = torch.compile(network) if compiled else network
    rng, size = np.random.default_rng(0), task["size"]
    mr, ct = (
        torch.from_numpy(
            rng.uniform(-1, 1, (task["batch"], channels, size, size)).astype("f4")
        ).to(memory_format=layout)
        for channels in (task["channels"], 1)
    )
    return lambda: model.step(mr, ct)


STEPS: dict[str, Callable[[Mapping[str, Any]], Call]] = {
    "synthct_jax": our_step,
    "PyTorch eager": torch_step,
    "PyTorch channels-last": partial(torch_step, channels_last=True),
    "PyTorch compiled": partial(torch_step, compiled=True),
    "PyTorch compiled, channels-last": partial(
        torch_step, compiled=True, channels_last=True
    ),
    "PyTorch bfloat16": partial(torch_step, bfloat16=True),
    # Our step with the convolutions that TPUs and GPUs use.
    "JAX, XLA's convolutions": partial(our_step, platform="any"),
}


# --- translation of a volume ----------------------------------------------------------


def our_translation(task: Mapping[str, Any], **changes: Any) -> Call:
    from synthct_jax.runtime import environment

    environment.set_environment()
    import jax

    from synthct_jax.inference.translator import Translator
    from synthct_jax.model import methods

    config = make_config(task)
    method = methods.from_config(config, **changes)
    params = method.init(jax.random.key(0), batch=1, size=task["size"]).generators
    translator = Translator(
        method, config.data, stored_channels=tuple(config.data.mr_channels)
    )
    stored = np.random.default_rng(0).integers(
        0,
        1_000,
        (task["slices"], task["size"], task["size"], task["channels"]),
        dtype=np.int16,
    )
    return lambda: translator(params["to_ct"], stored)


def _generator(task: Mapping[str, Any]):
    from tests.peers.torch_cyclegan import Generator

    network = Generator(task["channels"], 1, width=task["width"], blocks=task["blocks"])
    return network.eval()


def _volume(task: Mapping[str, Any]) -> np.ndarray:
    """Return noise of shape (slices, channels, size, size) for programs beside JAX."""
    shape = (task["slices"], task["channels"], task["size"], task["size"])
    return np.random.default_rng(0).uniform(-1, 1, shape).astype("f4")


def _in_batches(function: Callable, volume: Any) -> Call:
    return lambda: [
        function(volume[start : start + BATCH])
        for start in range(0, len(volume), BATCH)
    ]


def torch_translation(
    task: Mapping[str, Any],
    *,
    compiled: bool = False,
    channels_last: bool = False,
    bfloat16: bool = False,
) -> Call:
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = _generator(task).to(memory_format=layout)
    if compiled:
        network = torch.compile(network)
    volume = torch.from_numpy(_volume(task)).to(memory_format=layout)

    def translate(batch: torch.Tensor) -> torch.Tensor:
        with (
            torch.inference_mode(),
            torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
        ):
            return network(batch)

    return _in_batches(translate, volume)


@contextlib.contextmanager
def _exported(task: Mapping[str, Any]):
    """Yield the path of the generator as an ONNX file."""
    import torch

    shape = (BATCH, task["channels"], task["size"], task["size"])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "generator.onnx"
        torch.onnx.export(
            _generator(task), (torch.zeros(shape),), path, input_names=["x"]
        )
        yield path


def onnxruntime_translation(task: Mapping[str, Any]) -> Call:
    import onnxruntime

    with _exported(task) as path:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return _in_batches(
        lambda batch: session.run(None, {"x": batch}),
        _volume(task),
    )


def openvino_translation(task: Mapping[str, Any]) -> Call:
    import openvino

    core = openvino.Core()
    with _exported(task) as path:
        model = core.compile_model(
            core.read_model(path),
            "CPU",
            {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"},
        )
    return _in_batches(
        lambda batch: model({"x": batch}),
        _volume(task),
    )


TRANSLATIONS: dict[str, Callable[[Mapping[str, Any]], Call]] = {
    "synthct_jax": our_translation,
    "PyTorch eager": torch_translation,
    "PyTorch channels-last": partial(torch_translation, channels_last=True),
    "PyTorch compiled": partial(torch_translation, compiled=True),
    "PyTorch bfloat16": partial(torch_translation, bfloat16=True),
    "onnxruntime": onnxruntime_translation,
    "OpenVINO": openvino_translation,
    "JAX, XLA's convolutions": partial(our_translation, platform="any"),
}
PROGRAMS = {"step": STEPS, "translation": TRANSLATIONS}
OURS = ("synthct_jax", "JAX, XLA's convolutions")
# Takes minutes a step: runs only where --programs names it.
SLOW = {"step": ("JAX, XLA's convolutions",), "translation": ()}

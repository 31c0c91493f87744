"""A model file as one ONNX file, for programs that run networks without JAX.

The graph takes MR as shares of its scale, (n, channels, rows, columns), and gives HU,
(n, 1, rows, columns), both float32. It is the generator of `model/networks.py` written
once more; `tests/inference/onnx_file_test.py` holds both to the same HU.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from input_pipeline import files
from input_pipeline.intensity import check_knots
from synthct_jax.checkpoint.digest import name_leaves
from synthct_jax.checkpoint.metadata import library_versions
from synthct_jax.checkpoint.model_file import ModelFile, check_output, read_model
from synthct_jax.layers.normalization import EPSILON
from synthct_jax.model import methods
from synthct_jax.model.networks import ResNetGenerator

try:
    from onnx import ModelProto, TensorProto, checker, helper, numpy_helper
except ImportError as error:
    raise ValueError(
        "export --model needs onnx, which is not installed: pip install onnx"
    ) from error

SUFFIX = ".onnx"
# Old enough for the onnxruntime of viewers; nothing newer is needed.
_OPSET, _IR_VERSION = 17, 8
_BINOMIAL = np.outer((1, 2, 1), (1, 2, 1)) / 16

# What a caller needs of the card and of its `config.data`.
_FACTS = ("intended_use", "licence", "contrast_medium", "trained_on", "digest")
_DATA = ("mr_channels", "size", "spacing_mm", "mr_percentile", "mask_outside_body")


def export_onnx(model: str, output: Path) -> None:
    """Write a model file as one ONNX file, computed in float32.

    Args:
        model: a path or a shipped name, see `read_model`.
        output: a new NAME.onnx.

    Raises:
        ValueError: the name does not end in .onnx, or the model is an ensemble.
        FileExistsError: the file exists.
        FileNotFoundError, UnusableModel: as for `read_model`.
    """
    check_output(output, SUFFIX)
    proto = to_onnx(read_model(model))
    output.parent.mkdir(parents=True, exist_ok=True)
    files.write_file(output, proto.SerializeToString())
    logging.info("%.2f MB: %s", output.stat().st_size / 1e6, output)


def to_onnx(model: ModelFile) -> ModelProto:
    """Return a model as ONNX, checked, with what a caller needs in `metadata_props`.

    Raises:
        ValueError: it is an ensemble.
    """
    config = ConfigDict(model.config)
    if config.mesh.seeds > 1:
        raise ValueError(
            f"{model.path} is an ensemble of {config.mesh.seeds} networks, expected "
            "one; method=distilled makes one of them"
        )
    method, data = methods.from_config(config), config.data
    graph = _Graph(name_leaves(model.params))
    mr = _to_unit(graph, "mr", data.mr_exponent)
    ct = _generator(graph, method.to_ct, mr)
    graph.add("Identity", _to_hu(graph, ct, data.ct_knots), output="hu")
    if graph.weights:
        raise NotImplementedError(f"ONNX has no layer for {', '.join(graph.weights)}")

    def images(name: str, channels: int):
        shape = ["slices", channels, "rows", "columns"]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "to_ct",
            [images("mr", method.mr_channels)],
            [images("hu", 1)],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="synthct_jax",
        producer_version=library_versions()["synthct_jax"],
    )
    helper.set_model_props(proto, _properties(model, method.size_multiple))
    checker.check_model(proto, full_check=True)
    return proto


def _properties(model: ModelFile, multiple: int) -> dict[str, str]:
    """Return the metadata of the ONNX file, text by name.

    They say how MR has to be scaled and cut, and what the model is for. `data` holds
    fields of `config.data` as JSON.
    """
    data = {name: model.config["data"][name] for name in _DATA}
    scale = f"percentile {data['mr_percentile']:g} of its values in the body"
    if {"in_phase", "out_of_phase"} <= set(data["mr_channels"]):
        scale += "; out_of_phase has the scale of in_phase"
    return {
        "model": model.path.stem,
        **{name: model.card[name] for name in _FACTS if name in model.card},
        "mr_scaling": f"each channel of a volume divided by its scale: {scale}",
        "outside_body": "0" if data["mask_outside_body"] else "as acquired",
        "size_multiple": str(multiple),
        "data": json.dumps(data),
    }


class _Graph:
    """Nodes and constants of an ONNX graph while it is built.

    Methods take images by their name in the graph and return the name of the result.
    Images have the shape (n, channels, rows, columns).

    Attributes:
        weights: arrays of the network by name, without those that a layer has used.
    """

    def __init__(self, weights: dict[str, np.ndarray]):
        self.nodes, self.constants = [], []
        self.weights = dict(weights)

    def add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node, and return the name of what it computes."""
        output = output or f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        """Add a constant, and return its name."""
        name = f"constant_{len(self.constants)}"
        array = np.ascontiguousarray(value, dtype)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def conv(self, x: str, kernel: np.ndarray, **attributes: Any) -> str:
        """Convolve with a kernel (k, k, i, o)."""
        kernel = self.constant(kernel.transpose(3, 2, 0, 1))
        return self.add("Conv", x, kernel, **attributes)

    def conv_transposed(self, x: str, kernel: np.ndarray) -> str:
        """Upsample by the adjoint of a 3x3 convolution with stride 2 and padding 1."""
        kernel = self.constant(kernel.transpose(2, 3, 0, 1))
        sizes = {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]}
        return self.add("ConvTranspose", x, kernel, **sizes)

    def instance_norm(self, x: str, channels: int) -> str:
        """Normalise each image and channel."""
        scale_and_bias = map(self.constant, (np.ones(channels), np.zeros(channels)))
        return self.add("InstanceNormalization", x, *scale_and_bias, epsilon=EPSILON)

    def pad_reflect(self, x: str, width: int) -> str:
        """Mirror `width` rows and columns around images."""
        pads = self.constant([0, 0, width, width] * 2, np.int64)
        return self.add("Pad", x, pads, mode="reflect")

    def blur(self, x: str, channels: int) -> str:
        """Blur by a 3x3 binomial filter, mirrored at the borders."""
        kernel = np.repeat(_BINOMIAL[:, :, None, None], channels, axis=3)
        return self.conv(self.pad_reflect(x, 1), kernel, group=channels)

    def repeat_pixels(self, x: str) -> str:
        """Repeat each row and column twice."""
        scales = self.constant([1, 1, 2, 2])
        mode = {"mode": "nearest", "nearest_mode": "floor"}
        mode["coordinate_transformation_mode"] = "asymmetric"
        return self.add("Resize", x, "", scales, **mode)


def _generator(graph: _Graph, network: ResNetGenerator, x: str) -> str:
    """Add the layers of `ResNetGenerator`, in its order."""

    def conv(x: str, name: str, *, padding: int = 0, **attributes: Any) -> str:
        x = graph.pad_reflect(x, padding) if padding else x
        return graph.conv(x, graph.weights.pop(f"{name}/kernel"), **attributes)

    def norm_relu(x: str, channels: int) -> str:
        return graph.add("Relu", graph.instance_norm(x, channels))

    def blur(x: str, channels: int) -> str:
        return graph.blur(x, channels) if network.antialias else x

    width = network.width
    x = norm_relu(conv(x, "stem", padding=3), width)
    fine = []
    for i in range(network.downsamplings):
        fine.append(x)
        x = conv(blur(x, width), f"down_{i}", strides=[2, 2], pads=[1] * 4)
        width *= 2
        x = norm_relu(x, width)
    kernels = [graph.weights.pop(f"blocks/conv_{i}/kernel") for i in (0, 1)]
    for first, second in zip(*kernels, strict=True):
        y = norm_relu(graph.conv(graph.pad_reflect(x, 1), first), width)
        y = graph.instance_norm(graph.conv(graph.pad_reflect(y, 1), second), width)
        x = graph.add("Add", x, y)
    for i in reversed(range(network.downsamplings)):
        width //= 2
        if network.upsample == "transposed":
            x = graph.conv_transposed(x, graph.weights.pop(f"up_{i}/kernel"))
        else:
            x = conv(graph.repeat_pixels(x), f"up_{i}", padding=1)
        x = blur(x, width)
        if network.skips:
            x = graph.add("Add", graph.instance_norm(x, width), fine[i])
        x = norm_relu(x, width)
    x = conv(x, "head", padding=3)
    bias = graph.constant(graph.weights.pop("head/bias")[:, None, None])
    return graph.add("Tanh", graph.add("Add", x, bias))


def _to_unit(graph: _Graph, share: str, exponent: float) -> str:
    """Add `intensity.mr_to_unit` of shares of the scale."""
    x = graph.add("Clip", share, graph.constant(0), graph.constant(1))
    if exponent != 1:
        x = graph.add("Pow", x, graph.constant(exponent))
    x = graph.add("Mul", x, graph.constant(2))
    return graph.add("Sub", x, graph.constant(1))


def _to_hu(graph: _Graph, unit: str, knots: Sequence[tuple[float, float]]) -> str:
    """Add the nodes of `intensity.unit_to_hu`, and return the name of the HU.

    The map is piecewise linear: a sum with a term for each piece between two knots.
    """
    hus, values = check_knots(knots)
    hu = graph.constant(hus[0])
    for low, high, step in zip(values[:-1], values[1:], np.diff(hus), strict=True):
        part = graph.add("Clip", unit, graph.constant(low), graph.constant(high))
        part = graph.add("Sub", part, graph.constant(low))
        part = graph.add("Mul", part, graph.constant(step / (high - low)))
        hu = graph.add("Add", hu, part)
    return hu

"""Inception v3 against PyTorch's implementations, by layer and as a whole."""

import functools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inception_constants import (
    FILE,
    MIXED,
    STEM,
    hu_slices,
    pattern,
    probes,
    small_image,
    tensor,
)
from safetensors_files import encode_tensors

from synthct_jax.metrics import inception, inception_weights
from synthct_jax.metrics.inception import ConvBn, Inception, InceptionV3, to_images

LAYOUTS = {"fid": 1008, "torchvision": 1000}  # classes


@pytest.fixture(scope="module")
def constants() -> dict:
    return json.loads(FILE.read_text())


@pytest.fixture
def folder() -> Iterator[Path]:
    """Folder that is deleted after the test, since weights have 100 MB."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@functools.cache
def variables() -> dict:
    """Draw the variables by torch's name and shape, as for PyTorch."""
    image = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
    shapes = jax.eval_shape(InceptionV3("fid").init, jax.random.key(0), image)
    names = {
        "kernel": "weight",
        "scale": "weight",
        "bias": "bias",
        "mean": "running_mean",
        "var": "running_var",
    }
    drawn = {}
    for path, slot in flax.traverse_util.flatten_dict(shapes).items():
        name = ".".join([*path[1:-1], names[path[-1]]])
        if len(slot.shape) == 4:
            rows, columns, inputs, outputs = slot.shape
            value = tensor(name, (outputs, inputs, rows, columns)).transpose(2, 3, 1, 0)
        else:
            value = tensor(name, slot.shape)
        drawn[path] = value
    return flax.traverse_util.unflatten_dict(drawn)


def torch_tensors(layout: str) -> dict[str, np.ndarray]:
    """Return the tensors of a published file of that layout."""
    tensors = {}
    for path, value in flax.traverse_util.flatten_dict(variables()).items():
        prefix = ".".join(path[1:-1])
        match path[-1]:
            case "kernel":
                tensors[f"{prefix}.weight"] = value.transpose(3, 2, 0, 1)
            case "scale":
                tensors[f"{prefix}.weight"] = value
                tensors[f"{prefix}.num_batches_tracked"] = np.array(0)
            case "bias":
                tensors[f"{prefix}.bias"] = value
            case "mean" | "var":
                tensors[f"{prefix}.running_{path[-1]}"] = value
    tensors["fc.weight"] = np.zeros((LAYOUTS[layout], 2048), np.float32)
    tensors["fc.bias"] = np.zeros(LAYOUTS[layout], np.float32)
    if layout == "torchvision":
        tensors["AuxLogits.conv0.conv.weight"] = np.zeros((128, 768, 1, 1), np.float32)
    return tensors


def layers(layout: str, images, function) -> dict:
    """Return the outputs of all modules by torch's names."""
    apply = functools.partial(
        InceptionV3(layout).apply, capture_intermediates=True, mutable=["intermediates"]
    )
    _, state = function(apply)(variables(), images)
    outputs = flax.traverse_util.flatten_dict(state["intermediates"])
    return {".".join(path[:-1]): output for path, (output,) in outputs.items()}


def test_layers_have_the_shapes_of_torch_fidelity(constants):
    image = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
    outputs = layers(
        "fid", image, lambda apply: functools.partial(jax.eval_shape, apply)
    )
    shapes = {name: list(x.shape[1:]) for name, x in outputs.items()}
    assert shapes.pop("") == [2048]
    shapes = {k: v for k, v in shapes.items() if not k.endswith((".conv", ".bn"))}
    assert shapes == constants["shapes"]
    assert len(shapes) == 94 + len(MIXED)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_blocks_have_the_outputs_of_pytorch(layout, constants):
    def compiled(apply):
        def outputs(variables, images):
            features, state = apply(variables, images)
            blocks = state["intermediates"]
            return features, {
                "intermediates": {name: blocks[name] for name in (*STEM, *MIXED)}
            }

        return jax.jit(outputs)

    outputs = layers(layout, small_image(), compiled)
    for name in (*STEM, *MIXED):
        np.testing.assert_allclose(
            probes(np.asarray(outputs[name][0])),
            constants["blocks"][layout][name],
            rtol=1e-4,
            atol=1e-5,
            err_msg=name,
        )


@pytest.mark.parametrize(
    "layout, name", [("fid", "fid"), ("torchvision", "frechet_inception_torchvision")]
)
def test_features_from_a_file_are_those_of_pytorch(layout, name, constants, folder):
    if layout == "fid":
        path = folder / "drawn.safetensors"
        path.write_bytes(encode_tensors(torch_tensors(layout)))
    else:
        path = folder / "drawn.npz"
        np.savez(path, **torch_tensors(layout))
    network = inception.load_inception(path)
    features = network.features(hu_slices())
    assert features.shape == (2, 2048) and features.dtype == np.float64
    np.testing.assert_allclose(
        features[:, ::128], constants["features"][layout], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        features.mean(axis=1), constants["means"][layout], rtol=1e-5
    )
    assert network.name == name
    assert network.sha256 == inception_weights.sha256(path)


def test_a_file_of_another_network_is_refused_by_its_tensor(folder):
    name = "Mixed_5b.branch1x1.conv.weight"
    tensors = torch_tensors("fid")
    np.savez(folder / "a.npz", **tensors | {name: tensors[name].transpose(2, 3, 1, 0)})
    message = rf"a\.npz: {name} is \(1, 1, 192, 64\), expected \(64, 192, 1, 1\)"
    with pytest.raises(ValueError, match=message):
        inception.load_inception(folder / "a.npz")


def test_convolution_normalisation_and_relu_by_hand():
    block = ConvBn(1, 3)
    values = {
        "params": {
            "conv": {"kernel": np.ones((3, 3, 1, 1), np.float32)},
            "bn": {"scale": np.float32([3]), "bias": np.float32([-1])},
        },
        # With the epsilon of 0.001, a standard deviation of 2.
        "batch_stats": {"bn": {"mean": np.float32([4]), "var": np.float32([3.999])}},
    }
    output = block.apply(values, np.ones((1, 3, 3, 1), np.float32))[0, ..., 0]
    # Ones under the kernel: 4 in corners, 6 at edges, 9 in the middle.
    np.testing.assert_allclose(output, [[0, 2, 0], [2, 6.5, 2], [0, 2, 0]], rtol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_hu_become_whole_grey_levels_in_three_equal_channels(layout):
    hu = np.float32([-3000, -1000, -995.1, -994.9, 0, 1544.9, 1550, 3000])
    grey = np.array([0, 0, 0, 1, 100, 254, 255, 255])
    images = to_images(np.tile(hu[:, None, None], (1, 4, 5)), layout=layout)
    unit = (grey - 128) / 128 if layout == "fid" else grey / 127.5 - 1
    expected = np.broadcast_to(unit[:, None, None, None], (8, 299, 299, 3))
    np.testing.assert_allclose(images, expected, atol=1e-6)


def test_two_pixels_are_resized_as_by_hand():
    hu = np.float32([[[-1000], [-1000 + 128 * 10]]])  # 0 and 128
    fid = np.asarray(to_images(hu, layout="fid"))[0, :, 0, 0]
    # Row i is at i 2 / 299, and what is past the last pixel is that pixel.
    np.testing.assert_allclose(fid[:150], np.arange(150) * 2 / 299 - 1, atol=1e-6)
    np.testing.assert_allclose(fid[150:], 0, atol=1e-6)
    centred = np.asarray(to_images(hu, layout="torchvision"))[0, :, 0, 0]
    # Row i is at (i + 1/2) 2 / 299 - 1/2: the middle one is between the two pixels.
    assert centred[149] == pytest.approx(64 / 127.5 - 1, abs=1e-6)
    np.testing.assert_allclose(centred[:75], -1, atol=1e-6)
    np.testing.assert_allclose(centred[224:], 128 / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_are_those_of_pytorch(layout, constants):
    images = to_images(pattern() * 10.0 - 1000, layout=layout)
    np.testing.assert_allclose(
        images[0, ::60, ::50, 0], constants["images"][layout], atol=2e-5
    )


@pytest.mark.parametrize(
    "hu, message",
    [
        (np.zeros((4, 5)), r"images are \(4, 5\)"),
        (np.zeros((0, 4, 5)), r"images are \(0, 4, 5\)"),
        (np.full((1, 4, 5), np.nan), "not finite"),
    ],
)
def test_other_arrays_than_slices_are_refused(hu, message):
    network = Inception(layout="fid", sha256="", variables={})
    with pytest.raises(ValueError, match=message):
        network.features(hu)

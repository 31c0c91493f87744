"""Inception v3 against torch-fidelity, by layer and as a whole."""

import functools
import json
import re

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

from synthct_jax.metrics import inception, inception_weights
from synthct_jax.metrics.inception import ConvBn, Inception, InceptionV3, to_images

CONSTANTS = json.loads(FILE.read_text())


@functools.cache
def drawn() -> dict[tuple[str, ...], tuple[str, np.ndarray]]:
    """Draw every tensor by torch's name and shape, by its path in Flax."""
    image = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
    shapes = jax.eval_shape(InceptionV3().init, jax.random.key(0), image)
    leaves = {"kernel": "weight", "scale": "weight", "bias": "bias"}
    leaves |= {"mean": "running_mean", "var": "running_var"}
    tensors = {}
    for path, slot in flax.traverse_util.flatten_dict(shapes).items():
        name = ".".join([*path[1:-1], leaves[path[-1]]])
        axes = (3, 2, 0, 1) if len(slot.shape) == 4 else (0,)
        tensors[path] = name, tensor(name, tuple(slot.shape[axis] for axis in axes))
    return tensors


def variables() -> dict:
    return flax.traverse_util.unflatten_dict(
        {
            path: value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
            for path, (_, value) in drawn().items()
        }
    )


def torch_tensors() -> dict[str, np.ndarray]:
    """Return the tensors of a published file."""
    tensors = dict(drawn().values())
    for name in [name for name in tensors if name.endswith("running_var")]:
        tensors[name.replace("running_var", "num_batches_tracked")] = np.array(0)
    classifier = np.zeros((1008, 2048), np.float32)
    return tensors | {"fc.weight": classifier, "fc.bias": classifier[:, 0]}


apply_with_layers = functools.partial(
    InceptionV3().apply, capture_intermediates=True, mutable=["intermediates"]
)


def by_torch_name(state: dict) -> dict:
    """Return the outputs of modules by torch's names."""
    outputs = flax.traverse_util.flatten_dict(state["intermediates"])
    return {".".join(path[:-1]): output for path, (output,) in outputs.items()}


def test_layers_have_the_shapes_of_torch_fidelity():
    image = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
    _, state = jax.eval_shape(apply_with_layers, variables(), image)
    shapes = {name: list(x.shape[1:]) for name, x in by_torch_name(state).items()}
    assert shapes.pop("") == [2048]
    shapes = {k: v for k, v in shapes.items() if not k.endswith((".conv", ".bn"))}
    assert shapes == CONSTANTS["shapes"]
    assert len(shapes) == 94 + len(MIXED)


def test_blocks_have_the_outputs_of_torch_fidelity():
    @jax.jit
    def blocks(variables, images):
        outputs = by_torch_name(apply_with_layers(variables, images)[1])
        return {name: outputs[name] for name in (*STEM, *MIXED)}

    for name, output in blocks(variables(), small_image()).items():
        np.testing.assert_allclose(
            probes(np.asarray(output[0])),
            CONSTANTS["blocks"][name],
            rtol=1e-4,
            atol=1e-5,
            err_msg=name,
        )


def test_features_from_a_file_are_those_of_torch_fidelity(tmp_path):
    path = tmp_path / "drawn.npz"
    np.savez(path, **torch_tensors())
    network = inception.load_inception(path)
    features = network.features(hu_slices())
    assert features.shape == (2, 2048) and features.dtype == np.float64
    np.testing.assert_allclose(
        features[:, ::128], CONSTANTS["features"], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(features.mean(axis=1), CONSTANTS["means"], rtol=1e-5)
    assert network.sha256 == inception_weights.sha256(path)
    path.unlink()  # 100 MB


@pytest.mark.parametrize(
    "name, shape, expected",
    [
        ("Conv2d_1a_3x3.bn.running_mean", (1, 32), (32,)),
        ("fc.weight", (1000, 2048), (1008, 2048)),  # torchvision's
    ],
)
def test_weights_of_another_network_are_refused(name, shape, expected, tmp_path):
    tensors = {"fc.weight": np.zeros((1008, 2048), np.float32)}
    tensors |= {name: np.zeros(shape, np.float32)}
    np.savez_compressed(tmp_path / "a.npz", **tensors)
    message = re.escape(f"a.npz: {name} is {shape}, expected {expected}")
    with pytest.raises(ValueError, match=message):
        inception.load_inception(tmp_path / "a.npz")


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


def test_hu_become_whole_grey_levels_in_three_equal_channels():
    hu = np.float32([-3000, -1000, -995.1, -994.9, 0, 1544.9, 1550, 3000])
    grey = np.array([0, 0, 0, 1, 100, 254, 255, 255])
    images = to_images(np.tile(hu[:, None, None], (1, 4, 5)))
    unit = ((grey - 128) / 128)[:, None, None, None]
    expected = np.broadcast_to(unit, (8, 299, 299, 3))
    np.testing.assert_allclose(images, expected, atol=1e-6)


def test_two_pixels_are_resized_as_by_hand():
    hu = np.float32([[[-1000], [-1000 + 128 * 10]]])  # 0 and 128
    rows = np.asarray(to_images(hu))[0, :, 0, 0]
    # Row i is at i 2 / 299, and what is past the last pixel is that pixel.
    np.testing.assert_allclose(rows[:150], np.arange(150) * 2 / 299 - 1, atol=1e-6)
    np.testing.assert_allclose(rows[150:], 0, atol=1e-6)


def test_images_are_those_of_torch_fidelity():
    images = to_images(pattern() * 10.0 - 1000)
    np.testing.assert_allclose(images[0, ::60, ::50, 0], CONSTANTS["images"], atol=2e-5)


@pytest.mark.parametrize(
    "hu, message",
    [
        (np.zeros((4, 5)), r"images are \(4, 5\)"),
        (np.zeros((0, 4, 5)), r"images are \(0, 4, 5\)"),
        (np.full((1, 4, 5), np.nan), "not finite"),
    ],
)
def test_other_arrays_than_slices_are_refused(hu, message):
    with pytest.raises(ValueError, match=message):
        Inception(sha256="", variables={}).features(hu)

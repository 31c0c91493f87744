"""Pool features of the Inception v3 network, whose Fréchet distance is the FID.

The network is that of Szegedy et al., CVPR 2016, as Heusel et al., NeurIPS 2017, use
it: the TensorFlow graph of 2015-12-05, with weights from a file of the user
(`inception_weights`). That graph differs from the paper's: average pools do not count
the padding, and the last block takes a maximum where the others take a mean.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from synthct_jax.metrics import inception_weights
from synthct_jax.metrics.batches import over_slices

SIZE = 299
"""Rows and columns of the images that the network was trained on."""

WINDOW_HU = (-1000.0, 1550.0)
"""Window that becomes the grey levels 0 ... 255: air to cortical bone, 10 HU a level.

There is one window because it has to show lung, fat, muscle and bone at once, in grey:
the network was trained on photographs, and no weights know windows as colours. A level
is less than the noise of a slice of the abdomen (10 to 30 HU), so that rounding hides
no more contrast than the scanner does. Air below -1000 HU and metal are at the ends.
"""

_CLASSES = 1008  # of the classifier, which is not used otherwise
_SLICES = 4  # per batch, which takes about 0.2 GB
_EPSILON = 1e-3  # of the batch normalisation
# Torch's names of the variables by their names in Flax.
_TORCH = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Inception:
    """The network with its weights.

    Attributes:
        sha256: SHA-256 of their file, hexadecimal.
        variables: variables of `InceptionV3`.
    """

    sha256: str
    variables: Mapping[str, Any]

    def features(self, hu: np.ndarray) -> np.ndarray:
        """Return the pool features of each slice, after `to_images`.

        HU are (slices, rows, columns) with any number of rows and columns; features are
        (slices, 2048) float64, computed in float32.

        Raises:
            ValueError: not three axes, an empty axis, or values that are not finite.
        """
        hu = np.asarray(hu)
        if hu.ndim != 3 or not hu.size:
            raise ValueError(
                f"images are {hu.shape}, expected (slices, rows, columns), none of "
                "them 0"
            )
        if not np.isfinite(hu).all():
            raise ValueError("images have values that are not finite, expected HU")
        function = functools.partial(_features, self.variables)
        return over_slices(function, hu, slices=_SLICES).astype(np.float64)


def load_inception(path: Path) -> Inception:
    """Read the weights from a file of `inception_weights`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file lacks tensors of FID's Inception v3, or has unknown ones.
    """
    image = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    shapes = jax.eval_shape(InceptionV3().init, jax.random.key(0), image)
    slots = flax.traverse_util.flatten_dict(shapes)
    expected = {_torch_name(k): _torch_shape(v.shape) for k, v in slots.items()}
    tensors = inception_weights.read_tensors(
        path, {"fc.weight": (_CLASSES, 2048)} | expected
    )
    variables = {}
    for slot in slots:
        value = tensors[_torch_name(slot)].astype(np.float32)
        variables[slot] = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
    return Inception(
        sha256=inception_weights.sha256(path),
        variables=jax.device_put(flax.traverse_util.unflatten_dict(variables)),
    )


def to_images(hu: jax.Array) -> jax.Array:
    """Return the network's input for each slice.

    WINDOW_HU becomes 0 ... 255, rounded to whole grey levels as in an image file, in
    three equal channels; grey levels become (x - 128) / 128. Slices are resized to
    SIZE x SIZE by bilinear interpolation without smoothing (with aliasing, as in the
    published values: Parmar et al., CVPR 2022). Pixel i is at i x rows / SIZE of the
    slice, as in TensorFlow 1, torch-fidelity, and torchmetrics with antialias=False:
    pixel centres are not aligned. Images are (slices, SIZE, SIZE, 3) in [-1, 1].
    """
    low, high = WINDOW_HU
    grey = jnp.clip(hu.astype(jnp.float32), low, high) - low
    grey = jnp.round(grey * np.float32(255 / (high - low)))
    for axis in (2, 1):
        grey = _resize(grey, axis)
    return jnp.repeat(((grey - 128) / 128)[..., np.newaxis], 3, axis=-1)


def _resize(x: jax.Array, axis: int) -> jax.Array:
    length = x.shape[axis]
    places = np.arange(SIZE, dtype=np.float32) * np.float32(length / SIZE)
    before = places.astype(np.int32)
    after = np.minimum(before + 1, length - 1)
    share = (places - before).reshape([-1] + [1] * (x.ndim - 1 - axis))
    low, high = jnp.take(x, before, axis), jnp.take(x, after, axis)
    return low + (high - low) * share


@jax.jit
def _features(variables: Mapping[str, Any], hu: jax.Array) -> jax.Array:
    return InceptionV3().apply(variables, to_images(hu))


def _torch_name(slot: tuple[str, ...]) -> str:
    _, *modules, leaf = slot
    return ".".join([*modules, _TORCH[leaf]])


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape


# --- the graph, with torch's names of modules -----------------------------------------


class InceptionV3(nn.Module):
    """Inception v3 without its classifier.

    Images are (n, rows, columns, 3) in [-1, 1], of 75 rows and columns or more, which
    is not checked. Features are (n, 2048) float32.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = ConvBn(32, 3, stride=2, padding="VALID", name="Conv2d_1a_3x3")(x)
        x = ConvBn(32, 3, padding="VALID", name="Conv2d_2a_3x3")(x)
        x = ConvBn(64, 3, name="Conv2d_2b_3x3")(x)
        x = _shrink(x)
        x = ConvBn(80, 1, name="Conv2d_3b_1x1")(x)
        x = ConvBn(192, 3, padding="VALID", name="Conv2d_4a_3x3")(x)
        x = _shrink(x)
        for name, pool_features in (("5b", 32), ("5c", 64), ("5d", 64)):
            x = MixedA(pool_features, name=f"Mixed_{name}")(x)
        x = MixedB(name="Mixed_6a")(x)
        for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            x = MixedC(width, name=f"Mixed_{name}")(x)
        x = MixedD(name="Mixed_7a")(x)
        x = MixedE(_average, name="Mixed_7b")(x)
        x = MixedE(_maximum, name="Mixed_7c")(x)
        return x.mean(axis=(1, 2))


class ConvBn(nn.Module):
    """Convolution, batch normalisation with its running statistics, and ReLU."""

    features: int
    size: int | tuple[int, int]
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        size = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        # Published values are of float32, which accelerators would round to fewer bits.
        convolution = nn.Conv(
            self.features,
            size,
            self.stride,
            self.padding,
            use_bias=False,
            precision=jax.lax.Precision.HIGHEST,
            name="conv",
        )
        normalisation = nn.BatchNorm(
            use_running_average=True, epsilon=_EPSILON, name="bn"
        )
        return nn.relu(normalisation(convolution(x)))


class MixedA(nn.Module):
    """Block with branches of 1 x 1, 5 x 5, twice 3 x 3, and a pool."""

    pool_features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        single = ConvBn(64, 1, name="branch1x1")(x)
        five = ConvBn(48, 1, name="branch5x5_1")(x)
        five = ConvBn(64, 5, name="branch5x5_2")(five)
        double = ConvBn(64, 1, name="branch3x3dbl_1")(x)
        double = ConvBn(96, 3, name="branch3x3dbl_2")(double)
        double = ConvBn(96, 3, name="branch3x3dbl_3")(double)
        pool = ConvBn(self.pool_features, 1, name="branch_pool")(_average(x))
        return jnp.concatenate([single, five, double, pool], axis=-1)


class MixedB(nn.Module):
    """Downsampling block with branches of 3 x 3, twice 3 x 3, and a maximum."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        half = {"stride": 2, "padding": "VALID"}
        three = ConvBn(384, 3, name="branch3x3", **half)(x)
        double = ConvBn(64, 1, name="branch3x3dbl_1")(x)
        double = ConvBn(96, 3, name="branch3x3dbl_2")(double)
        double = ConvBn(96, 3, name="branch3x3dbl_3", **half)(double)
        return jnp.concatenate([three, double, _shrink(x)], axis=-1)


class MixedC(nn.Module):
    """Block with branches of 1 x 1, 7 x 7 in two steps, 7 x 7 twice, and a pool."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = self.width
        single = ConvBn(192, 1, name="branch1x1")(x)
        seven = ConvBn(width, 1, name="branch7x7_1")(x)
        seven = ConvBn(width, (1, 7), name="branch7x7_2")(seven)
        seven = ConvBn(192, (7, 1), name="branch7x7_3")(seven)
        double = ConvBn(width, 1, name="branch7x7dbl_1")(x)
        double = ConvBn(width, (7, 1), name="branch7x7dbl_2")(double)
        double = ConvBn(width, (1, 7), name="branch7x7dbl_3")(double)
        double = ConvBn(width, (7, 1), name="branch7x7dbl_4")(double)
        double = ConvBn(192, (1, 7), name="branch7x7dbl_5")(double)
        pool = ConvBn(192, 1, name="branch_pool")(_average(x))
        return jnp.concatenate([single, seven, double, pool], axis=-1)


class MixedD(nn.Module):
    """Downsampling block with branches of 3 x 3, 7 x 7 and 3 x 3, and a maximum."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        half = {"stride": 2, "padding": "VALID"}
        three = ConvBn(192, 1, name="branch3x3_1")(x)
        three = ConvBn(320, 3, name="branch3x3_2", **half)(three)
        seven = ConvBn(192, 1, name="branch7x7x3_1")(x)
        seven = ConvBn(192, (1, 7), name="branch7x7x3_2")(seven)
        seven = ConvBn(192, (7, 1), name="branch7x7x3_3")(seven)
        seven = ConvBn(192, 3, name="branch7x7x3_4", **half)(seven)
        return jnp.concatenate([three, seven, _shrink(x)], axis=-1)


class MixedE(nn.Module):
    """Inception block E, (n, h, w, c) to (n, h, w, 2048).

    Its branches are 1 x 1, 3 x 3, double 3 x 3, and `pool`, which keeps the shape. The
    second and the third end in 1 x 3 and 3 x 1 side by side.
    """

    pool: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        single = ConvBn(320, 1, name="branch1x1")(x)
        three = ConvBn(384, 1, name="branch3x3_1")(x)
        three_a = ConvBn(384, (1, 3), name="branch3x3_2a")(three)
        three_b = ConvBn(384, (3, 1), name="branch3x3_2b")(three)
        double = ConvBn(448, 1, name="branch3x3dbl_1")(x)
        double = ConvBn(384, 3, name="branch3x3dbl_2")(double)
        double_a = ConvBn(384, (1, 3), name="branch3x3dbl_3a")(double)
        double_b = ConvBn(384, (3, 1), name="branch3x3dbl_3b")(double)
        pool = ConvBn(192, 1, name="branch_pool")(self.pool(x))
        branches = [single, three_a, three_b, double_a, double_b, pool]
        return jnp.concatenate(branches, axis=-1)


def _shrink(x: jax.Array) -> jax.Array:
    return nn.max_pool(x, (3, 3), (2, 2))


def _average(x: jax.Array) -> jax.Array:
    return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def _maximum(x: jax.Array) -> jax.Array:
    return nn.max_pool(x, (3, 3), padding="SAME")

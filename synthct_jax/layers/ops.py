"""The operations that networks are made of, as XLA computes them on any device.

An `Ops` object says how a layer is computed, but not which function it is: it holds the
backend, the share of an image's rows that a device has, and what is recomputed to save
memory. Every backend and every share computes the same functions of the same weights.
"""

import dataclasses
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh

from synthct_jax.layers.blur import binomial
from synthct_jax.layers.normalization import Arithmetic, instance_norm
from synthct_jax.layers.padding import pad_reflect
from synthct_jax.parallel.halo import SPACE, UNSHARDED, RowShard

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


@dataclasses.dataclass(frozen=True)
class Ops:
    """Operations on images (n, h, w, c) in their dtype, by XLA; backends subclass it.

    With several shards an array holds one device's rows of the images, inside of
    `jax.shard_map`, and the operations exchange halos.

    With `remat` the activations inside of a residual block are computed again for its
    gradients, instead of kept.
    """

    shard: RowShard = UNSHARDED  # the rows of images that are in each array
    remat: bool = False

    def for_shard_of(self, mesh: Mesh | None) -> "Ops":
        """Return the same operations on a device's rows, inside of `jax.shard_map`."""
        if mesh is None:
            return self
        return dataclasses.replace(self, shard=RowShard(mesh.shape[SPACE]))

    def channels(self, x: jax.Array) -> int:
        """Return the number of channels of images, which need not be arrays."""
        return x.shape[-1]

    def conv(
        self, x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: int = 0
    ) -> jax.Array:
        """Convolve images (n, h, w, i) with (k, k, i, o), with zeros around them."""
        kernel = kernel.astype(x.dtype)
        above = left = padding
        if above and self.shard.count > 1:  # the neighbours' rows instead of zeros
            below = kernel.shape[0] - stride - above
            x, above = self.shard.halo_exchange(x, above, below), 0
        return self._conv(x, kernel, stride, (above, left))

    def conv_transposed(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        """Upsample by the adjoint of a 3x3 convolution with stride 2 and padding 1.

        y[2 p + k - 1] += x[p] kernel[k] for k in 0, 1, 2. This is PyTorch's
        ConvTranspose2d with padding 1 and output padding 1. Kernels are not
        flipped, but have the axes (3, 3, i, o) instead of (i, o, 3, 3). Images are
        (n, h, w, i), the result (n, 2 h, 2 w, o).
        """
        height = 2 * x.shape[1]
        if self.shard.count > 1:
            x = self.shard.halo_exchange(x, 0, 1)
        return self._conv_transposed(x, kernel.astype(x.dtype))[:, :height]

    def instance_norm(
        self, x: jax.Array, slope: float = 1.0, *, cropped_rows: int = 0
    ) -> jax.Array:
        """Normalise each image and channel, then apply a (leaky) ReLU.

        Args:
            slope: slope of the activation for negative values; 1 for none.
            cropped_rows: rows by which whole images have become smaller than the
                network's input, through convolutions with less padding than reach.
        """
        return instance_norm(x, slope, self._arithmetic(cropped_rows))

    def pad_reflect(self, x: jax.Array, width: int) -> jax.Array:
        """Mirror `width` rows and columns around images; the border is not repeated.

        An image, or a shard of its rows, has more than `width` of both.
        """
        if self.shard.count == 1:
            return self._pad_reflect(x, width)
        x = pad_reflect(x, width, (2,))
        mirrored = x[:, width:0:-1], x[:, -width - 1 : -1][:, ::-1]
        return self.shard.halo_exchange(x, width, width, edges=mirrored)

    def blur(self, x: jax.Array) -> jax.Array:
        """Blur images by a 3x3 binomial filter, mirrored at their borders."""
        return self._blur(self.pad_reflect(x, 1))

    def add(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Return the sum of images of the same shape."""
        return x + y

    def mean(self, scores: jax.Array, *, cropped_rows: int = 0) -> jax.Array:
        """Return a value whose average over devices is the mean over whole score maps.

        `scores` are (n, h, w, c).
        """
        return jnp.mean(self.shard.without(cropped_rows).rescale(scores))

    def repeat(self, block: type[nn.Module], length: int, *, name: str) -> Callable:
        """Return a function that applies `length` blocks of a kind one after another.

        Their weights are stacked in one array each. `block(self)` takes and returns
        (images, None). The loop is unrolled where `_loops` says no.
        """
        if self.remat:
            # Within a loop, which every backend has with `remat`, CSE does no harm.
            block = nn.remat(block, prevent_cse=False)
        blocks = nn.scan(
            block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=length,
            unroll=1 if self._loops() else length,
        )(self, name=name)
        return lambda x: blocks(x, None)[0]

    def apply_to_each(
        self, network: Callable[[jax.Array], jax.Array], batches: Sequence[jax.Array]
    ) -> list[jax.Array]:
        """Apply a network to equally shaped batches, in one call if that is faster."""
        if self._should_batch(batches[0]):
            return jnp.split(network(jnp.concatenate(batches)), len(batches))
        return [network(x) for x in batches]

    # What a backend may compute in another way.

    def _conv(
        self, x: jax.Array, kernel: jax.Array, stride: int, borders: tuple[int, int]
    ) -> jax.Array:
        """Convolve with zeros around: `borders` are their heights and widths."""
        return lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(stride, stride),
            padding=[(width, width) for width in borders],
            dimension_numbers=DIMENSIONS,
        )

    def _conv_transposed(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(
            x,
            kernel[::-1, ::-1],
            window_strides=(1, 1),
            padding=[(1, 2)] * 2,
            lhs_dilation=(2, 2),
            dimension_numbers=DIMENSIONS,
        )

    def _pad_reflect(self, x: jax.Array, width: int) -> jax.Array:
        return pad_reflect(x, width, (1, 2))

    def _blur(self, x: jax.Array) -> jax.Array:
        return binomial(x)

    def _arithmetic(self, cropped_rows: int) -> Arithmetic:
        return Arithmetic(self.shard.without(cropped_rows))

    def _loops(self) -> bool:
        # A loop keeps what gradients need in stacks, which it first fills with zeros, a
        # fifth of a TPU's time (GPUs were not measured). With `remat` that is little.
        return self.remat

    def _should_batch(self, x: jax.Array) -> bool:
        del x
        return True

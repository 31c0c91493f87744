"""Images whose rows are split over devices: halo exchange, and means over all rows.

To be used inside of `jax.shard_map`, where each device has its own rows. With a single
shard every operation is the plain one on whole images. For reflection padding,
`Ops.pad_reflect` gives the mirrored rows.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

SPACE = "space"  # the mesh axis along which rows are split


@dataclasses.dataclass(frozen=True)
class RowShard:
    """A device's share of the rows of images (n, h, w, c); all shares have h rows."""

    count: int = 1  # devices that share the rows of an image
    padding_rows: int = 0  # at the end of the last shard, not part of the image

    def without(self, rows: int) -> "RowShard":
        """Return the shard of an image that is smaller by so many rows."""
        if self.count == 1:
            return self
        return dataclasses.replace(self, padding_rows=self.padding_rows + rows)

    def halo_exchange(
        self,
        x: jax.Array,
        above: int,
        below: int,
        *,
        edges: tuple[jax.Array, jax.Array] | None = None,
    ) -> jax.Array:
        """Add rows of the neighbouring shards: (n, above + h + below, w, c).

        There are several shards, and each has at least so many rows. `edges` are the
        rows beyond the image's first and last, (n, above or below, w, c); zeros by
        default.
        """
        height = x.shape[1]
        last = self.count - 1
        # Where no shard sends rows, zeros arrive: the padding of the image's edge.
        down, up = ([(i, i + by) for i in range(self.count)] for by in (1, -1))
        rows = [x]
        if above:
            border = lax.ppermute(x[:, height - above :], SPACE, down[:last])
            if edges is not None:
                border = jnp.where(lax.axis_index(SPACE) == 0, edges[0], border)
            rows = [border, x]
        if below:
            border = lax.ppermute(x[:, :below], SPACE, up[1:])
            if edges is not None:
                border = jnp.where(lax.axis_index(SPACE) == last, edges[1], border)
            rows.append(border)
        return jnp.concatenate(rows, axis=1)

    def zero_padding_rows(self, x: jax.Array) -> jax.Array:
        """Set the rows to zero that are not part of the image."""
        if not self.padding_rows:
            return x
        height = x.shape[1]
        row = lax.axis_index(SPACE) * height + jnp.arange(height)
        in_image = row < self.count * height - self.padding_rows
        return jnp.where(in_image[None, :, None, None], x, 0)

    def rescale(self, x: jax.Array) -> jax.Array:
        """Weight rows so that the mean over all shards is the mean over the image."""
        if not self.padding_rows:
            return x
        rows = self.count * x.shape[1]
        return self.zero_padding_rows(x) * (rows / (rows - self.padding_rows))

    def mean(self, shard_mean: jax.Array, height: int) -> jax.Array:
        """Return the image's mean from each shard's mean over `height` rows.

        Padding rows are zero in the shards' means.
        """
        if self.count == 1:
            return shard_mean
        rows = self.count * height
        return lax.pmean(shard_mean, SPACE) * (rows / (rows - self.padding_rows))


UNSHARDED = RowShard()

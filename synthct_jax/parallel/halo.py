"""Images whose rows are split over devices: borders from neighbours, means over all.

To be used inside of `jax.shard_map`, where each device has its own rows; with one shard
everything is the plain operation on a whole image.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

SPACE = "space"  # the mesh's axis


@dataclasses.dataclass(frozen=True)
class Rows:
    """How the rows of images (n, h, w, c) are split; every shard has h of them.

    Attributes:
        shards: how many devices share the rows of an image.
        missing: so many rows at the end of the last shard are not part of the image.
    """

    shards: int = 1
    missing: int = 0

    def pad(
        self,
        x: jax.Array,
        above: int,
        below: int,
        *,
        edges: tuple[jax.Array, jax.Array] | None = None,
    ) -> jax.Array:
        """x, of several shards, with rows of the neighbours.

        Shards need as many as are asked for.

        edges: what is above and below the image, (n, above or below, w, c); None:
            zeros.
        """
        height = x.shape[1]
        last = self.shards - 1
        # Where nobody sends anything, zeros arrive: the padding of the image's edge.
        down, up = ([(i, i + by) for i in range(self.shards)] for by in (1, -1))
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

    def keep(self, x: jax.Array) -> jax.Array:
        """x with zeros in the rows that are missing."""
        if not self.missing:
            return x
        return jnp.where(self._present(x.shape[1]), x, 0)

    def weigh(self, x: jax.Array) -> jax.Array:
        """x such that the mean over all shards is the mean over the image's rows."""
        if not self.missing:
            return x
        rows = self.shards * x.shape[1]
        return self.keep(x) * (rows / (rows - self.missing))

    def mean(self, x: jax.Array, height: int) -> jax.Array:
        """The image's mean, of each shard's mean over rows where `keep` left zeros."""
        if self.shards == 1:
            return x
        rows = self.shards * height
        return lax.pmean(x, SPACE) * (rows / (rows - self.missing))

    def _present(self, height: int) -> jax.Array:
        row = lax.axis_index(SPACE) * height + jnp.arange(height)
        return (row < self.shards * height - self.missing)[None, :, None, None]


WHOLE = Rows()

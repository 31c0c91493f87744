"""Replay pool of synthetic images, inside the training state.

Discriminators see a mixture of new and earlier fakes (Shrivastava et al. 2017). Each
position of the batch has a lane of slots of its own, so a pool is sharded like the
batch and never moves images between devices. With a batch of one it is exactly the
reference's pool; with a batch of n each lane holds 1/n of it (rounded up).
"""

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class ImagePool:
    """images: (batch, slots, h, w, c), float32; filled: int32, slots in use."""

    images: jax.Array
    filled: jax.Array


def create(pool_size: int, shape: tuple[int, int, int, int]) -> ImagePool:
    """Return an empty pool of at least `pool_size`, for batches (n, h, w, c)."""
    batch, *image = shape
    slots = -(-pool_size // batch)
    return ImagePool(
        images=jnp.zeros((batch, slots, *image), jnp.float32),
        filled=jnp.zeros((), jnp.int32),
    )


def query(
    pool: ImagePool, images: jax.Array, key: jax.Array
) -> tuple[ImagePool, jax.Array]:
    """Exchange new images (n, h, w, c) for a mixture of new and stored ones.

    While the pool fills, images are stored and returned as they are. Afterwards each
    image is, with probability one half, swapped against a random one of its lane.
    """
    batch, slots = pool.images.shape[:2]
    if slots == 0:
        return pool, images
    swap_key, slot_key = jax.random.split(key)
    full = pool.filled >= slots
    swap = full & jax.random.bernoulli(swap_key, 0.5, (batch,))
    slot = jax.random.randint(slot_key, (batch,), 0, slots)
    slot = jnp.where(full, slot, pool.filled)
    # A comparison with every slot instead of a gather: elementwise along the batch.
    chosen = slot[:, None] == jnp.arange(slots)
    stored = jnp.sum(jnp.where(chosen[..., None, None, None], pool.images, 0), axis=1)
    returned = jnp.where(swap[:, None, None, None], stored, images)
    write = chosen & (swap | ~full)[:, None]
    kept = jnp.where(write[..., None, None, None], images[:, None], pool.images)
    return ImagePool(kept, jnp.minimum(pool.filled + 1, slots)), returned

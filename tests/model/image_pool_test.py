"""Replay pools: mixtures of new and stored images, in separate lanes."""

import jax
import jax.numpy as jnp
import numpy as np

from synthct_jax.model import image_pool


def numbered(*values: float) -> jax.Array:
    """A batch of 1x1 images with these values."""
    return jnp.asarray(values, jnp.float32).reshape(-1, 1, 1, 1)


def replay(pool_size: int, batch: int, steps: int) -> np.ndarray:
    """Return the pool's answers to the images 0, 1, 2, ...: (steps, batch)."""
    pool = image_pool.create(pool_size, (batch, 1, 1, 1))
    query = jax.jit(image_pool.query)
    returned = []
    for step in range(steps):
        images = numbered(*range(step * batch, (step + 1) * batch))
        pool, images = query(pool, images, jax.random.key(step))
        returned.append(np.asarray(images).ravel())
    return np.stack(returned).astype(int)


def test_filling_pool_returns_new_images():
    assert (replay(5, 1, 5).ravel() == range(5)).all()


def test_full_pool_returns_half_new_and_half_stored_images():
    returned = replay(5, 1, 400).ravel()
    fresh = returned == np.arange(400)
    assert 0.4 < fresh[5:].mean() < 0.6
    old = returned[~fresh]
    assert (old < np.flatnonzero(~fresh)).all()
    assert len(set(old)) == len(old)  # an image leaves the pool when it comes back


def test_positions_of_the_batch_have_separate_lanes():
    returned = replay(50, 4, 60)
    assert (returned % 4 == np.arange(4)).all()
    assert image_pool.create(50, (4, 8, 8, 1)).images.shape == (4, 13, 8, 8, 1)


def test_pool_of_size_zero_returns_new_images():
    assert (replay(0, 2, 3).ravel() == range(6)).all()

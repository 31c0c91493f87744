import jax.numpy as jnp
import numpy as np

from synthct_jax.checkpoint.digest import array_digests


def test_digest_changes_with_every_bit_and_with_the_order():
    array = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)

    def digest(values):
        return array_digests({"x": jnp.asarray(values)})[0]["x"]

    expected = digest(array)
    assert digest(array.copy()) == expected
    for bit in range(32):
        bits = array.view(np.uint32).copy()
        bits[2, 3] ^= np.uint32(1 << bit)
        assert digest(bits.view(np.float32)) != expected
    assert digest(array[::-1]) != expected
    assert digest(array[:, [1, 0, 2, 3, 4]]) != expected

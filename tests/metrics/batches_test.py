import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthct_jax.metrics.batches import over_slices


@jax.jit
def found_in(a, b):
    return {"sum": jnp.sum(a * b, axis=(1, 2)), "rows": jnp.max(a, axis=2)}


@pytest.mark.parametrize("length", [1, 4, 5, 11])
def test_a_length_that_does_not_divide_changes_nothing(length):
    rng = np.random.default_rng(length)
    a, b = rng.normal(size=(2, length, 6, 5)).astype(np.float32)
    found = over_slices(found_in, a, b, slices=4)
    np.testing.assert_allclose(found["sum"], (a * b).sum(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(found["rows"], a.max(axis=2))


def test_it_is_compiled_once():
    before = found_in._cache_size()
    volume = np.ones((9, 3, 3), np.float32)
    over_slices(found_in, volume, volume, slices=2)
    over_slices(found_in, volume[:4], volume[:4], slices=2)
    assert found_in._cache_size() == before + 1


def test_volumes_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 2, 2\), \(2, 2, 2\)"):
        over_slices(found_in, np.ones((3, 2, 2)), np.ones((2, 2, 2)))

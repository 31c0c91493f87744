"""Functions over batches of slices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthct_jax.metrics.batches import over_slices


@jax.jit
def sums_and_maxima(a, b):
    return {"sum": jnp.sum(a * b, axis=(1, 2)), "rows": jnp.max(a, axis=2)}


@pytest.mark.parametrize("length", [1, 4, 5, 11])
def test_results_do_not_depend_on_the_batch_size(length):
    rng = np.random.default_rng(length)
    a, b = rng.normal(size=(2, length, 6, 5)).astype(np.float32)
    results = over_slices(sums_and_maxima, a, b, slices=4)
    np.testing.assert_allclose(results["sum"], (a * b).sum(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(results["rows"], a.max(axis=2))


def test_a_function_is_compiled_once_for_any_number_of_slices():
    before = sums_and_maxima._cache_size()
    volume = np.ones((9, 3, 3), np.float32)
    over_slices(sums_and_maxima, volume, volume, slices=2)
    over_slices(sums_and_maxima, volume[:4], volume[:4], slices=2)
    assert sums_and_maxima._cache_size() == before + 1


def test_volumes_with_different_numbers_of_slices_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 2, 2\), \(2, 2, 2\)"):
        over_slices(sums_and_maxima, np.ones((3, 2, 2)), np.ones((2, 2, 2)))

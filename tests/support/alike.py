"""Comparison of two runs of one training on different layouts of devices."""

from collections.abc import Mapping

import numpy as np

# Relative to the change of an array since the start. Gradients agree to 3e-6, or 6e-3
# where the input of a ReLU is zero to rounding; Adam's step is as long where a gradient
# is nearly zero. With other data, random numbers or pools everything differs.
TOLERANCE = 0.1


def assert_alike(
    actual: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    initial: Mapping[str, np.ndarray],
    message: str = "",
) -> None:
    """Assert that two sets of arrays changed alike since the initial ones."""
    assert set(actual) == set(expected) == set(initial)
    for name in expected:
        change = np.linalg.norm((expected[name] - initial[name]).ravel())
        difference = np.linalg.norm((actual[name] - expected[name]).ravel())
        assert difference <= TOLERANCE * change, f"{name} {message}"

"""When two runs of the same numbers on other layouts are the same training."""

from collections.abc import Mapping

import numpy as np

# Of how far an array has come since the start. Gradients agree to 3e-6, or 6e-3 where
# float32's luck with a ReLU's input that is zero to rounding differs; Adam's step is as
# long where a gradient is nearly zero. Other data, random numbers or pools change all.
TOLERANCE = 0.1


def assert_alike(
    found: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    initial: Mapping[str, np.ndarray],
    message: str = "",
) -> None:
    assert set(found) == set(expected) == set(initial)
    for name in expected:
        way = np.linalg.norm((expected[name] - initial[name]).ravel())
        apart = np.linalg.norm((found[name] - expected[name]).ravel())
        assert apart <= TOLERANCE * way, f"{name} {message}"

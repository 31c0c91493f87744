"""One batch, many layouts: the same step, and no communication but what is meant."""

import numpy as np
import pytest
from compilation import FAST_COMPILATION
from virtual_devices import run_on_eight_devices

STEPS = 20
LAYOUTS = {  # data, fsdp, space, accumulate, remat, bfloat16, blocks
    "one device": (1, 1, 1),
    "2 data": (2, 1, 1),
    "4 data": (4, 1, 1),
    "8 data": (8, 1, 1),
    "8 fsdp": (1, 8, 1),
    "2 space": (1, 1, 2),
    "4 space": (1, 1, 4),
    "8 space": (1, 1, 8),
    "4 data, 2 space": (4, 1, 2),
    "2 data, 2 fsdp, 2 space": (2, 2, 2),
    "2 data, 4 microbatches, remat": (2, 1, 1, 4, 1),
    "2 data, 4 space, blocks": (2, 1, 4, 1, 0, 0, 1),
}
BFLOAT16 = {
    "one device, bfloat16": (1, 1, 1, 1, 0, 1),
    "2 data, 2 fsdp, 2 space, bfloat16": (2, 2, 2, 1, 0, 1),
}


def run_layouts(steps, names, *, double):
    """Return what `layouts.py` prints of each layout, by name."""
    lines = run_on_eight_devices(
        "layouts.py",
        str(steps),
        *(",".join(map(str, (LAYOUTS | BFLOAT16)[name])) for name in names),
        # Each layout is compiled for itself, and computes next to nothing.
        XLA_FLAGS=FAST_COMPILATION,
        JAX_ENABLE_X64="1" if double else "0",
    )
    return dict(zip(names, lines, strict=True))


def largest_difference(a, b):
    return max(
        np.abs(np.subtract(x, y)).max(initial=0) for x, y in zip(a, b, strict=True)
    )


def assert_same(results, expected, *, losses, arrays):
    for step, (a, b) in enumerate(
        zip(results["losses"], expected["losses"], strict=True), start=1
    ):
        for name in b:
            assert abs(a[name] - b[name]) <= losses, (step, name, a[name], b[name])
    assert largest_difference(results["arrays"], expected["arrays"]) <= arrays


@pytest.mark.slow
def test_all_layouts_give_the_same_twenty_steps():
    """Losses of 20 steps to 1e-5 and better; weights and replay pools to 1e-9."""
    results = run_layouts(STEPS, LAYOUTS, double=True)
    expected = results.pop("one device")
    assert expected["losses"][0] != expected["losses"][-1]
    for name, result in results.items():
        print(name)  # shown when it fails
        assert_same(result, expected, losses=1e-9, arrays=1e-9)


def test_layout_of_all_axes_gives_the_same_two_steps():
    """The other layouts take minutes to compile, see the slow test of all."""
    names = ("one device", "2 data, 2 fsdp, 2 space")
    expected, result = run_layouts(2, names, double=True).values()
    assert_same(result, expected, losses=1e-9, arrays=1e-9)


@pytest.mark.slow
def test_layouts_agree_in_float32_and_bfloat16_to_rounding():
    names = ("one device", "2 data, 2 fsdp, 2 space", *BFLOAT16)
    expected, sharded, *rounded = run_layouts(2, names, double=False).values()
    # The second step's are those of weights that moved: Adam's first step is the sign
    # of a gradient, also where that is zero to rounding.
    for step, tolerance in ((0, 1e-5), (1, 1e-4)):
        for name, value in expected["losses"][step].items():
            loss = sharded["losses"][step][name]
            assert loss == pytest.approx(value, abs=tolerance), name
    for name, value in expected["losses"][0].items():
        for result in rounded:
            assert result["losses"][0][name] == pytest.approx(value, rel=1e-2), name

"""What devices exchange in a training step: as little as there can be.

As a program it prints, for each layout (devices,data,fsdp,space) of up to eight virtual
devices, a line of JSON: all collectives of the compiled step, as it is written for a
platform.

    JAX_NUM_CPU_DEVICES=8 python tests/parallel/collectives_test.py PLATFORM LAYOUT...
"""

import dataclasses
import functools
import json
import math
import os
import subprocess
import sys

import jax
import pytest
from paths import PYTHONPATH, REPOSITORY
from tiny_run import tiny_config

from synthct_jax.model import methods
from synthct_jax.performance.plan.step_plan import plan_step

BATCH, SIZE, WIDTH = 8, 64, 8
WIDEST_BORDER = 3  # rows that the 7x7 convolutions see beyond an image
WIDEST_SQUARES = 4  # the same in squares of two by two pixels


def step_config(data=1, fsdp=1, space=1):
    config = tiny_config(global_batch=BATCH)
    config.data.size = SIZE
    config.model.update(width=WIDTH, blocks=2, discriminator_width=WIDTH)
    config.mesh.update(data=data, fsdp=fsdp, space=space)
    return config


def print_collectives(platform, *layouts):
    methods.from_config = functools.partial(methods.from_config, platform=platform)
    for layout in layouts:
        count, *axes = map(int, layout.split(","))
        plan = plan_step(step_config(*axes), jax.devices()[:count])
        rows = [dataclasses.asdict(collective) for collective in plan.collectives]
        print(json.dumps(rows), flush=True)


@functools.cache
def collectives_of(*layouts, platform="any"):
    """The collectives of layouts, by layout: (devices, data, fsdp, space).

    A CPU's own program differs in its convolutions alone, and takes longer to compile.
    """
    names = [",".join(map(str, layout)) for layout in layouts]
    done = subprocess.run(
        [sys.executable, __file__, platform, *names],
        env={
            **os.environ,
            "JAX_NUM_CPU_DEVICES": "8",
            # Nothing is run: no effort for machine code.
            "XLA_FLAGS": os.environ["XLA_FLAGS"].replace("level=1", "level=0"),
            "PYTHONPATH": PYTHONPATH,
        },
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return dict(zip(layouts, lines, strict=True))


@functools.cache
def weights():
    """Shapes of all weights of the step."""
    gan = methods.from_config(step_config())
    state = jax.eval_shape(
        functools.partial(gan.init, batch=BATCH, size=SIZE), jax.random.key(0)
    )
    trained = (state.generators, state.discriminators)
    return [array.shape for array in jax.tree.leaves(trained)]


def of_kind(found, kind):
    return [one for one in found if one["kind"] == kind]


def shapes(one):
    return [tuple(array["shape"]) for array in one["arrays"]]


def assert_one_reduction_of_gradients(found, axes):
    """The largest all-reduce has all gradients and the losses, and nothing else."""
    reductions = of_kind(found, "all-reduce")
    gradients = max(reductions, key=lambda one: one["bytes"])
    scalars = 8  # losses; biases of one element are gradients
    elements = sum(map(math.prod, weights()))
    assert gradients["count"] == 1
    assert gradients["axes"] == axes
    assert elements < gradients["bytes"] / 4 <= elements + scalars
    return [one for one in reductions if one is not gradients]


def assert_only_statistics(reductions):
    """Means of instance norms: (n, 1, 1, c)."""
    for one in reductions:
        assert one["axes"] == ["space"], one
        for shape in shapes(one):
            assert len(shape) == 4 and shape[1:3] == (1, 1), one


def assert_only_borders(permutations, images):
    for one in permutations:
        assert one["axes"] == ["space"], one
        for shape in shapes(one):
            n, rows, width, channels = shape
            assert n == images and rows <= WIDEST_BORDER, one
            assert width <= SIZE + 2 * WIDEST_BORDER, one
            # Where there are fewer pixels there are more channels.
            assert width * channels <= (SIZE + 2 * WIDEST_BORDER) * WIDTH, one


def assert_only_borders_of_squares(permutations, images):
    for one in permutations:
        assert one["axes"] == ["space"], one
        for shape in shapes(one):
            n, *of_one = shape
            assert n == images
            most = WIDEST_SQUARES * (SIZE + 2 * WIDEST_SQUARES) * WIDTH
            assert math.prod(of_one) <= most, one


def moved(found, kind):
    return sum(one["bytes"] * one["count"] for one in of_kind(found, kind))


DATA, MIXED, FSDP = (8, 8, 1, 1), (8, 2, 1, 4), (8, 1, 8, 1)


def test_data_axis_has_one_all_reduce_of_gradients_and_nothing_else():
    found = collectives_of(DATA, MIXED, FSDP)[DATA]
    assert assert_one_reduction_of_gradients(found, ["data"]) == []
    assert len(found) == 1


@pytest.mark.parametrize("squares", [False, True])
def test_space_axis_exchanges_halos_and_norm_sums_but_no_images(squares):
    if squares:
        found = collectives_of(MIXED, platform="tpu")[MIXED]
    else:
        found = collectives_of(DATA, MIXED, FSDP)[MIXED]
    statistics = assert_one_reduction_of_gradients(found, ["data", "space"])
    assert_only_statistics(statistics)
    permutations = of_kind(found, "collective-permute")
    assert permutations
    only = assert_only_borders_of_squares if squares else assert_only_borders
    only(permutations, images=BATCH // 2)
    assert {one["kind"] for one in found} == {"all-reduce", "collective-permute"}


def test_fsdp_axis_gathers_weights_but_no_images():
    found = collectives_of(DATA, MIXED, FSDP)[FSDP]
    assert assert_one_reduction_of_gradients(found, ["fsdp"]) == []
    gathered = of_kind(found, "all-gather")
    assert gathered
    for one in gathered:
        for shape in shapes(one):
            # Split axes are printed as one more, of length one.
            assert tuple(n for n in shape if n > 1) in {
                tuple(n for n in weight if n > 1) for weight in weights()
            }, one
    # Each weight once: those of the generators are used in two gradients.
    assert moved(found, "all-gather") <= 4 * sum(map(math.prod, weights()))
    assert {one["kind"] for one in found} == {"all-reduce", "all-gather"}


@pytest.mark.slow
@pytest.mark.parametrize("axis", ["data", "fsdp", "space"])
def test_no_collective_grows_with_the_devices(axis):
    """The images of a device stay the same: what it sends must as well."""
    counts = (2, 4, 8)
    place = ("data", "fsdp", "space").index(axis)
    layouts = [
        (count, *(count if i == place else 1 for i in range(3))) for count in counts
    ]
    found = collectives_of(*layouts)
    for layout in layouts:
        kinds = {one["kind"] for one in found[layout]}
        assert "all-to-all" not in kinds
        assert ("all-gather" in kinds) == (axis == "fsdp")
    # Of a batch of eight a device has fewer images, with more devices, but for space.
    for kind in ("all-reduce", "all-gather", "collective-permute"):
        first, *others = (moved(found[layout], kind) for layout in layouts)
        for other in others:
            assert other <= first * 1.001, kind
        times = {sum(o["count"] for o in of_kind(found[la], kind)) for la in layouts}
        assert len(times) == 1, kind


if __name__ == "__main__":
    print_collectives(*sys.argv[1:])

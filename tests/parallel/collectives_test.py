"""Collectives of a training step: gradients once, halos, sums; never images."""

import functools
import itertools
import math

import jax
import pytest
from step_collectives import BATCH, SIZE, WIDTH, step_config
from virtual_devices import run_on_eight_devices

from synthct_jax.model import methods

WIDEST_BORDER = 3  # rows that the 7x7 convolutions see beyond an image
WIDEST_BLOCK_BORDER = 4  # the same in space-to-depth blocks of 2x2 pixels


@functools.cache
def collectives_of(*layouts, platform="any"):
    """Return the collectives of layouts (devices, data, fsdp, space), by layout.

    A CPU's own program differs in its convolutions alone, and takes longer to compile.
    """
    lines = run_on_eight_devices(
        "step_collectives.py",
        platform,
        *(",".join(map(str, layout)) for layout in layouts),
    )
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


def of_kind(collectives, kind):
    return [collective for collective in collectives if collective["kind"] == kind]


def kinds(collectives):
    return {collective["kind"] for collective in collectives}


def shapes(collective):
    return [tuple(array["shape"]) for array in collective["arrays"]]


def assert_one_reduction_of_gradients(collectives, axes):
    """The largest all-reduce has all gradients and the losses; return the others."""
    reductions = of_kind(collectives, "all-reduce")
    gradients = max(reductions, key=lambda reduction: reduction["bytes"])
    scalars = 8  # losses; biases of one element are gradients
    elements = sum(map(math.prod, weights()))
    assert gradients["count"] == 1
    assert gradients["axes"] == axes
    assert elements < gradients["bytes"] / 4 <= elements + scalars
    return [reduction for reduction in reductions if reduction is not gradients]


def assert_only_statistics(reductions):
    """Means of instance norms: (n, 1, 1, c)."""
    for reduction in reductions:
        assert reduction["axes"] == ["space"], reduction
        for shape in shapes(reduction):
            assert len(shape) == 4 and shape[1:3] == (1, 1), reduction


def assert_only_borders(permutations, images, *, blocks):
    border = WIDEST_BLOCK_BORDER if blocks else WIDEST_BORDER
    for permutation in permutations:
        assert permutation["axes"] == ["space"], permutation
        for n, rows, width, channels in shapes(permutation):
            assert n == images
            # Where there are fewer pixels there are more channels.
            line = (SIZE + 2 * border) * WIDTH
            assert rows * width * channels <= border * line, permutation
            assert blocks or (rows <= border and width * channels <= line), permutation


def moved(collectives, kind):
    return sum(c["bytes"] * c["count"] for c in of_kind(collectives, kind))


DATA, MIXED, FSDP = (8, 8, 1, 1), (8, 2, 1, 4), (8, 1, 8, 1)


def test_data_axis_has_one_all_reduce_of_gradients_and_nothing_else():
    collectives = collectives_of(DATA, MIXED, FSDP)[DATA]
    assert assert_one_reduction_of_gradients(collectives, ["data"]) == []
    assert len(collectives) == 1


@pytest.mark.parametrize("blocks", [False, True])
def test_space_axis_exchanges_halos_and_norm_sums_but_no_images(blocks):
    if blocks:
        collectives = collectives_of(MIXED, platform="tpu")[MIXED]
    else:
        collectives = collectives_of(DATA, MIXED, FSDP)[MIXED]
    statistics = assert_one_reduction_of_gradients(collectives, ["data", "space"])
    assert_only_statistics(statistics)
    permutations = of_kind(collectives, "collective-permute")
    assert permutations
    assert_only_borders(permutations, BATCH // 2, blocks=blocks)
    assert kinds(collectives) == {"all-reduce", "collective-permute"}


def test_fsdp_axis_gathers_weights_but_no_images():
    collectives = collectives_of(DATA, MIXED, FSDP)[FSDP]
    assert assert_one_reduction_of_gradients(collectives, ["fsdp"]) == []
    gathered = of_kind(collectives, "all-gather")
    assert gathered
    # Split axes are printed as one more, of length one.
    whole = {tuple(n for n in weight if n > 1) for weight in weights()}
    for shape in itertools.chain(*map(shapes, gathered)):
        assert tuple(n for n in shape if n > 1) in whole, shape
    # Each weight once: those of the generators are used in two gradients.
    assert moved(collectives, "all-gather") <= 4 * sum(map(math.prod, weights()))
    assert kinds(collectives) == {"all-reduce", "all-gather"}


def test_trainings_with_other_seeds_share_the_means_of_their_losses_alone():
    """Four in four groups; eight in four, with two devices for the images of each."""
    alone, shared = collectives_of((4, 1, 1, 1, 4), (8, 2, 1, 1, 8)).values()
    for collectives in (alone, [c for c in shared if c["axes"] != ["data"]]):
        assert {c["axes"][0] for c in collectives} == {"seeds"}
        losses = sum(len(c["arrays"]) for c in collectives)
        assert losses <= 8
        assert moved(collectives, "all-reduce") == 4 * losses
    # Gradients and losses of two members, once.
    (gradients,) = [c for c in shared if c["axes"] == ["data"]]
    elements = sum(map(math.prod, weights()))
    assert 2 * elements < gradients["bytes"] / 4 <= 2 * (elements + 8)


@pytest.mark.slow
@pytest.mark.parametrize("axis", ["data", "fsdp", "space"])
def test_no_collective_grows_with_the_devices(axis):
    """The images of a device stay the same: what it sends must as well."""
    counts = (2, 4, 8)
    place = ("data", "fsdp", "space").index(axis)
    layouts = [
        (count, *(count if i == place else 1 for i in range(3))) for count in counts
    ]
    collectives = collectives_of(*layouts)
    for layout in layouts:
        assert "all-to-all" not in kinds(collectives[layout])
        assert ("all-gather" in kinds(collectives[layout])) == (axis == "fsdp")
    # Of a batch of eight a device has fewer images, with more devices, but for space.
    for kind in ("all-reduce", "all-gather", "collective-permute"):
        first, *others = (moved(collectives[layout], kind) for layout in layouts)
        for other in others:
            assert other <= first * 1.001, kind
        times = {
            sum(c["count"] for c in of_kind(collectives[layout], kind))
            for layout in layouts
        }
        assert len(times) == 1, kind

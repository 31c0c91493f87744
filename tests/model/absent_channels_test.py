"""MR without one phase in training: what the networks get, and what is compared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_run import tiny_config

from synthct_jax.model import absent_channels, losses, methods
from synthct_jax.model.ranges import check_relations
from synthct_jax.parallel import sharding

SIZE = 16
IMAGES = {"mr": 2, "ct": 1, "simulated_mr": 2, "simulated_ct": 1}
IN_ALONE = [[[True, False]]]


def make_method(method="cyclegan", *, mesh=None, **fields):
    config = tiny_config(pool_size=4, global_batch=2)
    config.method = method
    config.update_from_flattened_dict(fields)
    return methods.from_config(config, mesh=mesh, platform="any")


def initial(method):
    init = jax.jit(lambda key: method.init(key, batch=2, size=SIZE))
    return init(jax.random.key(0))


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return {
        name: rng.uniform(-1, 1, (2, SIZE, SIZE, channels)).astype(np.float32)
        for name, channels in IMAGES.items()
    }


def test_an_image_lacks_one_channel_at_most_and_each_as_often():
    draw = absent_channels.draw_present
    present = np.asarray(draw((4000, 3, 5, 2), 0.4, jax.random.key(0)))
    assert present.shape == (4000, 3, 1, 2)
    assert (present == present[:, :1]).all()
    of_image = present[:, 0, 0]
    assert of_image.any(axis=1).all()
    absent = (~of_image).mean(axis=0)
    np.testing.assert_allclose(absent, 0.2, atol=0.03)
    again, other = (draw((4000, 3, 5, 2), 0.4, jax.random.key(k)) for k in (0, 1))
    assert (again == present).all() and (other != present).any()


def test_cycle_and_pairs_are_compared_with_what_is_complete(batch):
    method = make_method(**{"loss.simulated": 2.0})
    state = initial(method)
    to_ct, to_mr = (
        lambda images, name=name, network=network: network.apply(
            {"params": state.generators[name]}, images
        )
        for name, network in (("to_ct", method.to_ct), ("to_mr", method.to_mr))
    )
    present = np.broadcast_to(IN_ALONE, (2, SIZE, 1, 2))
    drawn = {"present_mr": present, "present_simulated_mr": ~present}
    _, (terms, images) = jax.jit(method.generator_loss)(
        state.generators, state.discriminators, batch | drawn
    )
    synthetic_ct = to_ct(batch["mr"] * present)
    np.testing.assert_allclose(images["ct"], synthetic_ct, atol=1e-5)
    np.testing.assert_allclose(images["mr"], to_mr(batch["ct"]), atol=1e-5)
    cycled_ct = to_ct(to_mr(batch["ct"]) * present)
    ct_of_pairs = to_ct(batch["simulated_mr"] * ~present)
    for name, weight, made, truth in (
        ("cycle_mr", 10, to_mr(synthetic_ct), batch["mr"]),
        ("cycle_ct", 10, cycled_ct, batch["ct"]),
        ("simulated_ct", 2, ct_of_pairs, batch["simulated_ct"]),
    ):
        error = weight * float(losses.mean_absolute(made, truth))
        assert float(terms[name]) == pytest.approx(error, rel=1e-5), name


def test_complete_mr_are_judged(batch):
    method = make_method(**{"data.channel_dropout": 0.999})
    state = initial(method)
    _, terms = jax.jit(method.train_step)(state, batch)
    synthetic_mr = method.translate_back(state.generators["to_mr"], batch["ct"])
    params = {"params": state.discriminators["mr"]}
    real, fake = (
        method.discriminator.apply(params, mr) for mr in (batch["mr"], synthetic_mr)
    )
    expected = 0.5 * float(jnp.mean((real - 1) ** 2) + jnp.mean(fake**2))
    assert float(terms["discriminator_mr"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["supervised", "distilled"])
def test_networks_that_are_taught_get_incomplete_mr(batch, name):
    method = make_method(name)
    state = initial(method)
    present = np.broadcast_to(IN_ALONE, (2, SIZE, 1, 2))
    loss = jax.jit(method.generator_loss)
    arguments = (state.generators, state.discriminators)
    error, _ = loss(*arguments, batch | {"present_mr": present})
    by_hand, _ = loss(*arguments, batch | {"mr": batch["mr"] * present})
    complete, _ = loss(*arguments, batch)
    assert float(error) == pytest.approx(float(by_hand), rel=1e-6)
    assert error != complete


def test_devices_rows_and_microbatches_get_the_same_channels(batch):
    fields = {"data.channel_dropout": 0.9, "train.learning_rate": 1e-6}
    makers = [{}, {"train.accumulate": 2}, {"mesh": sharding.make_mesh(space=2)}]
    metrics = []
    for maker in makers:
        method = make_method("supervised", **fields, **maker)
        state = initial(method)
        for _ in range(3):
            state, terms = jax.jit(method.train_step)(state, batch)
            metrics.append(float(terms["supervised_ct"]))
    alone, *others = np.reshape(metrics, (len(makers), 3))
    assert np.ptp(alone) > 1e-3  # other channels at each step
    for other in others:
        np.testing.assert_allclose(other, alone, rtol=1e-4)


def test_absent_channel_is_as_none_and_the_other_has_any_scale(batch):
    """0 is what the network would compute without the weights of the channel."""
    both, alone = (
        make_method(**{"data.mr_channels": names})
        for names in (("in_phase", "out_of_phase"), ("out_of_phase",))
    )
    generators = jax.tree.map(lambda x: 5 * x, initial(both).generators)
    absent = jnp.asarray([False, True])
    mr = absent_channels.leave_out(batch["mr"], absent)
    expected = both.translate(generators["to_ct"], mr)
    params = absent_channels.take_inputs(generators["to_ct"], [1])
    for scale in (1.0, 0.6):
        rescaled = scale * (batch["mr"][..., 1:] + 1) - 1
        ct = alone.translate(params, rescaled)
        np.testing.assert_allclose(ct, expected, atol=2e-3)
    assert np.ptp(expected) > 0.5
    mr = both.translate_back(generators["to_mr"], batch["ct"])
    params = absent_channels.take_outputs(generators["to_mr"], [1])
    out_of_phase = alone.translate_back(params, batch["ct"])
    np.testing.assert_allclose(out_of_phase, mr[..., 1:], atol=1e-6)


@pytest.mark.parametrize(
    "names", [("in_phase",), ("t2",), ("in_phase", "out_of_phase", "t2")]
)
def test_only_one_of_two_phases_can_be_left_out(names):
    config = tiny_config()
    config.data.channel_dropout = 0.5
    check_relations(config, size_multiple=2)
    config.data.mr_channels = names
    with pytest.raises(ValueError, match="channel_dropout is 0.5, expected 0: data.mr"):
        check_relations(config, size_multiple=2)

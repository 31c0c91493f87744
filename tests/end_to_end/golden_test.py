"""The training step reproduces numbers recorded from the reference CycleGAN.

The record is one float32 run. Where an activation in front of a ReLU is zero to
rounding, its gradient is a matter of luck: one pixel of these small images moves a
tensor's gradient by up to 6e-3 of its norm, Adam's first step is the sign of the
gradient, and from there rounding grows about tenfold a step. So we compute in float64,
from weights moved by as much as float32 would round them, several times: the recorded
gradient must be within 1e-4 of one of these, tensor by tensor; the recorded losses
within 1e-3, or within what rounding alone does to ours at that step.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_record import (
    BLOCKS,
    LOSSES,
    nhwc,
    recorded_params,
    relative_error,
)
from layouts import to_float64

from synthct_jax.configs import default
from synthct_jax.model import image_pool
from synthct_jax.model.cyclegan import CycleGan
from synthct_jax.model.train_state import TrainState

ROUNDINGS = 16


@pytest.fixture(
    scope="module", params=["cyclegan_1to1_identity.npz", "cyclegan_2to1.npz"]
)
def recorded(request, real_data: Path):
    """A golden file and our model with its weights."""
    path = real_data.parent / "golden" / request.param
    if not path.is_file():
        pytest.skip(f"recorded tensors are not at {path}")
    golden = np.load(path)
    channels = golden["real_A"].shape[2]
    config = default.get_config()
    config.unlock()
    config.data.mr_channels = ("in_phase", "out_of_phase")[:channels]
    config.model.width = config.model.discriminator_width = 8
    config.loss.identity = 0.5 if "identity" in request.param else 0.0
    config.train.pool_size = 0
    cyclegan = CycleGan.from_config(config)
    state = jax.eval_shape(lambda: cyclegan.init(jax.random.key(0), batch=2, size=32))
    expected = jax.tree.map(np.shape, (state.generators, state.discriminators))
    assert jax.tree.map(np.shape, recorded_params(golden, "init")) == expected
    return cyclegan, golden


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


def initial_state(cyclegan: CycleGan, golden, dtype) -> TrainState:
    generators, discriminators = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype), recorded_params(golden, "init")
    )
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        generators=generators,
        discriminators=discriminators,
        generator_opt=cyclegan.generator_optimiser.init(generators),
        discriminator_opt=cyclegan.discriminator_optimiser.init(discriminators),
        ema=None,
        pools={name: image_pool.create(0, (2, 32, 32, 1)) for name in ("ct", "mr")},
        rng=jax.random.key(0),
    )


def batch_of(golden, step: int, dtype) -> dict[str, np.ndarray]:
    images = {"mr": golden["real_A"][step], "ct": golden["real_B"][step]}
    return {name: nhwc(image).astype(dtype) for name, image in images.items()}


def rounded(tree, seed: int):
    """The weights, each moved by up to a unit of float32's last place."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: leaf * (1 + 1.2e-7 * rng.uniform(-1, 1, leaf.shape)), tree
    )


def test_first_step_reproduces_recorded_images_and_gradients(recorded, double):
    cyclegan, golden = recorded
    cyclegan = to_float64(cyclegan)
    state = initial_state(cyclegan, golden, np.float64)
    batch = batch_of(golden, 0, np.float64)

    @jax.jit
    def first_step(generators, discriminators):
        (_, (_, fake)), generator_grads = jax.value_and_grad(
            cyclegan.generator_loss, has_aux=True
        )(generators, discriminators, batch)
        discriminator_grads, _ = jax.grad(cyclegan.discriminator_loss, has_aux=True)(
            discriminators, batch, fake
        )
        cycled_mr = cyclegan.to_mr.apply({"params": generators["to_mr"]}, fake["ct"])
        cycled_ct = cyclegan.to_ct.apply({"params": generators["to_ct"]}, fake["mr"])
        images = fake | {"cycled_mr": cycled_mr, "cycled_ct": cycled_ct}
        return images, (generator_grads, discriminator_grads)

    networks_ = (state.generators, state.discriminators)
    images, _ = first_step(*networks_)
    names = {"ct": "fake_B", "mr": "fake_A", "cycled_mr": "rec_A", "cycled_ct": "rec_B"}
    for ours, theirs in names.items():
        expected = nhwc(golden[f"step0/{theirs}"])
        assert relative_error(images[ours], expected) <= 1e-4, ours
    expected = recorded_params(golden, "grad0")
    # No ReLU of the discriminators is that close: the bound holds as it stands.
    plain = jax.tree.map(relative_error, first_step(*networks_)[1][1], expected[1])
    assert max(jax.tree.leaves(plain)) <= 1e-4
    errors = [
        jax.tree.map(relative_error, first_step(*rounded(networks_, seed))[1], expected)
        for seed in range(ROUNDINGS)
    ]
    best = jax.tree.map(lambda *values: min(values), *errors)
    for path, error in jax.tree_util.tree_leaves_with_path(best):
        assert error <= 1e-4, (path, error)


def test_five_steps_reproduce_recorded_losses(recorded, double):
    cyclegan, golden = recorded
    cyclegan = to_float64(cyclegan)
    train_step = jax.jit(cyclegan.train_step)
    runs = []
    for seed in range(ROUNDINGS):
        state = initial_state(cyclegan, golden, np.float64)
        state = state.replace(
            generators=rounded(state.generators, seed),
            discriminators=rounded(state.discriminators, seed),
        )
        runs.append([])
        for step in range(len(golden["losses"])):
            state, metrics = train_step(state, batch_of(golden, step, np.float64))
            runs[-1].append({name: float(value) for name, value in metrics.items()})
    for step, expected in enumerate(golden["losses"]):
        recorded_losses = dict(zip(golden["loss_names"], expected, strict=True))
        for ours, theirs in LOSSES.items():
            if ours not in runs[0][step]:
                assert recorded_losses[theirs] == 0, ours
                continue
            values = np.array([run[step][ours] for run in runs])
            spread = values.max() - values.min() if step else 0.0
            bound = max(1e-3 * recorded_losses[theirs], spread)
            error = np.abs(values - recorded_losses[theirs]).min()
            assert error <= bound, (step, ours, error, spread)


def test_float32_agrees_with_the_record_before_the_first_update(recorded):
    cyclegan, golden = recorded
    state = initial_state(cyclegan, golden, np.float32)
    batch = batch_of(golden, 0, np.float32)
    _, (terms, images) = jax.jit(cyclegan.generator_loss)(
        state.generators, state.discriminators, batch
    )
    assert relative_error(images["ct"], nhwc(golden["step0/fake_B"])) <= 1e-4
    assert relative_error(images["mr"], nhwc(golden["step0/fake_A"])) <= 1e-4
    expected = dict(zip(golden["loss_names"], golden["losses"][0], strict=True))
    for ours, value in terms.items():
        assert abs(float(value) / expected[LOSSES[ours]] - 1) <= 1e-5, ours


# With the biases in front of instance norms, which the reference has and we leave out.
@pytest.mark.parametrize(
    ("channels", "generator", "discriminator"),
    [
        (1, 11_365_633, 2_762_689),
        (2, 11_368_769, 2_763_713),
        (3, 11_371_905, 2_764_737),
    ],
)
def test_full_width_networks_have_the_reference_parameter_counts(
    channels, generator, discriminator
):
    config = default.get_config()
    config.data.mr_channels = ("in_phase", "out_of_phase", "t2")[:channels]
    cyclegan = CycleGan.from_config(config)
    state = jax.eval_shape(lambda: cyclegan.init(jax.random.key(0), batch=1, size=256))

    def count(params) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(params))

    left_out = 64 + 128 + 256 + 2 * BLOCKS * 256 + 128 + 64
    assert count(state.generators["to_ct"]) + left_out == generator
    left_out = 128 + 256 + 512
    assert count(state.discriminators["mr"]) + left_out == discriminator

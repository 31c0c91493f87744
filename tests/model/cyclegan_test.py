"""The training step beyond the recorded numbers: sharding, options, schedules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_run import tiny_config

from synthct_jax.layers.cpu.ops import CpuOps
from synthct_jax.model import losses, optim
from synthct_jax.model.cyclegan import CycleGan
from synthct_jax.model.supervised import Supervised

SIZE = 16


def config(**fields):
    config = tiny_config(pool_size=4, global_batch=2)
    config.update_from_flattened_dict(fields)
    return config


def make_cyclegan(**fields) -> CycleGan:
    """Return a CycleGAN computed by XLA alone, which compiles in a moment."""
    return CycleGan.from_config(config(**fields), platform="any")


def batch(channels: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "mr": rng.uniform(-1, 1, (2, SIZE, SIZE, channels)).astype(np.float32),
        "ct": rng.uniform(-1, 1, (2, SIZE, SIZE, 1)).astype(np.float32),
    }


def initial(cyclegan: CycleGan):
    return jax.jit(lambda key: cyclegan.init(key, batch=2, size=SIZE))(
        jax.random.key(0)
    )


def losses_of(cyclegan: CycleGan, channels: int = 2) -> dict[str, float]:
    state = initial(cyclegan)
    _, (terms, _) = jax.jit(cyclegan.generator_loss)(
        state.generators, state.discriminators, batch(channels)
    )
    return {name: float(value) for name, value in terms.items()}


def test_identity_loss_takes_unequal_channels_and_is_off_by_default():
    assert not any("identity" in name for name in losses_of(make_cyclegan()))
    terms = losses_of(make_cyclegan(**{"loss.identity": 0.5}))
    assert terms["identity_ct"] > 0 and terms["identity_mr"] > 0
    image = jnp.asarray([1.0, 3.0]).reshape(1, 1, 1, 2)
    assert losses.identity_input(image, 2) is image
    assert losses.identity_input(image, 1).ravel() == 2
    assert (losses.identity_input(image[..., :1], 3).ravel() == 1).all()


def test_pairs_of_both_kinds_add_the_gradients_of_the_supervised_loss():
    rng = np.random.default_rng(1)
    weights = {"simulated": 2.0, "paired": 0.5}
    pairs = {
        kind: {name: rng.permuted(images) for name, images in batch().items()}
        for kind in weights
    }
    anchored = batch() | {
        f"{kind}_{name}": image
        for kind, images in pairs.items()
        for name, image in images.items()
    }
    state = initial(make_cyclegan())

    def gradients(method, *batches):
        gradient = jax.jit(jax.grad(method.generator_loss, has_aux=True))
        return [
            gradient(state.generators, state.discriminators, images)
            for images in batches
        ]

    fields = {f"loss.{kind}": weight for kind, weight in weights.items()}
    ((plain, (terms, _)),) = gradients(make_cyclegan(), anchored)
    ((both, (more, _)),) = gradients(make_cyclegan(**fields), anchored)
    supervised = Supervised.from_config(config(), platform="any")
    (first, (error, _)), (second, (other, _)) = gradients(supervised, *pairs.values())
    assert more.keys() - terms.keys() == {"simulated_ct", "paired_ct"}
    for name, expected in (
        ("simulated_ct", 2 * error["supervised_ct"]),
        ("paired_ct", 0.5 * other["supervised_ct"]),
    ):
        assert float(more[name]) == pytest.approx(float(expected), rel=1e-6)
    for with_pairs, without, *of_pairs in zip(
        *map(jax.tree.leaves, (both, plain, first, second)), strict=True
    ):
        scale = float(jnp.abs(with_pairs).max())
        difference = with_pairs - without
        expected = 2 * of_pairs[0] + 0.5 * of_pairs[1]
        np.testing.assert_allclose(difference, expected, rtol=0, atol=1e-5 * scale)


def test_ranges_hold_where_the_mr_shows_one_tissue_alone():
    """Fat, soft tissue and gas; bone and the border of fat and muscle are free."""
    ranges = losses.tissue_ranges(((-1000.0, -1.0), (1000.0, 1.0)), 0.6)
    phases = [(0.9, 0.7), (0.4, 0.35), (0.05, 0.04), (0.2, 0.1), (0.55, 0.5), (0, 0)]
    mr = 2 * jnp.asarray(phases).reshape(1, 1, 6, 2) - 1

    def distance(*hu):
        ct = jnp.asarray(hu).reshape(1, 1, 6, 1) / 1000
        return 6000 * float(losses.outside_ranges(ct, mr, ranges))

    assert distance(-100, 60, -900, 900, 0, 0) == pytest.approx(0, abs=1e-3)
    assert distance(60, 60, -900, 900, 0, 0) == pytest.approx(130, abs=1e-3)
    assert distance(-100, -100, -900, 900, 0, 0) == pytest.approx(100, abs=1e-3)
    assert distance(-100, 60, 0, 900, 0, 0) == pytest.approx(750, abs=1e-3)


def test_noise_in_the_cycle_is_another_at_every_step_and_leaves_the_images_judged():
    cyclegan = make_cyclegan(**{"loss.noise_ct": 0.1, "loss.noise_mr": 0.1})
    state = initial(cyclegan)
    loss = jax.jit(cyclegan.generator_loss)

    def terms(noise):
        arguments = (state.generators, state.discriminators)
        return loss(*arguments, batch() | noise)[1]

    keys = jax.random.split(jax.random.key(0))
    draws = [cyclegan.draw_noise(batch(), key) for key in keys]
    (first, images), (second, _), (quiet, judged) = map(
        terms,
        (*draws, jax.tree.map(jnp.zeros_like, draws[0]) | {"gain_mr": jnp.ones(1)}),
    )
    assert first["cycle_ct"] != second["cycle_ct"] != quiet["cycle_ct"]
    assert first["cycle_mr"] != second["cycle_mr"] != quiet["cycle_mr"]
    jax.tree.map(np.testing.assert_array_equal, images, judged)
    assert not make_cyclegan().draw_noise(batch(), keys[0])


def test_batching_calls_of_a_generator_changes_nothing(monkeypatch):
    cyclegan = CycleGan.from_config(config(**{"loss.identity": 0.5}))
    state = initial(cyclegan)
    results, calls = [], []
    for batches in (False, True):
        monkeypatch.setattr(CpuOps, "_should_batch", lambda *_, b=batches: b)
        loss = jax.jit(jax.value_and_grad(cyclegan.generator_loss, has_aux=True))
        lowered = loss.lower(state.generators, state.discriminators, batch())
        calls.append(lowered.as_text().count("stablehlo.while"))
        compiled = lowered.compile()
        results.append(compiled(state.generators, state.discriminators, batch()))
        jax.clear_caches()
    assert calls[1] < calls[0]  # loops over residual blocks
    for apart, together in zip(*map(jax.tree.leaves, results), strict=True):
        scale = float(jnp.abs(apart).max())
        np.testing.assert_allclose(together, apart, rtol=0, atol=1e-5 * scale)


def test_cycle_loss_weights_channels_alike():
    a = jnp.zeros((1, 2, 2, 2))
    b = a.at[..., 0].set(1.0)
    assert losses.mean_absolute(a, b) == 0.5


def test_vanilla_loss_is_the_cross_entropy_of_the_score():
    score = jnp.asarray([0.0, 2.0])
    expected = -np.log(1 / (1 + np.exp(-np.asarray(score)))).mean()
    loss = losses.adversarial(score, real=True, kind="vanilla")
    assert loss == pytest.approx(expected, rel=1e-6)
    assert losses.adversarial(score, real=False, kind="vanilla") > loss
    with pytest.raises(ValueError, match="loss.adversarial is 'wgan', expected one of"):
        losses.adversarial(score, real=True, kind="wgan")
    cyclegan = make_cyclegan(**{"loss.adversarial": "vanilla"})
    assert np.isfinite(list(losses_of(cyclegan).values())).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_generator_takes_one_or_three_channels_with_resize_upsampling(channels):
    names = ("in_phase", "out_of_phase", "t2")[:channels]
    cyclegan = make_cyclegan(**{"data.mr_channels": names, "model.upsample": "resize"})
    state = initial(cyclegan)
    mr = batch(channels)["mr"]
    ct = jax.jit(cyclegan.translate)(state.inference_params["to_ct"], mr)
    assert ct.shape == (2, SIZE, SIZE, 1)
    assert float(jnp.abs(ct).max()) <= 1


def test_bfloat16_computes_close_to_float32_with_float32_parameters():
    single = make_cyclegan()
    half = make_cyclegan(**{"model.dtype": "bfloat16"})
    state = initial(half)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.generators)} == {
        jnp.dtype("float32")
    }
    _, (terms, _) = jax.eval_shape(
        half.generator_loss, state.generators, state.discriminators, batch(2)
    )
    assert {term.dtype for term in terms.values()} == {jnp.dtype("float32")}
    loss = losses_of(half)
    for name, value in losses_of(single).items():
        assert loss[name] == pytest.approx(value, rel=0.05), name


def test_moving_average_follows_and_forgets_the_initial_weights():
    old, new = {"w": jnp.zeros(1)}, {"w": jnp.ones(1)}
    average = optim.update_ema
    assert average(old, new, jnp.asarray(0), 0.9)["w"] == pytest.approx(0.9)
    assert average(old, new, jnp.asarray(1000), 0.9)["w"] == pytest.approx(0.1)
    assert average(None, new, jnp.asarray(0), 0.9) is None


def test_learning_rate_is_constant_and_then_falls_linearly_to_zero():
    train = tiny_config(learning_rate=1.0, steps=100, decay_start=0.5).train
    schedule = optim.schedule(train)
    rates = [float(schedule(step)) for step in (0, 49, 50, 75, 100)]
    assert rates == pytest.approx([1, 1, 1, 0.5, 0])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model.upsample", "bilinear"),
        ("model.dtype", "float16"),
        ("loss.adversarial", "wgan"),
    ],
)
def test_unknown_value_is_refused_with_its_field(field, value):
    with pytest.raises(ValueError, match=f"^{field} is '{value}', expected"):
        CycleGan.from_config(config(**{field: value}))

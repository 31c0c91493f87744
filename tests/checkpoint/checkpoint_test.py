import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from synthct_jax.checkpoint import manager
from synthct_jax.checkpoint.manager import Checkpoints, DamagedCheckpoint, Description
from synthct_jax.model.image_pool import ImagePool
from synthct_jax.model.train_state import TrainState, state_sharding
from synthct_jax.parallel import sharding


def a_state(step=1, *, ema=True, seed=0):
    """A state of the real structure, with a few small arrays."""
    rng = np.random.default_rng(seed)

    def params():
        kernel = rng.standard_normal((3, 3, 8, 64)).astype(np.float32)
        return {"stem": {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(64)}}

    generators = {"to_ct": params(), "to_mr": params()}
    discriminators = {"ct": params(), "mr": params()}
    adam = optax.adam(optax.constant_schedule(1e-3))
    pool = ImagePool(
        jnp.asarray(rng.random((2, 3, 4, 4, 1)), jnp.float32), jnp.int32(2)
    )
    return TrainState(
        step=jnp.int32(step),
        generators=generators,
        discriminators=discriminators,
        generator_opt=adam.init(generators),
        discriminator_opt=adam.init(discriminators),
        ema={"to_ct": params(), "to_mr": params()} if ema else None,
        pools={"ct": pool, "mr": jax.tree.map(jnp.copy, pool)},
        rng=jax.random.key(seed),
    )


def a_description(**metrics):
    return Description(
        config={"train": {"best_metric": "mae"}, "data": {"knots": ((-1.0, 0.5),)}},
        prepared={"source": "phantom"},
        data_dir="/data",
        versions=manager.versions(),
        metrics=metrics,
    )


def abstract(state, mesh=None):
    mesh = mesh or sharding.make_mesh(jax.devices()[:1])
    return jax.tree.map(
        lambda array, where: jax.ShapeDtypeStruct(
            array.shape, array.dtype, sharding=where
        ),
        state,
        state_sharding(mesh, state),
    )


def plain(state):
    return jax.tree.map(np.array, jax.device_get(manager._to_arrays(state)))


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].dtype == expected[name].dtype, name
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.parametrize("ema", [True, False])
def test_a_state_comes_back_bit_for_bit(tmp_path, ema):
    state = a_state(7, ema=ema)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step is None
        assert checkpoints.save(state, a_description())
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step == 7
        restored = checkpoints.restore(abstract(state), 7)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert_same(plain(restored), plain(state))
    bits = jax.random.bits(restored.rng)  # a key, not its bits
    assert bits == jax.random.bits(state.rng)


@pytest.mark.parametrize("ema", [True, False])
def test_the_generator_that_translates_is_readable_alone(tmp_path, ema):
    state = a_state(ema=ema)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, a_description())
    for path in (tmp_path / "checkpoints" / "1" / "state").rglob("*"):
        if path.is_file():
            path.unlink()
    with Checkpoints.of_run(tmp_path) as checkpoints:
        params = checkpoints.restore_generator(1)
    expected = (state.ema if ema else state.generators)["to_ct"]
    assert jax.tree.structure(params) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, params, expected)


@pytest.mark.parametrize("ema", [True, False])
def test_the_way_back_is_that_of_the_same_weights(tmp_path, ema):
    state = a_state(ema=ema)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, a_description())
    with Checkpoints.of_run(tmp_path) as checkpoints:
        params = checkpoints.restore_way_back(1)
    expected = (state.ema if ema else state.generators)["to_mr"]
    assert jax.tree.structure(params) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, params, expected)


def test_a_supervised_network_has_no_way_back(tmp_path):
    state = a_state(ema=False)
    state = state.replace(generators={"to_ct": state.generators["to_ct"]})
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, a_description())
    with Checkpoints.of_run(tmp_path) as checkpoints:
        assert checkpoints.restore_way_back(1) is None


def test_the_description_comes_back(tmp_path):
    description = a_description(mae=3.0, broken=math.nan)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(a_state(), description)
    with Checkpoints.of_run(tmp_path) as checkpoints:
        found = checkpoints.describe(1)
    expected = dataclasses.replace(description, metrics={"mae": 3.0, "broken": None})
    assert found == expected


def test_the_state_may_be_donated_as_soon_as_save_returns(tmp_path):
    state = a_state(1)
    step = jax.jit(
        lambda s: jax.tree.map(lambda x: x if x.dtype == s.rng.dtype else x * 3 + 1, s),
        donate_argnums=0,
    )
    saved = {}
    with Checkpoints(tmp_path, keep_latest=9) as checkpoints:
        for _ in range(3):
            saved[int(state.step)] = plain(state)
            checkpoints.save(state, a_description())
            state = step(state)
    with Checkpoints.of_run(tmp_path) as checkpoints:
        assert checkpoints.steps == sorted(saved)
        for number, expected in saved.items():
            assert_same(plain(checkpoints.restore(abstract(state), number)), expected)


def test_a_step_is_never_saved_twice(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.save(a_state(3), a_description())
        assert not checkpoints.save(a_state(3, seed=1), a_description())
    with Checkpoints(tmp_path) as checkpoints:
        assert not checkpoints.save(a_state(3, seed=1), a_description())
        found = checkpoints.restore(abstract(a_state()), 3)
    assert_same(plain(found), plain(a_state(3)))


def test_the_latest_and_the_best_are_kept(tmp_path):
    metrics = {1: 5.0, 2: 2.0, 3: math.nan, 4: 4.0, 5: None, 6: 6.0}
    with Checkpoints(tmp_path, keep_latest=2, best_metric="mae") as checkpoints:
        for step, mae in metrics.items():
            values = {} if mae is None else {"mae": mae}
            checkpoints.save(a_state(step), a_description(**values))
    with Checkpoints.of_run(tmp_path) as checkpoints:
        assert checkpoints.steps == [2, 5, 6]
        assert checkpoints.choose(None) == 2
        assert checkpoints.choose(5) == 5
    # Also when the run was interrupted in between.
    with Checkpoints(tmp_path, keep_latest=1, best_metric="mae") as checkpoints:
        checkpoints.save(a_state(7), a_description(mae=3.0))
    with Checkpoints.of_run(tmp_path) as checkpoints:
        assert checkpoints.steps == [2, 7]


def test_without_validation_the_latest_is_chosen(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for step in (1, 2):
            checkpoints.save(a_state(step), a_description())
    with Checkpoints.of_run(tmp_path) as checkpoints:
        assert checkpoints.choose(None) == 2


def flip_a_bit(folder):
    """In the largest data file, where the arrays are."""
    path = max(folder.rglob("d/*"), key=lambda file: file.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_flipped_bit_is_found_and_the_array_named(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(a_state(4), a_description())
    flip_a_bit(tmp_path / "checkpoints" / "4" / "generator")
    with Checkpoints.of_run(tmp_path) as checkpoints:
        with pytest.raises(DamagedCheckpoint, match="4/generator is damaged: stem/"):
            checkpoints.restore_generator(4)
        checkpoints.restore(abstract(a_state()), 4)
    flip_a_bit(tmp_path / "checkpoints" / "4" / "state")
    with Checkpoints.of_run(tmp_path) as checkpoints:
        with pytest.raises(DamagedCheckpoint, match="checkpoints/4/state"):
            checkpoints.restore(abstract(a_state()), 4)


@pytest.mark.parametrize("item", ["generator", "config"])
def test_a_truncated_file_is_named(tmp_path, item):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(a_state(4), a_description())
    for path in (tmp_path / "checkpoints" / "4" / item).rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with Checkpoints.of_run(tmp_path) as checkpoints:
        with pytest.raises(DamagedCheckpoint, match=f"checkpoints/4/{item}"):
            checkpoints.restore_generator(4)


def test_what_is_not_finite_is_not_saved(tmp_path):
    state = a_state(2)
    state.generators["to_mr"]["stem"]["bias"] = jnp.full(64, jnp.nan)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(a_state(1), a_description())
        with pytest.raises(FloatingPointError, match="generators/to_mr/stem/bias"):
            checkpoints.save(state, a_description())
        assert checkpoints.steps == [1]


def test_missing_runs_and_steps_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere"):
        Checkpoints.of_run(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no checkpoint, expected"):
        Checkpoints.of_run(tmp_path)
    assert not list(tmp_path.iterdir())  # looking makes no folders
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(a_state(4), a_description())
    with Checkpoints.of_run(tmp_path) as checkpoints:
        for ask in (checkpoints.choose, checkpoints.describe):
            with pytest.raises(FileNotFoundError, match="step 5, it has: 4"):
                ask(5)


def test_restores_onto_other_devices(tmp_path):
    if jax.device_count() < 2:
        pytest.skip("needs two devices")
    state = a_state(1)
    two = sharding.make_mesh(jax.devices()[:2])
    spread = jax.device_put(state, state_sharding(two, state))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(spread, a_description())
    with Checkpoints(tmp_path) as checkpoints:
        on_one = checkpoints.restore(abstract(state), 1)
        on_two = checkpoints.restore(abstract(state, two), 1)
    assert len(on_two.pools["ct"].images.sharding.device_set) == 2
    assert len(on_one.pools["ct"].images.sharding.device_set) == 1
    assert_same(plain(on_one), plain(state))
    assert_same(plain(on_two), plain(state))


def test_digests_see_every_bit_and_the_order():
    array = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)

    def digest(values):
        return manager._digests({"x": jnp.asarray(values)})[0]["x"]

    expected = digest(array)
    assert digest(array.copy()) == expected
    for bit in range(32):
        bits = array.view(np.uint32).copy()
        bits[2, 3] ^= np.uint32(1 << bit)
        assert digest(bits.view(np.float32)) != expected
    assert digest(array[::-1]) != expected
    assert digest(array[:, [1, 0, 2, 3, 4]]) != expected

import dataclasses
import math
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saved_states import exchange, make_metadata, make_state

from synthct_jax.checkpoint.damage import describe_damage
from synthct_jax.checkpoint.manager import Checkpoints, state_to_arrays
from synthct_jax.checkpoint.metadata import (
    DamagedCheckpoint,
    choose_step,
    list_steps,
    read_metadata,
)
from synthct_jax.inference.loaded_model import load_model
from synthct_jax.model.train_state import state_sharding
from synthct_jax.parallel import sharding


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
    return jax.tree.map(np.array, jax.device_get(state_to_arrays(state)))


def assert_same(arrays, expected):
    assert arrays.keys() == expected.keys()
    for name in expected:
        assert arrays[name].dtype == expected[name].dtype, name
        np.testing.assert_array_equal(arrays[name], expected[name], err_msg=name)


@pytest.mark.parametrize("ema", [True, False])
def test_state_is_restored_bit_for_bit(tmp_path, ema):
    state = make_state(7, ema=ema)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step is None
        assert checkpoints.save(state, make_metadata())
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step == 7
        restored = checkpoints.restore(abstract(state), 7)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert_same(plain(restored), plain(state))
    bits = jax.random.bits(restored.rng)  # restored as a key
    assert bits == jax.random.bits(state.rng)


@pytest.mark.parametrize("ema", [True, False])
def test_generators_are_restored_without_the_state(tmp_path, ema):
    state = make_state(ema=ema)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, make_metadata())
    shutil.rmtree(tmp_path / "checkpoints" / "1" / "state")
    with Checkpoints.of_run(tmp_path) as checkpoints:
        to_ct = checkpoints.restore_generator(1)
        to_mr = checkpoints.restore_inverse_generator(1)
    expected = state.ema if ema else state.generators
    for params, name in ((to_ct, "to_ct"), (to_mr, "to_mr")):
        assert jax.tree.structure(params) == jax.tree.structure(expected[name])
        jax.tree.map(np.testing.assert_array_equal, params, expected[name])


def test_supervised_network_has_no_inverse_generator(tmp_path):
    state = make_state(ema=False)
    state = state.replace(generators={"to_ct": state.generators["to_ct"]})
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, make_metadata())
    with Checkpoints.of_run(tmp_path) as checkpoints:
        assert checkpoints.restore_inverse_generator(1) is None


def test_metadata_are_restored(tmp_path):
    metadata = make_metadata(mae=3.0, broken=math.nan)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(make_state(), metadata)
    saved = read_metadata(tmp_path, 1)
    expected = dataclasses.replace(metadata, metrics={"mae": 3.0, "broken": None})
    assert saved == expected


def test_state_may_be_donated_as_soon_as_save_returns(tmp_path):
    state = make_state(1)
    step = jax.jit(
        lambda s: jax.tree.map(lambda x: x if x.dtype == s.rng.dtype else x * 3 + 1, s),
        donate_argnums=0,
    )
    saved = {}
    with Checkpoints(tmp_path, keep_latest=9) as checkpoints:
        for _ in range(3):
            saved[int(state.step)] = plain(state)
            checkpoints.save(state, make_metadata())
            state = step(state)
    with Checkpoints.of_run(tmp_path) as checkpoints:
        assert list_steps(tmp_path) == sorted(saved)
        for number, expected in saved.items():
            assert_same(plain(checkpoints.restore(abstract(state), number)), expected)


def test_step_is_never_saved_twice(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.save(make_state(3), make_metadata())
        assert not checkpoints.save(make_state(3, seed=1), make_metadata())
    with Checkpoints(tmp_path) as checkpoints:
        assert not checkpoints.save(make_state(3, seed=1), make_metadata())
        restored = checkpoints.restore(abstract(make_state()), 3)
    assert_same(plain(restored), plain(make_state(3)))


def test_latest_and_best_checkpoints_are_kept(tmp_path):
    metrics = {1: 5.0, 2: 2.0, 3: math.nan, 4: 4.0, 5: None, 6: 6.0}
    with Checkpoints(tmp_path, keep_latest=2, best_metric="mae") as checkpoints:
        for step, mae in metrics.items():
            values = {} if mae is None else {"mae": mae}
            checkpoints.save(make_state(step), make_metadata(**values))
    assert list_steps(tmp_path) == [2, 5, 6]
    assert choose_step(tmp_path) == 2
    assert choose_step(tmp_path, 5) == 5
    # Also when the run was interrupted in between.
    with Checkpoints(tmp_path, keep_latest=1, best_metric="mae") as checkpoints:
        checkpoints.save(make_state(7), make_metadata(mae=3.0))
    assert list_steps(tmp_path) == [2, 7]


def test_latest_good_checkpoint_is_kept_and_later_ones_can_be_removed(tmp_path):
    options = dict(keep_latest=1, best_metric="mae")
    options["keep_good"] = lambda metrics: metrics.get("fired") == 0
    with Checkpoints(tmp_path, **options) as checkpoints:
        for step, fired in {1: 0.0, 2: 0.0, 3: 1.0, 4: None}.items():
            metrics = {} if fired is None else {"mae": 9.0 - step, "fired": fired}
            checkpoints.save(make_state(step), make_metadata(**metrics))
    assert list_steps(tmp_path) == [2, 3, 4]  # good, best and latest
    with Checkpoints(tmp_path, **options) as checkpoints:
        checkpoints.remove_after(2)
        assert list_steps(tmp_path) == [2]
        assert checkpoints.save(make_state(3, seed=1), make_metadata(fired=1.0))
    assert list_steps(tmp_path) == [2, 3]


def test_changed_array_is_detected_and_named(tmp_path):
    for name, seed in (("run", 0), ("other", 1)):
        with Checkpoints(tmp_path / name) as checkpoints:
            checkpoints.save(make_state(4, seed=seed), make_metadata())
    step = tmp_path / "run" / "checkpoints" / "4"
    other = tmp_path / "other" / "checkpoints" / "4"
    exchange(step / "generator", other / "generator")
    with Checkpoints.of_run(tmp_path / "run") as checkpoints:
        with pytest.raises(DamagedCheckpoint, match="4/generator is damaged: stem/"):
            checkpoints.restore_generator(4)
        checkpoints.restore(abstract(make_state()), 4)
    exchange(step / "state", other / "state")
    with Checkpoints.of_run(tmp_path / "run") as checkpoints:
        with pytest.raises(DamagedCheckpoint, match="checkpoints/4/state is damaged"):
            checkpoints.restore(abstract(make_state()), 4)


@pytest.mark.parametrize("item", ["generator", "config"])
def test_truncated_file_is_named(tmp_path, item):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(make_state(4), make_metadata())
    for path in (tmp_path / "checkpoints" / "4" / item).rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DamagedCheckpoint, match=f"checkpoints/4/{item}"):
        with Checkpoints.of_run(tmp_path) as checkpoints:
            checkpoints.restore_generator(4)


def test_truncated_arrays_are_named_in_a_plain_line(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for step in (2, 4):
            checkpoints.save(make_state(step), make_metadata())
    generator = tmp_path / "checkpoints" / "4" / "generator"
    for path in (generator / "d").iterdir():
        os.truncate(path, path.stat().st_size // 2)
    message = (
        rf"{generator} cannot be read: {generator}/d/\w+ is damaged or missing; take "
        r"another checkpoint of the run \(--step: 2\)"
    )
    with pytest.raises(DamagedCheckpoint, match=f"^{message}$"):
        load_model(tmp_path, 4)


def test_array_is_named_where_tensorstore_names_no_file():
    error = Exception("Encountered error. See full TensorStore details: {\n  'base'")
    error.__cause__ = ValueError(
        'OUT_OF_RANGE: Error reading "stem.kernel/0.0.0.0" in OCDBT database at local '
        'file "/RUN/checkpoints/4/generator/": Requested byte range [0, 17048) is not '
        "valid for value of size 8644"
    )
    text = "a file of its array stem.kernel is damaged or missing"
    assert describe_damage(error) == text


def test_state_that_is_not_finite_is_not_saved(tmp_path):
    state = make_state(2)
    state.generators["to_mr"]["stem"]["bias"] = jnp.full(64, jnp.nan)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(make_state(1), make_metadata())
        with pytest.raises(FloatingPointError, match="generators/to_mr/stem/bias"):
            checkpoints.save(state, make_metadata())
    assert list_steps(tmp_path) == [1]


def test_missing_runs_and_steps_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no checkpoint, expected"):
        Checkpoints.of_run(tmp_path)
    assert not list(tmp_path.iterdir())  # reading makes no folders
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(make_state(4), make_metadata())
        checkpoints.wait()
        with pytest.raises(FileNotFoundError, match="step 5, it has: 4"):
            checkpoints.restore_generator(5)


def test_state_is_restored_onto_other_devices(tmp_path):
    if jax.device_count() < 2:
        pytest.skip("needs two devices")
    state = make_state(1)
    two = sharding.make_mesh(jax.devices()[:2])
    spread = jax.device_put(state, state_sharding(two, state))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(spread, make_metadata())
    with Checkpoints(tmp_path) as checkpoints:
        on_one = checkpoints.restore(abstract(state), 1)
        on_two = checkpoints.restore(abstract(state, two), 1)
    assert len(on_two.pools["ct"].images.sharding.device_set) == 2
    assert len(on_one.pools["ct"].images.sharding.device_set) == 1
    assert_same(plain(on_one), plain(state))
    assert_same(plain(on_two), plain(state))


def test_best_step_is_one_at_which_no_guard_fired(tmp_path):
    with Checkpoints(tmp_path, keep_latest=3, best_metric="mae") as checkpoints:
        for step, mae, fired in ((1, 90.0, 0.0), (2, 40.0, 2.0), (3, 80.0, 0.0)):
            metadata = make_metadata(mae=mae, guard_fired=fired)
            checkpoints.save(make_state(step), metadata)
            checkpoints.wait()
    assert choose_step(tmp_path) == 3

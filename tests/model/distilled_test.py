"""The distilled network: its loss, its targets, its run and what it refuses."""

import contextlib
import os
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saved_states import assert_same_run
from tiny_model import write_tiny_model
from tiny_run import STEPS, tiny_config, tiny_run

from input_pipeline.dataset.dataset import Dataset
from input_pipeline.intensity import hu_to_unit, mr_to_unit
from synthct_jax import train
from synthct_jax.inference.loaded_model import load_model
from synthct_jax.inference.teacher import TEACHER_CT, load_teacher, write_targets
from synthct_jax.model import methods
from synthct_jax.model.ranges import check_relations
from synthct_jax.parallel import sharding
from synthct_jax.parallel.batches import open_batches


def distilled_config(teacher="RUN", **train_fields):
    config = tiny_config(distil_from=str(teacher), **train_fields)
    config.method = "distilled"
    return config


def test_loss_is_the_error_of_the_noisy_mr_against_the_clean_mr_target():
    config = distilled_config()
    config.loss.noise_mr = 0.1
    method = methods.from_config(config, platform="any")
    rng = np.random.default_rng(0)
    batch = {
        name: rng.uniform(-1, 1, (2, 16, 16, c)).astype(np.float32)
        for name, c in (("mr", 2), ("ct", 1))
    }
    noise = method.draw_noise(batch, jax.random.key(0))
    state = jax.jit(lambda key: method.init(key, batch=2, size=16))(jax.random.key(0))
    (loss, (terms, images)), gradient = jax.jit(
        jax.value_and_grad(method.generator_loss, has_aux=True)
    )(state.generators, state.discriminators, batch | noise)
    noisy = (batch["mr"] + 1) * noise["gain_mr"] - 1 + noise["noise_mr"]
    noisy = jnp.clip(noisy, -1, 1)

    def error(params):
        return jnp.abs(method.translate(params, noisy) - batch["ct"]).mean()

    expected, by_hand = jax.jit(jax.value_and_grad(error))(state.generators["to_ct"])
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    assert terms.keys() == {"distilled_ct"} and not images
    for own, other in zip(*map(jax.tree.leaves, (gradient, by_hand)), strict=True):
        atol = 1e-5 * float(jnp.abs(other).max())
        np.testing.assert_allclose(own, other, rtol=0, atol=atol)
    assert np.abs(noisy - batch["mr"]).mean() > 0.01
    config.loss.noise_mr = 0.0
    assert not methods.from_config(config).draw_noise(batch, jax.random.key(0))


def test_targets_are_the_mean_of_views_and_move_with_their_mr(tmp_path):
    tiny = tiny_run()
    config = distilled_config(tiny.workdir, distil_views=2)
    config.data.update(flip=False, rotate_degrees=0.0, scale_fraction=0.0, shift_mm=0.0)
    dataset = Dataset.open(tiny.data_dir)
    write_targets(load_teacher(config, tmp_path), dataset, tmp_path)
    stored = np.concatenate([v.stored for v in dataset.subjects("mr", "train")])
    alone = load_model(tiny.workdir)
    plain, flipped = (
        alone.translator(alone.params, images)
        for images in (stored, stored[:, :, ::-1])
    )
    targets = np.load(tmp_path / TEACHER_CT)
    mean = (plain + flipped[:, :, ::-1]) / 2
    np.testing.assert_allclose(targets[..., 0], mean, atol=0.51)
    assert np.abs(plain - mean).max() > 1

    mesh = sharding.make_mesh(jax.devices()[:1])
    batches = open_batches(
        config, dataset, mesh, anatomies_dir=None, targets=tmp_path / TEACHER_CT
    )
    with contextlib.closing(batches):
        batch = next(batches)
    inputs = mr_to_unit(stored.astype(np.float32))
    for mr, ct in zip(batch["mr"], batch["ct"], strict=True):
        (place,) = np.flatnonzero((inputs == mr).all(axis=(1, 2, 3)))
        own = targets[place].astype(np.float32)
        np.testing.assert_array_equal(ct, hu_to_unit(own, config.data.ct_knots))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "data.mr_channels",
            ("in_phase",),
            r"data.mr_channels of .* is \['in_phase', ",
        ),
        ("data.ct_knots", ((-1000.0, -1.0), (1000.0, 1.0)), "data.ct_knots of .* is "),
        ("data.spacing_mm", 3.0, "spacing_mm of .* is 12.0, and 3.0 in this training"),
        ("data.size", 64, "data.size of .* is 32, and 64 in this training"),
        ("train.distil_views", 3, "train.distil_views is 3, expected one of: 1, 2"),
    ],
)
def test_teacher_of_other_images_is_refused(field, value, message, tmp_path):
    write_tiny_model(model := tmp_path / "teacher.safetensors")
    config = distilled_config(model)
    assert load_teacher(config, tmp_path).views == 8
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        load_teacher(config, tmp_path)


def test_teacher_that_is_missing_or_not_wanted_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="distil_from: NOWHERE is no folder of"):
        load_teacher(distilled_config("NOWHERE"), tmp_path)
    without, unread = distilled_config(""), distilled_config("RUN")
    unread.method = "cyclegan"
    for config in (without, unread):
        with pytest.raises(
            ValueError, match="expected distilled with a run or a model"
        ):
            check_relations(config, size_multiple=2)


@pytest.mark.slow
def test_run_resumes_bit_for_bit_and_translates_without_its_teacher(
    tmp_path, monkeypatch
):
    tiny = tiny_run()
    teacher = shutil.copytree(tiny.workdir, tmp_path / "teacher")
    config = distilled_config(teacher, evaluate_every=0)
    config.loss.noise_mr = 0.1
    arguments = dict(data_dir=tiny.data_dir)
    assert train.train(config, workdir=tmp_path / "whole", **arguments)

    def stop_at(step, batches):
        for number, batch in enumerate(batches, start=1):
            if number == step:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    with monkeypatch.context() as patch:
        whole = Dataset.batches
        patch.setattr(
            Dataset, "batches", lambda *args, **kw: stop_at(4, whole(*args, **kw))
        )
        assert not train.train(config, workdir=tmp_path / "stopped", **arguments)
    shutil.rmtree(teacher)
    assert train.train(config, workdir=tmp_path / "stopped", **arguments)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole", step=STEPS)
    student = load_model(tmp_path / "stopped")
    mr = next(Dataset.open(tiny.data_dir).subjects("mr", "test")).stored
    assert np.isfinite(student.translator(student.params, mr)).all()
    assert student.inverse_params is None

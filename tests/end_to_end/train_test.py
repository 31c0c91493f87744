import dataclasses
import logging
import os
import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
from saved_states import assert_same_run, exchange
from tiny_model import write_tiny_model
from tiny_run import STEPS, tiny_config, tiny_run, training, variables

from input_pipeline.dataset.dataset import Dataset
from input_pipeline.dataset.manifest import read_manifest
from synthct_jax import run, train
from synthct_jax.checkpoint.metadata import (
    DamagedCheckpoint,
    choose_step,
    list_steps,
    read_metadata,
)
from synthct_jax.checkpoint.model_file import read_model
from synthct_jax.configs import chaos
from synthct_jax.evaluation import validation
from synthct_jax.inference.loaded_model import load_model
from synthct_jax.runtime import watchdog
from synthct_jax.runtime.jsonl import read_rows
from synthct_jax.runtime.loss_log import LossLog


def on_batch_of(monkeypatch, at_step, change):
    """Apply `change` to the batch of one step."""
    whole = Dataset.batches

    def changed_batches(*args, start_step=0, **kwargs):
        batches = whole(*args, start_step=start_step, **kwargs)
        try:
            for step, batch in enumerate(batches, start=start_step + 1):
                yield change(batch) if step == at_step else batch
        finally:
            batches.close()

    monkeypatch.setattr(Dataset, "batches", changed_batches)


def test_run_leaves_checkpoints_losses_and_samples():
    tiny = tiny_run()
    assert list_steps(tiny.workdir) == [4, STEPS]
    assert set(read_metadata(tiny.workdir, 4).metrics) >= {"mae"}
    metadata = read_metadata(tiny.workdir, STEPS)
    assert choose_step(tiny.workdir) == 4  # the one that was validated
    assert metadata.config == tiny.config.to_dict()
    assert metadata.data_dir == str(tiny.data_dir.resolve())

    rows = read_rows(tiny.workdir / "metrics.jsonl")
    losses = [row for row in rows if "cycle_mr" in row]
    assert [row["step"] for row in losses] == [2, 4, 6]
    assert losses[0]["learning_rate"] == pytest.approx(tiny.config.train.learning_rate)
    # Of six steps the last three fall: the rate that the last one used.
    assert losses[-1]["learning_rate"] == pytest.approx(
        tiny.config.train.learning_rate / 3
    )
    assert [row["step"] for row in rows if "validation_mae" in row] == [4]

    picture = matplotlib.image.imread(tiny.workdir / "samples" / "step_000006.png")
    assert picture.shape[:2] == (2 * 34 - 2, 5 * 34 - 2)  # one subject, two lines
    assert picture[..., 0].std() > 0.1


def test_step_is_compiled_once():
    compiled = [name for name in tiny_run().compiled if "train_step" in name]
    assert len(compiled) == 1


def test_finished_run_is_left_unchanged(caplog):
    tiny = tiny_run()
    before = {path: path.stat().st_mtime_ns for path in tiny.workdir.rglob("*.json*")}
    assert train.train(tiny.config, workdir=tiny.workdir, data_dir=tiny.data_dir)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_stopped_run_resumes_bit_for_bit(tmp_path, monkeypatch, capsys):
    tiny = tiny_run()

    def send_sigterm(batch):
        os.kill(os.getpid(), signal.SIGTERM)
        return batch

    arguments = dict(workdir=tmp_path, data_dir=tiny.data_dir)
    with monkeypatch.context() as patch:
        on_batch_of(patch, 4, send_sigterm)  # is read while step 3 is computed
        assert not train.train(tiny.config, **arguments)
    assert "Stopped by SIGTERM after step 3" in capsys.readouterr().err
    assert list_steps(tmp_path)[-1] == 3  # not one of save_every
    assert train.train(tiny.config, **arguments)
    assert_same_run(tmp_path, tiny.workdir)
    steps = [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")]
    assert steps == [2, 4, 4, 6]


def test_damaged_checkpoint_is_set_aside_and_the_one_before_taken(tmp_path, caplog):
    tiny = tiny_run()
    workdir = tmp_path / "run"
    shutil.copytree(tiny.workdir, workdir)
    latest = workdir / "checkpoints" / str(STEPS)
    other = shutil.copytree(tiny.workdir / "checkpoints/4/state", tmp_path / "other")
    exchange(latest / "state", other)
    with caplog.at_level(logging.WARNING, logger="absl"):
        assert train.train(tiny.config, workdir=workdir, data_dir=tiny.data_dir)
    assert f"{latest / 'state'} is damaged" in caplog.text
    assert f"It was renamed to {latest}.damaged" in caplog.text
    assert list_steps(workdir) == [4, STEPS]
    assert_same_run(workdir, tiny.workdir)
    # Nothing is renamed, and the run does not start again, if none can be restored.
    exchange(latest / "state", latest.with_name("4") / "state")
    refusal = f"{latest}/state is damaged.*no other checkpoint of the run can be"
    with pytest.raises(DamagedCheckpoint, match=refusal):
        train.train(tiny.config, workdir=workdir, data_dir=tiny.data_dir)
    assert list_steps(workdir) == [4, STEPS]


@pytest.mark.parametrize("file", ["config/metadata", "metrics/metrics"])
def test_checkpoint_with_a_damaged_description_is_set_aside(tmp_path, file):
    workdir = tmp_path / "run"
    shutil.copytree(tiny_run().workdir, workdir)
    latest = workdir / "checkpoints" / str(STEPS)
    for _ in range(2):
        path = latest / file
        path.write_text(path.read_text()[:-9])
        with pytest.raises(DamagedCheckpoint, match=str(latest)):
            load_model(workdir)
        with run.Run(tiny_run().config, workdir) as opened:
            opened.find_start()
        shutil.copytree(tiny_run().workdir / "checkpoints" / str(STEPS), latest)
    assert list_steps(workdir) == [4, STEPS]
    names = {path.name for path in latest.parent.iterdir()}
    assert names >= {f"{STEPS}.damaged", f"{STEPS}.damaged1"}


def test_anchored_run_resumes_bit_for_bit(tmp_path, monkeypatch):
    config = tiny_config(steps=3, save_every=3, evaluate_every=0)
    config.phantom.update(anatomies=2, scanner="randomised")
    config.phantom.update(pairs=1)
    config.loss.update(simulated=10.0, paired=10.0)
    folders = {f"{name}_dir": tmp_path / name for name in ("data", "anatomies")}
    assert train.train(config, workdir=tmp_path / "whole", **folders)
    with monkeypatch.context() as patch:
        on_batch_of(
            patch, 2, lambda batch: os.kill(os.getpid(), signal.SIGTERM) or batch
        )
        assert not train.train(config, workdir=tmp_path / "stopped", **folders)
    assert train.train(config, workdir=tmp_path / "stopped", **folders)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole", step=3)
    rows = read_rows(tmp_path / "whole" / "metrics.jsonl")
    losses = [row for row in rows if "cycle_mr" in row]
    assert all(row["simulated_ct"] > 0 and row["paired_ct"] > 0 for row in losses)


def test_diverged_run_stops_and_names_the_step(tmp_path, monkeypatch):
    tiny = tiny_run()
    on_batch_of(
        monkeypatch, 4, lambda batch: {**batch, "ct": np.full_like(batch["ct"], np.nan)}
    )
    with pytest.raises(FloatingPointError, match=r"step 4 the losses are .*nan"):
        train.train(tiny.config, workdir=tmp_path, data_dir=tiny.data_dir)
    assert list_steps(tmp_path) == [2]


def test_unintended_copy_between_host_and_device_is_refused(tmp_path, monkeypatch):
    def careless(self, step, losses):
        return bool(jnp.add(np.ones(3), step).sum())

    monkeypatch.setattr(LossLog, "add", careless)
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        train.train(tiny_config(), workdir=tmp_path, data_dir=tiny_run().data_dir)


@pytest.fixture(scope="module")
def idle_run(tmp_path_factory):
    """Three steps from a model file at a learning rate of 0, and signs of life."""
    root, signs = tmp_path_factory.mktemp("idle"), []
    write_tiny_model(model := root / "tiny.safetensors")

    class Listening(watchdog.Watchdog):
        def alive(self):
            signs.append(self._seconds)

    config = tiny_config(steps=3, learning_rate=0.0, evaluate_every=0)
    config.train.update(watchdog_seconds=12.0, init_from=str(model))
    arguments = dict(workdir=root / "run", data_dir=tiny_run().data_dir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "Watchdog", Listening)
        assert train.train(config, **arguments)
    return config, arguments, signs


def test_watchdog_gets_a_sign_of_life_at_every_step(idle_run):
    _, _, signs = idle_run
    assert len(signs) >= 3 and set(signs) == {12.0}


def test_training_starts_from_a_model_file_once(idle_run):
    config, arguments, _ = idle_run
    model = Path(config.train.init_from)
    params = read_model(str(model)).params
    trained = load_model(arguments["workdir"]).params  # moving averages
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), trained, params)
    model.unlink()
    assert train.train(config, **arguments)  # resumes, and has nothing left to do


def test_second_run_in_a_folder_is_refused(tmp_path):
    with run.Run(tiny_config(), tmp_path):
        with pytest.raises(ValueError, match=f"another run is training in {tmp_path}"):
            train.train(tiny_config(), workdir=tmp_path)


def test_run_that_cannot_be_entered_leaves_its_folder_to_others(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(run, "Goodput", lambda folder: open(folder))  # is a folder
        with pytest.raises(OSError) as failed:  # noqa: F841, its frames hold the lock
            run.Run(tiny_config(), tmp_path).__enter__()
    with run.Run(tiny_config(), tmp_path):
        pass


def test_missing_data_are_named(tmp_path):
    config = tiny_config()
    config.data.source = "chaos"
    with pytest.raises(ValueError, match="--data_dir is missing"):
        train.find_data(config, workdir=tmp_path, data_dir=None)
    with pytest.raises(FileNotFoundError, match="no data in .*nowhere.*--mode=prepare"):
        train.find_data(config, workdir=tmp_path, data_dir=tmp_path / "nowhere")


def test_missing_model_is_named_before_anything_is_drawn(tmp_path):
    config = tiny_config(init_from="nowhere")
    with pytest.raises(FileNotFoundError, match="'nowhere'"):
        train.train(config, workdir=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_validation_without_subjects_is_refused(tmp_path):
    manifest = read_manifest(tiny_run().data_dir)
    mr = dataclasses.replace(
        manifest.domains["mr"], subjects=manifest.domains["mr"].of_split("train")
    )
    manifest = dataclasses.replace(manifest, domains={**manifest.domains, "mr": mr})
    dataset = Dataset(folder=tmp_path, manifest=manifest)
    with pytest.raises(ValueError, match="evaluate_every to 0, it is 4"):
        validation.check_validation(tiny_config(), dataset)
    validation.check_validation(tiny_config(evaluate_every=0), dataset)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("data.size", 33, "data.size is 33, expected a multiple of 2"),
        ("data.crop", 500, "data.crop is 500, expected 0 to 32, the size of the sl"),
        ("data.ct_knots", ((-1000.0, -1.0),), "data.ct_knots is .* two or more pairs"),
        ("data.source", "foo", "data.source is 'foo', expected one of: chaos, folder,"),
        ("translate.views", 3, "translate.views is 3, expected one of: 1, 2, 4, 8"),
        ("phantom.anatomies", 2, "phantom.scanner is 'reference', expected for simul"),
        ("phantom.pairs", 1, "phantom.train_lesions is 'mr', expected '', 'both'"),
        ("model.blocks", 0, "model.blocks is 0, expected 1 or more"),
        ("train.decay_start", 1.5, "train.decay_start is 1.5"),
        ("loss.simulated", 1.0, "loss.simulated is 1.0, and phantom.anatomies 0"),
        ("loss.paired", 1.0, "loss.paired is 1.0, and phantom.pairs 0: there are no"),
        ("loss.supervised_adversarial", 0.1, "0: method is cyclegan, only supervised"),
    ],
)
def test_impossible_values_are_refused_before_anything_starts(
    field, value, message, tmp_path, caplog
):
    caplog.set_level("INFO", logger="absl")
    config = tiny_config()
    config.update_from_flattened_dict({field: value})
    if field == "phantom.anatomies":
        config.loss.simulated = 1.0
    if field == "phantom.pairs":
        config.phantom.train_lesions = "mr"
    with pytest.raises(ValueError, match=message):
        train.train(config, workdir=tmp_path / "run")
    assert not (tmp_path / "run").exists() and not caplog.records


def test_metric_of_which_more_is_better_cannot_choose_the_best_step(tmp_path):
    with pytest.raises(ValueError, match="train.best_metric is 'psnr', expected.*mae"):
        train.train(tiny_config(best_metric="psnr"), workdir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_phantom_without_its_section_is_refused(tmp_path):
    config = chaos.get_config("in")
    config.data.source = "phantom"
    with pytest.raises(ValueError, match="data.source is phantom, .* no field phantom"):
        train.train(config, workdir=tmp_path / "run")


ASKS_FOR_ONEDNN = """
from synthct_jax.layers.cpu import onednn
from synthct_jax.run import Run
from tiny_run import tiny_config

def enter(self, enter=Run.__enter__):
    onednn.available()
    return enter(self)

Run.__enter__ = enter

def get_config():
    return tiny_config(steps=2, evaluate_every=0)
"""


@pytest.mark.slow
def test_second_start_takes_its_programs_from_the_cache(tmp_path):
    """Although the process has asked for oneDNN, which small products do not use."""
    cache = tmp_path / "cache"
    environment = variables(
        JAX_COMPILATION_CACHE_DIR=str(cache),
        JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
    )
    stored = []
    for name in ("first", "second"):
        command = training(ASKS_FOR_ONEDNN, tmp_path / name)
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        stored.append({path.name for path in cache.glob("*-cache")})
    assert any("train_step" in name for name in stored[0])
    assert stored[0] == stored[1]

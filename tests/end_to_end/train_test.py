import copy
import dataclasses
import logging as python_logging
import os
import signal

import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
from saved_states import assert_same_run
from tiny_run import STEPS, tiny_config, tiny_run

from input_pipeline.dataset import stream
from input_pipeline.dataset.dataset import Dataset
from input_pipeline.dataset.manifest import read_manifest
from synthct_jax import train
from synthct_jax.checkpoint import manager
from synthct_jax.checkpoint.manager import Checkpoints
from synthct_jax.checkpoint.metadata import check_resumable
from synthct_jax.evaluation import validation
from synthct_jax.runtime import metric_writer, watchdog


def disturbed(monkeypatch, at_step, disturb):
    """The stream, with `disturb(batch)` called on the batch of one step."""
    make_stream = stream.make_stream

    def disturbed_stream(*args, start_step=0, **kwargs):
        batches = make_stream(*args, start_step=start_step, **kwargs)
        try:
            for step, batch in enumerate(batches, start=start_step + 1):
                yield disturb(batch) if step == at_step else batch
        finally:
            batches.close()

    monkeypatch.setattr(stream, "make_stream", disturbed_stream)


def test_a_run_leaves_checkpoints_numbers_and_pictures():
    run = tiny_run()
    with Checkpoints.of_run(run.workdir) as checkpoints:
        assert checkpoints.steps == [4, STEPS]
        assert set(checkpoints.describe(4).metrics) >= {"mae"}
        assert checkpoints.choose(None) == 4  # the one that was validated
        description = checkpoints.describe(STEPS)
    assert description.config == run.config.to_dict()
    assert description.data_dir == str(run.data_dir.resolve())

    rows = metric_writer.read_rows(run.workdir / "metrics.jsonl")
    losses = [row for row in rows if "cycle_mr" in row]
    assert [row["step"] for row in losses] == [2, 4, 6]
    assert losses[0]["learning_rate"] == pytest.approx(run.config.train.learning_rate)
    # Of six steps the last three fall: the rate that the last one used.
    assert losses[-1]["learning_rate"] == pytest.approx(
        run.config.train.learning_rate / 3
    )
    assert [row["step"] for row in rows if "validation_mae" in row] == [4]

    picture = matplotlib.image.imread(run.workdir / "samples" / "step_000006.png")
    assert picture.shape[:2] == (2 * 34 - 2, 5 * 34 - 2)  # one subject, two lines
    assert picture[..., 0].std() > 0.1


def test_the_step_is_compiled_once():
    compiled = [name for name in tiny_run().compiled if "train_step" in name]
    assert len(compiled) == 1


def test_a_finished_run_is_left_alone(caplog):
    run = tiny_run()
    before = {path: path.stat().st_mtime_ns for path in run.workdir.rglob("*.json*")}
    assert train.train(run.config, workdir=run.workdir, data_dir=run.data_dir)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, monkeypatch, capsys):
    run = tiny_run()

    def stop(batch):
        os.kill(os.getpid(), signal.SIGTERM)
        return batch

    arguments = dict(workdir=tmp_path, data_dir=run.data_dir)
    with monkeypatch.context() as patch:
        disturbed(patch, 4, stop)  # comes while step 3 is computed
        assert not train.train(run.config, **arguments)
    assert "Stopped by SIGTERM after step 3" in capsys.readouterr().err
    with Checkpoints.of_run(tmp_path) as checkpoints:
        assert checkpoints.latest_step == 3  # not one of save_every
    assert train.train(run.config, **arguments)
    assert_same_run(tmp_path, run.workdir)
    steps = [row["step"] for row in metric_writer.read_rows(tmp_path / "metrics.jsonl")]
    assert steps == [2, 4, 4, 6]


def test_a_diverged_run_stops_and_says_where(tmp_path, monkeypatch):
    run = tiny_run()
    disturbed(
        monkeypatch, 4, lambda batch: {**batch, "ct": np.full_like(batch["ct"], np.nan)}
    )
    with pytest.raises(FloatingPointError, match=r"step 4 the losses are .*nan"):
        train.train(run.config, workdir=tmp_path, data_dir=run.data_dir)
    with Checkpoints.of_run(tmp_path) as checkpoints:
        assert checkpoints.steps == [2]


def test_a_copy_that_is_not_meant_is_refused(tmp_path, monkeypatch):
    def careless(self, step, metrics):
        return bool(jnp.add(np.ones(3), step).sum())

    monkeypatch.setattr(train._Losses, "dispatched", careless)
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        train.train(tiny_config(), workdir=tmp_path, data_dir=tiny_run().data_dir)


def test_the_watchdog_hears_of_every_step(tmp_path, monkeypatch):
    heard = []

    class Listening(watchdog.Watchdog):
        def alive(self):
            heard.append(self._seconds)

    monkeypatch.setattr(train, "Watchdog", Listening)
    config = tiny_config(steps=3, evaluate_every=0, watchdog_seconds=12.0)
    assert train.train(config, workdir=tmp_path, data_dir=tiny_run().data_dir)
    assert len(heard) >= 3 and set(heard) == {12.0}


def test_one_run_at_a_time_in_a_folder(tmp_path):
    with train._only_run_in(tmp_path):
        with pytest.raises(ValueError, match=f"another run is training in {tmp_path}"):
            train.train(tiny_config(), workdir=tmp_path)


# --- what fits to what ----------------------------------------------------------------


def described(config, prepared=None, data_dir="/data"):
    one = {"name": "a", "slices": 5, "split": "train"}
    prepared = prepared or {
        "domains": {d: {"subjects": [dict(one)]} for d in ("mr", "ct")}
    }
    return manager.Description(
        config=config.to_dict(),
        prepared=prepared,
        data_dir=data_dir,
        versions={},
        metrics={},
    )


@pytest.mark.parametrize(
    "field, value, told",
    [
        ("model.width", 8, r"model.width = 4 \(now 8\)"),
        ("data.mr_channels", ("t2",), r"\['in_phase', 'out_of_phase'\] \(now \['t2'\]"),
        ("seed", 1, r"seed = 0 \(now 1\)"),
        ("loss.cycle_mr", 5.0, r"loss.cycle_mr = 10.0 \(now 5.0\)"),
    ],
)
def test_another_experiment_is_refused(tmp_path, field, value, told):
    before, now = tiny_config(), tiny_config()
    now.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=told):
        check_resumable(described(before), described(now), tmp_path)


def test_length_and_logging_may_change(tmp_path, caplog):
    now = tiny_config(steps=100, save_every=7, log_every=3, evaluate_every=0)
    with caplog.at_level(python_logging.WARNING, logger="absl"):
        check_resumable(described(tiny_config()), described(now), tmp_path)
    assert "train.steps was 6 and is 100" in caplog.text


def test_a_configuration_from_json_is_the_same(tmp_path):
    config = tiny_config()
    read = manager._from_json(manager._to_json(config.to_dict()))
    found = dataclasses.replace(described(config), config=read)
    check_resumable(found, described(config), tmp_path)


def test_other_data_are_refused(tmp_path):
    config = tiny_config()
    found = described(config)
    other = copy.deepcopy(found.prepared)
    other["domains"]["ct"]["subjects"][0]["slices"] = 4
    asked = described(config, other, "/elsewhere")
    with pytest.raises(
        ValueError, match="1 ct subjects and 5 slices; /elsewhere has 1"
    ):
        check_resumable(found, asked, tmp_path)


def test_missing_data_are_named(tmp_path):
    config = tiny_config()
    config.data.source = "chaos"
    with pytest.raises(ValueError, match="--data_dir is missing"):
        train.find_data(config, workdir=tmp_path, data_dir=None)
    with pytest.raises(FileNotFoundError, match="no data in .*nowhere.*--mode=prepare"):
        train.find_data(config, workdir=tmp_path, data_dir=tmp_path / "nowhere")


def test_validation_needs_subjects(tmp_path):
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
        ("model.blocks", 0, "model.blocks is 0, expected >= 1"),
        ("train.decay_start", 1.5, "train.decay_start is 1.5"),
    ],
)
def test_numbers_that_nothing_can_be_made_of_are_refused(
    field, value, message, tmp_path
):
    config = tiny_config()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        train.train(config, workdir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_metric_of_which_more_is_better_cannot_choose_the_best(tmp_path):
    run = tiny_run()
    with pytest.raises(ValueError, match="train.best_metric is 'psnr', expected.*mae"):
        train.train(
            tiny_config(best_metric="psnr"),
            workdir=tmp_path / "run",
            data_dir=run.data_dir,
        )

"""Metadata of checkpoints: read without JAX, and compared before a run resumes."""

import copy
import errno
import json
import logging
import signal
import subprocess
import sys
import threading

import pytest
from tiny_run import STEPS, tiny_config, tiny_run

from input_pipeline.digests import with_digest
from synthct_jax.checkpoint.metadata import (
    CheckpointMetadata,
    DamagedCheckpoint,
    best_step,
    check_resumable,
    choose_step,
    complete_config,
    damaged_on_error,
    list_steps,
    read_metadata,
)
from synthct_jax.runtime import signals


def test_checkpoints_of_a_run_are_read_without_jax():
    workdir = tiny_run().workdir
    program = f"""
import sys
from pathlib import Path
from synthct_jax.checkpoint import metadata
workdir = Path({str(workdir)!r})
steps = metadata.list_steps(workdir)
read = metadata.read_metadata(workdir, steps[-1])
print(steps, read.config["train"]["steps"], metadata.choose_step(workdir))
print("jax" in sys.modules, "orbax" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert done.stdout == f"[4, {STEPS}] {STEPS} 4\nFalse False\n", done.stderr


def test_unfinished_checkpoints_are_not_listed(tmp_path):
    (tmp_path / "checkpoints" / "8.orbax-checkpoint-tmp").mkdir(parents=True)
    (tmp_path / "checkpoints" / "7").mkdir()
    assert list_steps(tmp_path) == [7]
    assert list_steps(tmp_path / "nowhere") == []


def test_missing_and_damaged_checkpoints_are_different_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere"):
        choose_step(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no checkpoint, expected"):
        choose_step(tmp_path)
    folder = tmp_path / "checkpoints" / "7" / "config"
    folder.mkdir(parents=True)
    (folder / "metadata").write_text('{"config": {')
    for read in (choose_step, read_metadata):
        with pytest.raises(FileNotFoundError, match="step 5, it has: 7"):
            read(tmp_path, 5)
    with pytest.raises(DamagedCheckpoint, match="7/config cannot be read"):
        read_metadata(tmp_path, 7)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({1: 3.0, 2: 2.0, 3: 2.0, 4: None}, 3),
        ({1: None, 2: None}, 2),
        ({2: 0.0, 1: 1.0}, 2),
    ],
)
def test_best_step_is_the_later_of_the_lowest_or_the_latest(values, expected):
    assert best_step(values) == expected


# --- resuming -------------------------------------------------------------------------


def metadata_of(config, prepared=None, data_dir="/data"):
    subject = {"name": "a", "slices": 5, "split": "train", "scale": [], "affine": []}
    prepared = prepared or {
        "domains": {d: {"subjects": [dict(subject)]} for d in ("mr", "ct")}
    }
    return CheckpointMetadata(
        config=config.to_dict(),
        prepared=prepared,
        data_dir=data_dir,
        versions={},
        metrics={},
    )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model.width", 8, r"model.width = 4 \(now 8\)"),
        ("data.mr_channels", ("t2",), r"\['in_phase', 'out_of_phase'\] \(now \['t2'\]"),
        ("seed", 1, r"seed = 0 \(now 1\)"),
        ("loss.cycle_mr", 5.0, r"loss.cycle_mr = 10.0 \(now 5.0\)"),
    ],
)
def test_another_experiment_is_refused(tmp_path, field, value, message):
    before, now = tiny_config(), tiny_config()
    now.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        check_resumable(metadata_of(before), metadata_of(now), tmp_path)


def test_length_and_logging_may_change(tmp_path, caplog):
    now = tiny_config(steps=100, save_every=7, log_every=3, evaluate_every=0)
    with caplog.at_level(logging.WARNING, logger="absl"):
        check_resumable(metadata_of(tiny_config()), metadata_of(now), tmp_path)
    assert "train.steps was 6 and is 100" in caplog.text


def test_configuration_read_from_json_is_the_same_experiment(tmp_path):
    config = tiny_config()
    saved = json.loads(json.dumps(metadata_of(config).to_json()))
    check_resumable(CheckpointMetadata.from_json(saved), metadata_of(config), tmp_path)


def test_run_of_before_pairs_and_teachers_resumes(tmp_path):
    config = tiny_config()
    saved = json.loads(json.dumps(metadata_of(config).to_json()))
    del saved["config"]["loss"]["paired"], saved["config"]["phantom"]["pairs"]
    for name in ("distil_from", "distil_views"):
        del saved["config"]["train"][name]
    check_resumable(CheckpointMetadata.from_json(saved), metadata_of(config), tmp_path)
    del saved["config"]["phantom"]  # as of real scans
    assert "phantom" not in CheckpointMetadata.from_json(saved).config


def test_description_of_a_version_without_guards_is_read():
    saved = metadata_of(tiny_config()).to_json()
    del saved["guard"]
    for name in ("guard", "guard_after", "roll_backs"):
        del saved["config"]["train"][name]
    assert CheckpointMetadata.from_json(saved) == metadata_of(tiny_config())


def test_description_is_refused_when_any_field_was_edited(tmp_path):
    fields = with_digest({"step": 3, **metadata_of(tiny_config()).to_json()})
    path = tmp_path / "checkpoints" / "3" / "config" / "metadata"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(fields))
    assert read_metadata(tmp_path, 3).data_dir == "/data"
    for name in fields:
        path.write_text(json.dumps(fields | {name: "edited"}))
        with pytest.raises(
            DamagedCheckpoint, match="3/config cannot be read: ValueE.* its dig"
        ):
            read_metadata(tmp_path, 3)


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, ""), MemoryError()])
def test_failure_of_the_machine_is_no_damage(tmp_path, error):
    item = tmp_path / "checkpoints" / "3" / "config"
    item.mkdir(parents=True)
    with pytest.raises(type(error)), damaged_on_error(item):
        raise error
    with pytest.raises(DamagedCheckpoint, match="cannot be read: FileNotFoundError"):
        with damaged_on_error(item):
            (item / "metadata").read_text()
    item.parent.rename(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="no checkpoint of step 3"):
        with damaged_on_error(item):
            raise ValueError


def test_signal_that_a_library_made_an_error_of_is_no_damage(tmp_path, monkeypatch):
    """TensorStore turns the handler's exception into an error of reading."""
    monkeypatch.setattr(signals, "_handled", threading.Event())
    monkeypatch.setattr(signals, "_numbers", [])
    item = tmp_path / "checkpoints" / "3" / "generator"
    item.mkdir(parents=True)
    with pytest.raises(signals.Stopped) as stopped, damaged_on_error(item):
        try:
            signals.raise_stopped(signal.SIGTERM, None)
        except signals.Stopped:
            raise RuntimeError("error while reading an array") from None
    assert stopped.value.code == 128 + signal.SIGTERM


def test_other_training_data_are_refused(tmp_path):
    config = tiny_config()
    saved = metadata_of(config)
    other = copy.deepcopy(saved.prepared)
    other["domains"]["ct"]["subjects"][0]["slices"] = 4
    current = metadata_of(config, other, "/elsewhere")
    with pytest.raises(
        ValueError, match="1 ct subjects and 5 slices; /elsewhere has 1"
    ):
        check_resumable(saved, current, tmp_path)
    other = copy.deepcopy(saved.prepared)
    other["domains"]["mr"]["subjects"][0]["scale"] = [1.0, 1.0]
    with pytest.raises(ValueError, match="mr subjects .* or others"):
        check_resumable(saved, metadata_of(config, other, "/elsewhere"), tmp_path)


def test_configurations_of_before_a_field_are_read_with_what_it_was():
    config = tiny_config().to_dict()
    before = copy.deepcopy(config)
    for field in ("train_lesions", "ct_offset_mm"):
        del before["phantom"][field]
    del before["data"]["channel_dropout"]
    assert complete_config(before) == config
    del before["phantom"]  # a training on scans
    assert "phantom" not in complete_config(before)

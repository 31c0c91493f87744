"""Trainings with a planted fault: they log, stop, or go back, and resume as one."""

import logging
import os
import shutil
import signal

import numpy as np
import pytest
from saved_states import arrays, assert_same_run
from tiny_run import STEPS, tiny_config, tiny_run

from input_pipeline.dataset.dataset import Dataset
from synthct_jax import run, train
from synthct_jax.checkpoint.metadata import list_steps, read_metadata
from synthct_jax.evaluation.detectors import ImageDetectors
from synthct_jax.evaluation.guard import FIRED, StoppedByGuard
from synthct_jax.inference.loaded_model import load_model
from synthct_jax.parallel.sharding import order_seed
from synthct_jax.runtime.jsonl import read_rows

SAME_CT = {"variation": 0.0}
TEXT = "all CT are alike, whatever the MR: guard_variation is 0, expected at least 0.4"


@pytest.fixture(scope="module", autouse=True)
def train_the_tiny_run():
    """Nothing is planted in the run that all tests share."""
    tiny_run()


def guarded(**fields):
    fields = (
        dict(evaluate_every=2, guard_after=0.0, log_every=1, keep_latest=3) | fields
    )
    return tiny_config(**fields)


def train_in(workdir, config):
    return train.train(config, workdir=workdir, data_dir=tiny_run().data_dir)


def detect(monkeypatch, *values):
    """Let the detectors of images return these values, the last ones for ever."""
    left = list(values)
    monkeypatch.setattr(
        ImageDetectors,
        "__call__",
        lambda self, params: left.pop(0) if len(left) > 1 else left[0],
    )


def change_batches(monkeypatch, change):
    """Apply `change(step, batch, rolled_back)` to every batch."""
    whole = Dataset.batches

    def changed_batches(*args, seed, start_step=0, **kwargs):
        batches = whole(*args, seed=seed, start_step=start_step, **kwargs)
        try:
            for step, batch in enumerate(batches, start=start_step + 1):
                yield change(step, batch, seed != tiny_config().seed)
        finally:
            batches.close()

    monkeypatch.setattr(Dataset, "batches", changed_batches)


def diverge_in_the_first_order(step, batch, rolled_back):
    if step == 5 and not rolled_back:
        return {**batch, "ct": np.full_like(batch["ct"], np.nan)}
    return batch


def losses_of(workdir):
    rows = read_rows(workdir / "metrics.jsonl")
    return [{k: v for k, v in row.items() if k != "steps_per_second"} for row in rows]


@pytest.fixture(scope="module")
def rolled_back(tmp_path_factory):
    """A run whose fifth loss is not finite in the first order of the data."""
    workdir = tmp_path_factory.mktemp("rolled_back") / "run"
    with pytest.MonkeyPatch.context() as patch:
        detect(patch, {})
        change_batches(patch, diverge_in_the_first_order)
        assert train_in(workdir, guarded(guard="roll_back"))
    return workdir


def test_diverged_run_goes_back_and_on_in_another_order(rolled_back):
    guard = read_metadata(rolled_back, STEPS).guard
    (past,) = guard["roll_backs"]
    assert past["to"] == 4 and "step 5 the losses are" in past["reason"]
    steps = [row["step"] for row in losses_of(rolled_back) if "cycle_mr" in row]
    assert steps == [1, 2, 3, 4, 5, 6]
    unchanged, moved = arrays(tiny_run().workdir), arrays(rolled_back)
    assert any((unchanged[name] != moved[name]).any() for name in moved)


def test_run_killed_after_a_roll_back_ends_like_one_that_was_not(
    rolled_back, tmp_path, monkeypatch
):
    """Stopped by SIGTERM in the new order, and killed before its first checkpoint."""

    def stop_in_the_second_order(step, batch, rolled_back):
        if step == 6 and rolled_back:  # is read while step 5 is computed
            os.kill(os.getpid(), signal.SIGTERM)
        return diverge_in_the_first_order(step, batch, rolled_back)

    detect(monkeypatch, {})
    with monkeypatch.context() as patch:
        change_batches(patch, stop_in_the_second_order)
        assert not train_in(tmp_path, guarded(guard="roll_back"))
    assert list_steps(tmp_path)[-1] == 5
    assert len(read_metadata(tmp_path, 5).guard["roll_backs"]) == 1
    assert load_model(tmp_path, 5).provenance["roll_backs"] == 1
    change_batches(monkeypatch, diverge_in_the_first_order)
    assert train_in(tmp_path, guarded(guard="roll_back"))
    assert_same_run(tmp_path, rolled_back)
    assert losses_of(tmp_path) == losses_of(rolled_back)

    for step in (5, 6):
        shutil.rmtree(tmp_path / "checkpoints" / str(step), ignore_errors=True)
    assert read_metadata(tmp_path, 4).guard["roll_backs"] == []
    assert train_in(tmp_path, guarded(guard="roll_back"))
    assert_same_run(tmp_path, rolled_back)
    assert losses_of(tmp_path) == losses_of(rolled_back)


def test_run_whose_fault_comes_back_stops_and_can_be_made_to_go_on(
    tmp_path, monkeypatch
):
    detect(monkeypatch, {}, SAME_CT)
    config = guarded(guard="roll_back", roll_backs=1, save_every=1, keep_latest=1)
    with pytest.raises(StoppedByGuard) as stopped:
        train_in(tmp_path, config)
    assert str(stopped.value) == (
        f"stopped by train.guard=roll_back: at step 4 {TEXT}; before, it was rolled "
        f"back at step 4 to 2 (at step 4 {TEXT})"
    )
    # The good checkpoint was kept until the end.
    assert list_steps(tmp_path) == [2, 4]
    assert read_metadata(tmp_path, 4).metrics[FIRED] == 1
    with pytest.raises(StoppedByGuard, match="at step 4.*rolled back at step 4 to 2"):
        train_in(tmp_path, config)
    config.train.guard = "log"
    assert train_in(tmp_path, config)
    assert read_metadata(tmp_path, STEPS).guard["stopped"] == ""


def test_run_without_a_good_checkpoint_stops(tmp_path, monkeypatch):
    detect(monkeypatch, SAME_CT)
    with pytest.raises(StoppedByGuard, match=f"at step 2 {TEXT}$"):
        train_in(tmp_path, guarded(guard="roll_back"))


def test_guard_that_logs_names_the_fault_and_changes_nothing(
    tmp_path, monkeypatch, caplog
):
    detect(monkeypatch, SAME_CT)
    with caplog.at_level(logging.WARNING, logger="absl"):
        assert train_in(tmp_path, guarded())
    assert f"Step 2: {TEXT}" in caplog.text
    rows = [row for row in losses_of(tmp_path) if "validation_mae" in row]
    assert [row["validation_guard_fired"] for row in rows] == [1, 1, 1]
    assert [row["validation_guard_variation"] for row in rows] == [0, 0, 0]
    assert_same_run(tmp_path, tiny_run().workdir)


def test_guard_that_stops_turns_a_loss_that_is_not_finite_into_its_status(
    tmp_path, monkeypatch
):
    detect(monkeypatch, {})
    change_batches(monkeypatch, diverge_in_the_first_order)
    with pytest.raises(StoppedByGuard, match="step 5 the losses are .*nan"):
        train_in(tmp_path, guarded(guard="stop"))
    assert list_steps(tmp_path)[-1] == 4


@pytest.mark.slow
def test_guard_that_stops_gives_its_status_to_a_translation_that_is_not_finite(
    tmp_path,
):
    config = guarded(steps=1, evaluate_every=1, learning_rate=1e38, guard="stop")
    with pytest.raises(StoppedByGuard, match="the translation is not finite"):
        train_in(tmp_path, config)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"guard": "warn"}, "train.guard is 'warn', expected one of: log, stop, roll"),
        ({"guard": "stop", "evaluate_every": 0}, "expected log: train.evaluate_every"),
    ],
)
def test_impossible_guards_are_refused(fields, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train_in(tmp_path / "run", guarded(**fields))
    assert not (tmp_path / "run").exists()


def test_each_number_of_roll_backs_has_an_order_of_its_own():
    seeds = [order_seed(7, number) for number in range(4)]
    assert seeds[0] == 7
    assert len({*seeds, order_seed(8, 1)}) == 5


def test_several_processes_do_not_roll_back(tmp_path, monkeypatch):
    monkeypatch.setattr(run.jax, "process_count", lambda: 2)
    with pytest.raises(ValueError, match="expected log or stop: there are 2 processes"):
        run.Run(guarded(guard="roll_back"), tmp_path)

"""A watch of checkpoints that come and go, with evaluations that are made up."""

import os
import shutil
import signal
import threading
import time
import types

import pytest
from absl import flags
from absl.testing import flagsaver
from html_page import HtmlPage
from made_up_results import make, subjects

from input_pipeline.command_line import USAGE_ERROR, parse_flags
from synthct_jax import main
from synthct_jax.checkpoint.metadata import DamagedCheckpoint
from synthct_jax.evaluation import curve, evaluate, results, watch
from synthct_jax.metrics.intervals import Interval

LAST = 300
# By step: the best is neither the first nor the last.
MAE = {100: [90, 110], 200: [60, 70], 300: [65, 75]}


class Run:
    """A made-up run, and what was evaluated of it."""

    def __init__(self, folder):
        self.workdir = folder
        self.evaluated = []
        self.before = {}  # by step what is to happen before its evaluation
        self.guard = {}
        self.roll_backs = {}  # by step, before it was trained

    def save(self, *steps):
        for step in steps:
            (self.workdir / "checkpoints" / str(step)).mkdir(parents=True)

    def remove(self, step):
        shutil.rmtree(self.workdir / "checkpoints" / str(step))

    def fail(self, step, error):
        """Make the evaluation of a step fail; return the list of its attempts."""
        attempts = []

        def fail():
            attempts.append(list(self.evaluated))
            raise error

        self.before[step] = fail
        return attempts

    def evaluate(self, workdir, *, step, output_dir, split=None, **_):
        """In the place of `evaluate.evaluate_run`."""
        output_dir = output_dir or results.default_folder(workdir, step, split)
        self.before.get(step, lambda: None)()
        if not (workdir / "checkpoints" / str(step)).is_dir():
            raise FileNotFoundError(f"no checkpoint of step {step}")
        self.evaluated.append(step)
        if self.roll_backs.get(step):
            shutil.rmtree(output_dir)
        write(
            output_dir,
            subjects(MAE[step]),
            step=step,
            made=f"2026-11-01T10:{step // 10:02d}:00+00:00",
            data={"split": split or "test"},
            provenance={"roll_backs": self.roll_backs.get(step, 0)},
        )

    def watch(self, **changed):
        return watch.watch(self.workdir, **{"poll_seconds": 0.01} | changed)

    def curve(self, split=None):
        return curve.read_curve(self.workdir / "evaluation", split)

    def steps(self, split=None):
        return [row.step for row in self.curve(split).rows]


def write(folder, mae, **fields):
    folder.mkdir(parents=True)
    results.write_json(folder / "metrics.json", make(mae, **fields))


@pytest.fixture
def run(monkeypatch, tmp_path):
    run = Run(tmp_path / "run")
    monkeypatch.setattr(evaluate, "evaluate_run", run.evaluate)

    def read_metadata(workdir, step):
        if not (workdir / "checkpoints" / str(step)).is_dir():
            raise FileNotFoundError(f"no checkpoint of step {step}")
        return types.SimpleNamespace(
            config={"train": {"steps": LAST}},
            guard=run.guard,
            roll_backs=run.roll_backs.get(step, 0),
        )

    monkeypatch.setattr(watch, "read_metadata", read_metadata)
    return run


def test_every_checkpoint_is_evaluated_once_until_the_last(run, capsys):
    run.save(100, 200)
    run.before[200] = lambda: run.save(300)
    run.watch()
    assert run.evaluated == [100, 200, 300]
    assert run.steps() == [100, 200, 300]
    curve = run.curve()
    assert [row.metrics["mae"].value for row in curve.rows] == [100, 65, 70]
    assert (curve.best_by, curve.best.step) == ("mae", 200)
    said = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("Step ") for line in said) == 3
    assert "Best: step 200" in said[-2]
    run.watch()  # nothing is left to do
    assert run.evaluated == [100, 200, 300]


def test_curve_page_marks_the_best_step_and_links_the_reports(run):
    run.save(100, 200, 300)
    run.watch()
    page = HtmlPage(run.workdir / "evaluation" / "curve.html")
    assert "Best step: 200 , MAE 65.0 HU" in page.text
    assert {f"{step:06d}/report.html" for step in MAE} == set(page.links)
    steps = [row[0] for row in page.rows]
    assert steps == ["Step", "300", "200 best", "100"]
    # The best step of the test split is too good.
    assert "--split=validation" in page.text
    assert not page.sources and "http" not in page.text


def test_stopped_watch_resumes_where_it_was(run):
    run.save(100, 200)

    run.before[200] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    assert not run.watch()
    assert run.evaluated == [100, 200]  # what was at hand is finished
    assert run.steps() == [100, 200]
    run.save(300)
    assert run.watch()
    assert run.evaluated == [100, 200, 300]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_waiting_at_once(run, number, capsys):
    def send():
        time.sleep(0.3)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    sender = threading.Thread(target=send)
    sender.start()
    start = time.monotonic()
    run.watch(poll_seconds=600.0)
    sender.join()
    assert time.monotonic() - start < 5
    assert signal.getsignal(number) is before
    said = capsys.readouterr().out
    assert said.count("Waiting for a checkpoint") == 1
    assert not run.workdir.exists()  # nothing is made while nothing is there


def test_checkpoint_that_is_removed_before_its_turn_is_skipped(run, caplog):
    run.save(100, 200, 300)
    run.before[100] = lambda: run.remove(100)
    run.watch()
    assert run.evaluated == [200, 300]
    assert "Step 100 was removed" in caplog.text


def test_incomplete_checkpoint_is_left_alone(run):
    run.save("300.orbax-checkpoint-tmp-17", 100)
    unfinished = run.workdir / "checkpoints" / "300.orbax-checkpoint-tmp-17"
    run.before[100] = lambda: unfinished.rename(unfinished.with_name("300"))
    run.watch()
    assert run.evaluated == [100, 300]


def test_damaged_checkpoint_is_tried_again_and_skipped(run, caplog):
    run.save(100, 200, 300)
    attempts = run.fail(300, DamagedCheckpoint("checkpoints/300 is damaged: a digest"))
    run.watch()
    assert attempts == [[100, 200]] * 2
    assert run.evaluated == [100, 200]
    assert "Step 300 is skipped: checkpoints/300 is damaged" in caplog.text


def test_damaged_step_that_is_trained_again_is_evaluated(run, caplog):
    run.save(100, 200)
    run.fail(200, DamagedCheckpoint("checkpoints/200 is damaged: a digest"))

    def train_again():
        while "Step 200 is skipped" not in caplog.text:
            time.sleep(0.01)
        run.remove(200)
        time.sleep(0.2)  # many polls
        del run.before[200]
        run.save(200, 300)

    training = threading.Thread(target=train_again)
    training.start()
    run.watch()
    training.join()
    assert run.evaluated == [100, 200, 300]


def test_step_trained_again_after_a_roll_back_is_evaluated_again(run, caplog):
    run.save(100, 200, 300)
    run.watch()
    run.roll_backs = {200: 1, 300: 1}
    run.watch()
    assert run.evaluated == [100, 200, 300, 200, 300]
    # A step is skipped by name, though its former self was evaluated.
    run.roll_backs = {200: 1, 300: 2}
    run.fail(300, DamagedCheckpoint("checkpoints/300 is damaged: a digest"))
    run.watch()
    assert "Step 300 is skipped: checkpoints/300 is damaged" in caplog.text


def test_watch_ends_where_a_guard_has_stopped_the_training(run):
    run.save(100, 200)
    run.guard = {"stopped": "fat and soft tissue are swapped"}
    run.watch()
    assert run.evaluated == [100, 200]


def test_step_that_cannot_be_evaluated_does_not_hold_up_others(run, caplog):
    run.save(100, 200, 300)
    run.fail(200, ValueError("the translation is not finite"))
    run.watch()
    assert run.evaluated == [100, 300]
    assert "Step 200 is skipped: the translation is not finite" in caplog.text


def test_error_of_every_step_ends_the_watch(run):
    run.save(100)
    run.fail(100, ValueError("no channel t2"))
    with pytest.raises(ValueError, match="no channel t2"):
        run.watch()


def test_two_watches_may_evaluate_the_same_step(run, caplog):
    run.save(100, 200, 300)

    def another():
        run.before.clear()
        run.evaluate(
            run.workdir, step=200, output_dir=run.workdir / "evaluation" / "000200"
        )

    run.before[200] = another
    run.watch()
    assert sorted(run.evaluated[:3]) == [100, 200, 200]
    assert "Step 200 was evaluated by another" in caplog.text
    assert run.steps() == [100, 200, 300]


def test_split_has_its_own_evaluations_and_curve(run):
    run.save(100, 200, 300)
    run.watch()
    run.watch(split="validation")
    assert run.evaluated == [100, 200, 300] * 2
    folder = run.workdir / "evaluation"
    for split, name in (("test", "curve"), ("validation", "curve_validation")):
        assert f" {split} split" in HtmlPage(folder / f"{name}.html").text
    assert (folder / "000300_validation").is_dir()


def test_evaluations_on_other_data_are_not_in_the_curve(run, caplog):
    run.save(200, 300)
    folder = run.workdir / "evaluation" / "000100"
    write(folder, {"somebody": 1.0}, step=100, made="2026-10-01T00:00:00+00:00")
    run.watch()
    assert run.steps() == [200, 300]
    assert "not in the curve: 000100" in caplog.text


def test_data_of_one_phase_are_other_data(run, monkeypatch, tmp_path):
    run.save(100, 200, 300)
    run.watch()
    data = run.curve().rows[0].data
    people = [types.SimpleNamespace(name=name) for name in data["mr_subjects"]]
    mr = types.SimpleNamespace(held_out="test", of_split=lambda split: people)
    manifest = types.SimpleNamespace(
        source=data["source"], size=data["size"], domains={"mr": mr}
    )
    monkeypatch.setattr(watch, "read_manifest", lambda data_dir: manifest)
    mr.channels = ("in_phase",)
    run.watch(data_dir=tmp_path)
    mr.channels = ("out_of_phase",)
    with pytest.raises(ValueError, match="000100 is on other data .* by --output"):
        run.watch(data_dir=tmp_path)


def test_without_reference_ct_the_distance_decides_which_step_is_best(run, monkeypatch):
    run.save(100, 200, 300)

    def unpaired(workdir, *, step, **_):
        write(
            results.default_folder(workdir, step),
            subjects(MAE[step]),
            step=step,
            paired=False,
            worse=4 - step / 100,
        )

    monkeypatch.setattr(evaluate, "evaluate_run", unpaired)
    run.watch()
    curve = run.curve()
    assert (curve.best_by, curve.best.step) == ("frechet_haar_v1", 300)
    real = curve.reference_range("kl_real_synthetic")
    assert real == Interval(value=0.01, low=0.005, high=0.015, n=6)
    outside = [row.metrics["outside_real_vs_real"] for row in curve.rows]
    assert [(each.value, each.n) for each in outside] == [(4, 4), (4, 4), (3, 4)]


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--mode=evaluate", "--watch", "--step=3"], "does not read --step"),
        (["--mode=evaluate", "--poll_seconds=3"], "with --watch alone"),
    ],
)
def test_contradicting_flags_are_named(arguments, message, capsys):
    with flagsaver.flagsaver():
        flags.FLAGS.unparse_flags()
        argv = parse_flags(["main", "--workdir=nowhere", *arguments])
        assert main.main(argv) == USAGE_ERROR
    assert message in capsys.readouterr().err

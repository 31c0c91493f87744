"""Sweeps whose modes are stand-ins that write what the modes would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags
from absl.testing import flagsaver
from made_up_results import make
from paths import REPOSITORY

from input_pipeline.dataset.manifest import Domain, Manifest, Subject
from input_pipeline.digests import with_digest
from synthct_jax import main
from synthct_jax.checkpoint import metadata
from synthct_jax.configs import phantom
from synthct_jax.evaluation import results
from synthct_jax.runtime.signals import RESUMABLE
from synthct_jax.sweep import pictures, plan_file, runner
from synthct_jax.sweep.plan_file import SweepRun, make_plan

# ml_collections loads configuration files in an old way.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

CONFIG = "configs/phantom.py"
STEPS = {"train.steps": 40}


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr(pictures, "draw", lambda folder, runs: b"png")


def a_data_set(folder):
    subject = Subject(
        name="p1",
        split="test",
        slices=2,
        affine=((1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 1.0, 0), (0, 0, 0, 1.0)),
        scale=(),
    )
    domain = Domain(channels=("in_phase",), subjects=(subject,), statistics={})
    folder.mkdir(parents=True)
    Manifest(
        source="phantom",
        size=8,
        spacing_mm=4.0,
        mask_outside_body=True,
        mr_percentile=99.5,
        seed=0,
        domains={"mr": domain},
    ).save(folder)


class Modes:
    """Stands in for SubprocessRunner: notes each command and writes its output."""

    def __init__(self, *statuses):
        self.statuses = dict(statuses)  # of commands that contain a text
        self.commands = []
        self.stopped = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run(self, *arguments):
        self.commands.append(" ".join(arguments))
        for text, status in self.statuses.items():
            if text in self.commands[-1]:
                return status
        given = dict(a.removeprefix("--").split("=", 1) for a in arguments)
        self.done(given, Path(given.get("workdir", "")))
        return 0

    def done(self, given, work):
        data = Path(given["data_dir"])
        if given.get("mode") == "prepare":
            a_data_set(data)
        elif given.get("mode") == "evaluate":
            an_evaluation(work, data, step=metadata.choose_step(work))
        else:
            file, variant = given["config"].split(":")
            plan = make_plan(file, STEPS, [variant], ["0"])
            config = runner._config(plan, variant).to_dict()
            seed = int(given["config.seed"])
            a_checkpoint(work, 40, config | {"seed": seed})

    def of_mode(self, mode):
        return [c for c in self.commands if (f"--mode={mode}" in c)]


def a_checkpoint(work, step, config, **metrics):
    folder = work / "checkpoints" / str(step) / "config"
    folder.mkdir(parents=True)
    fields = metadata.CheckpointMetadata(
        config=config, prepared={}, data_dir="", versions={}, metrics=metrics
    )
    text = json.dumps(with_digest(fields.to_json()))
    (folder / "metadata").write_text(text)


def an_evaluation(work, data, *, step):
    folder = work / "evaluation" / f"{step:06d}"
    folder.mkdir(parents=True)
    made = make({"p1": 70.0}, step=step, data={"data_dir": str(data.resolve())})
    results.write_json(folder / "metrics.json", made)


def a_plan(variants="in_out,in", seeds="0,1", **overrides):
    overrides = {name.replace("__", "."): v for name, v in overrides.items()}
    return make_plan(CONFIG, STEPS | overrides, variants.split(","), seeds.split(","))


def run(plan, folder, modes=None, **more):
    modes = modes or Modes()
    return runner.run_sweep(plan, folder=folder, subprocesses=modes, **more), modes


# --- the runs -------------------------------------------------------------------------


def test_every_run_is_trained_and_evaluated_on_the_data_of_its_variant(
    tmp_path, capsys
):
    status, modes = run(a_plan(), tmp_path)
    assert status == 0
    file = "--config=phantom:in"
    overrides = "--config.train.steps=40"
    assert modes.of_mode("prepare") == [
        f"--mode=prepare {file}{end} {overrides} --data_dir={tmp_path}/data/in{end}"
        for end in ("_out", "")
    ]
    data = f"--data_dir={tmp_path}/data/in"
    assert modes.commands[1:3] == [
        f"{file}_out {overrides} --config.seed=0 {data}_out "
        f"--workdir={tmp_path}/runs/in_out/seed_0",
        f"--mode=evaluate --workdir={tmp_path}/runs/in_out/seed_0 {data}_out",
    ]
    # The first seed of all variants before the next of any.
    trained = [c.split("/runs/")[1] for c in modes.commands if "--mode" not in c]
    assert trained == ["in_out/seed_0", "in/seed_0", "in_out/seed_1", "in/seed_1"]
    printed = capsys.readouterr().out
    assert "| in_out | 2 | 1 | 70.0 |" in printed and "table.html" in printed
    files = {f"table.{kind}" for kind in ("html", "md", "csv")}
    assert {path.name for path in tmp_path.iterdir()} == files | {
        "sweep.json",
        "pictures.png",
        "data",
        "runs",
    }
    status, modes = run(a_plan(), tmp_path)
    assert (status, modes.commands) == (0, [])  # all is done


def test_evaluation_of_another_step_or_other_data_does_not_count(tmp_path):
    plan = a_plan("in", "0")
    run(plan, tmp_path)
    work = plan.runs[0].workdir(tmp_path)
    (path,) = work.glob("evaluation/*/metrics.json")
    right = path.read_text()
    for part, other in (
        ('"step": 40', '"step": 20'),
        ('"p1": 5', '"p2": 5'),
        ('"split": "test"', '"split": "train"'),
        (f'"format": {results.FORMAT}', '"format": 0'),
        (str(tmp_path), "/elsewhere"),
    ):
        assert part in right
        path.write_text(right.replace(part, other))
        _, modes = run(plan, tmp_path, Modes(("evaluate", 1)))
        assert len(modes.of_mode("evaluate")) == len(modes.commands) == 1, other
    path.write_text("{torn")
    _, modes = run(plan, tmp_path, Modes(("evaluate", 1)))
    assert len(modes.commands) == 1


def test_run_of_another_configuration_is_left_to_the_training_to_judge(tmp_path):
    run(a_plan("in", "0"), tmp_path)
    (tmp_path / "sweep.json").unlink()
    status, modes = run(
        a_plan("in", "0", model__width=99), tmp_path, Modes(("runs/in/seed_0", 2))
    )
    assert status == runner.FAILED
    assert len(modes.commands) == 1 and "--config.model.width=99" in modes.commands[0]


def test_data_are_drawn_with_the_override_of_the_seed_and_runs_with_theirs(tmp_path):
    _, modes = run(a_plan("in", "7", seed=5), tmp_path, raw_dir="RAW")
    prepare, train, _ = modes.commands
    assert "--config.seed=5" in prepare and "--config.seed=7" in train
    assert train.count("--config.seed") == 1
    assert ["--raw_dir=RAW" in c for c in modes.commands] == [True, False, False]


def test_failed_run_does_not_end_the_others_and_is_named_at_the_end(tmp_path, caplog):
    status, modes = run(a_plan(), tmp_path, Modes(("in/seed_0", 1)))
    assert status == runner.FAILED
    assert len([c for c in modes.commands if "--mode" not in c]) == 4
    assert "failed: in, seed 0: training ended with status 1" in caplog.text
    assert "Not evaluated, so left out: in, seed 0" in (
        (tmp_path / "table.md").read_text()
    )


def test_preparation_that_another_task_finished_first_is_no_failure(tmp_path):
    class Late(Modes):
        def run(self, *arguments):
            status = super().run(*arguments)
            return 2 if "--mode=prepare" in arguments else status

    status, modes = run(a_plan("in", "0"), tmp_path, Late())
    assert status == 0 and len(modes.commands) == 3
    status, modes = run(a_plan("out", "0"), tmp_path, Modes(("prepare", 2)))
    assert status == runner.FAILED and len(modes.commands) == 1


@pytest.mark.parametrize(
    ("ended_with", "signalled"), [(RESUMABLE, False), (143, False), (1, True)]
)
def test_same_command_resumes_a_stopped_sweep(tmp_path, ended_with, signalled):
    class Stops(Modes):
        def run(self, *arguments):
            if "seed_1" in arguments[-1]:
                self.stopped = signalled
                return ended_with
            return super().run(*arguments)

    status, modes = run(a_plan(), tmp_path, Stops())
    assert status == RESUMABLE and not (tmp_path / "table.md").exists()
    status, modes = run(a_plan(), tmp_path)
    assert status == 0 and len(modes.commands) == 4  # both of the second seed
    assert all("seed_1" in command for command in modes.commands)


def test_single_run_is_done_alone_and_without_tables(tmp_path):
    status, modes = run(a_plan(), tmp_path, only=3)
    assert status == 0 and len(modes.commands) == 3
    assert "runs/in/seed_1" in modes.commands[1]
    assert not (tmp_path / "table.md").exists()
    with pytest.raises(ValueError, match="--only is 4, expected 0 to 3: .* in, seed 1"):
        run(a_plan(), tmp_path, only=4)
    # The same command without it does the rest, and the tables.
    status, modes = run(a_plan(), tmp_path)
    assert len(modes.commands) == 1 + 3 * 2 and (tmp_path / "table.md").exists()


# --- the plan -------------------------------------------------------------------------


def test_variants_and_seeds_may_be_added_and_no_other_configuration(tmp_path):
    run(a_plan("in", "0"), tmp_path)
    _, modes = run(a_plan("out", "0,1"), tmp_path)
    assert not any("runs/in/" in command for command in modes.commands)
    assert plan_file.read_plan(tmp_path).runs == (
        SweepRun("in", 0),
        SweepRun("out", 0),
        SweepRun("out", 1),
    )
    assert "| in | 1 |" in (tmp_path / "table.md").read_text()
    with pytest.raises(ValueError) as refused:
        run(a_plan("in", "0", model__width=8), tmp_path)
    assert "'--config=phantom --config.train.steps=40'" in str(refused.value)
    assert "--config.model.width=8'" in str(refused.value)


@pytest.mark.parametrize(
    ("variants", "seeds", "message"),
    [
        ("in,inn", "0", "no variant 'inn', expected one of: in_out"),
        ("in", "1,01", "--seeds is '1,1', expected one or more, each once"),
        ("in,in", "0", "--variants is 'in,in', expected one or more, each once"),
        ("in", "0,a", "--seeds: 'a' is no seed"),
        ("in", "0,0", "--seeds is '0,0'"),
    ],
)
def test_errors_in_the_plan_are_named_before_anything_is_run(
    variants, seeds, message, tmp_path
):
    with pytest.raises(ValueError, match=message):
        run(a_plan(variants, seeds), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="expected the file alone"):
        make_plan("configs/phantom.py:in", {}, ["in"], ["0"])


def test_folder_of_a_training_is_refused(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ValueError, match="is a training run; name another --workdir"):
        run(a_plan("in", "0"), tmp_path)
    assert os.listdir(tmp_path) == ["checkpoints"]


def test_unreadable_plan_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"sweep\.json"):
        plan_file.read_plan(tmp_path)
    (tmp_path / "sweep.json").write_text('{"format": 1}')
    with pytest.raises(ValueError, match=r"sweep\.json: field 'config' is missing"):
        plan_file.read_plan(tmp_path)


def test_overrides_reach_the_runs_as_they_were_written(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(
        runner, "run_sweep", lambda plan, **more: given.append((plan, more))
    )
    arguments = [
        "main",
        "--mode=sweep",
        f"--config={CONFIG}",
        "--config.data.split=(0.5,0.25,0.25)",
        "--config.data.ct_knots=((-1024.0,-1.0),(1500.0,1.0))",
        "--noconfig.data.flip",
        "--config.train.learning_rate=1e-5",
        "--config.model.dtype=bfloat16",
        "--variants=in,supervised_in",
        "--seeds=3",
        f"--workdir={tmp_path}",
    ]

    def parsed(arguments):
        flags.FLAGS.unparse_flags()
        monkeypatch.setattr(sys, "argv", arguments)
        return main.parse_flags(sys.argv)

    with flagsaver.flagsaver():
        main.main(parsed(arguments))
        wanted = flags.FLAGS.config.to_dict()
    ((plan, more),) = given
    assert plan.runs == (SweepRun("in", 3), SweepRun("supervised_in", 3))
    assert more == {"folder": tmp_path, "raw_dir": None, "only": None}
    plan_file.add_to_folder(plan, tmp_path)
    again = runner._flags(plan_file.read_plan(tmp_path).overrides)
    with flagsaver.flagsaver():
        parsed(["main", f"--config={CONFIG}", *again])
        assert flags.FLAGS.config.to_dict() == wanted
    assert wanted["train"]["learning_rate"] == 1e-5 and not wanted["data"]["flip"]


# --- checkpoints ----------------------------------------------------------------------


def test_training_is_done_at_the_last_step_of_its_own_configuration(tmp_path):
    config = phantom.get_config()
    config.train.steps = 40

    def is_trained(**fields):
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict(fields)
        return plan_file.is_trained(tmp_path, changed.to_dict())

    a_checkpoint(tmp_path, 20, config.to_dict())
    assert not is_trained()
    config.loss.fat_threshold = 0.6  # which the training has found
    a_checkpoint(tmp_path, 40, config.to_dict())
    config.loss.fat_threshold = 0.0
    assert is_trained()
    assert not is_trained(seed=1)
    assert not is_trained(**{"loss.fat_threshold": 0.5})


def test_unreadable_checkpoint_is_left_to_the_training_to_judge(tmp_path):
    plan = a_plan("in", "0")
    run(plan, tmp_path)
    work = plan.runs[0].workdir(tmp_path)
    for torn in ("", '{"config": {"tr', '{"note": 1}'):
        (work / "checkpoints/40/config/metadata").write_text(torn)
        _, modes = run(plan, tmp_path, Modes(("runs/in/seed_0", 1)))
        assert len(modes.commands) == 1 and "--mode" not in modes.commands[0]


# --- the array job --------------------------------------------------------------------

SBATCH = REPOSITORY / "launch" / "sweep.sbatch"
STAND_IN = """#!/usr/bin/env bash
echo "$(basename "$0") $*"
if [ "$(basename "$0")" = python ]; then exit "${STATUS:-0}"; fi
"""


@pytest.fixture
def job(tmp_path):
    for name in ("python", "scontrol"):
        (tmp_path / name).write_text(STAND_IN)
        (tmp_path / name).chmod(0o755)

    def run_job(*arguments, **environment):
        path = f"{tmp_path}:{os.environ['PATH']}"
        return subprocess.run(
            [SBATCH, *arguments],
            env={"PATH": path, "PYTHON": str(tmp_path / "python"), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )

    return run_job


def test_task_of_the_array_does_its_own_run_and_is_requeued_when_stopped(job):
    done = job("--workdir=a b", SLURM_ARRAY_TASK_ID="4", SLURM_JOB_ID="12")
    assert done.returncode == 0
    assert done.stdout == (
        "python -m synthct_jax.main --mode=sweep --only=4 --workdir=a b\n"
    )
    assert "--only=-1 " in job("--workdir=S").stdout
    done = job("--workdir=S", STATUS="75", SLURM_JOB_ID="12")
    assert done.returncode == 75 and done.stdout.endswith("scontrol requeue 12\n")
    done = job("--workdir=S", STATUS="1", SLURM_JOB_ID="12")
    assert done.returncode == 1 and "requeue" not in done.stdout
    assert job().returncode == 2

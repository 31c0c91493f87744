"""The sbatch files: with stand-ins for Slurm, and on a real one of two nodes."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from compilation import FAST_COMPILATION
from paths import REPOSITORY
from programs import need
from tiny_run import tiny_config

from input_pipeline.preparation import prepare
from synthct_jax.runtime.jsonl import read_rows

TRAIN = REPOSITORY / "launch" / "train.sbatch"
SWEEP = REPOSITORY / "launch" / "sweep.sbatch"
CLUSTER = REPOSITORY / "launch" / "slurm_on_one_machine.sh"

# --- stand-ins ------------------------------------------------------------------------

STAND_IN = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >>calls
case $(basename "$0") in
squeue) echo "${STATE:-RUNNING}" ;;
scancel) touch terminated ;;
python | srun)
  touch started
  if [ -n "${UNTIL_TERMINATED:-}" ]; then
    while ! [ -e terminated ]; do sleep 0.05; done
  fi
  exit "${STATUS:-0}"
  ;;
esac
"""


@pytest.fixture
def job(tmp_path):
    for name in ("python", "srun", "squeue", "scancel", "scontrol"):
        (tmp_path / name).write_text(STAND_IN)
        (tmp_path / name).chmod(0o755)

    def start(script, *arguments, **environment):
        return subprocess.Popen(
            [script, *arguments],
            cwd=tmp_path,
            env={
                "PATH": f"{tmp_path}:{os.environ['PATH']}",
                "PYTHON": "my python",
                "SLURM_JOB_ID": "12",
                **environment,
            },
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(script, *arguments, **environment):
        """The exit status, and the calls of the stand-ins."""
        with start(script, *arguments, **environment) as process:
            process.communicate(timeout=60)
        return process.returncode, (tmp_path / "calls").read_text().splitlines()

    run.start, run.folder = start, tmp_path
    return run


def test_each_task_starts_the_program(job):
    status, calls = job(TRAIN, "--workdir=a", "--config=b c")
    assert status == 0
    (srun,) = calls
    assert srun.startswith("srun ") and "--kill-on-bad-exit=0" in srun
    assert srun.endswith(" my python -m synthct_jax.main --workdir=a --config=b c")


@pytest.mark.parametrize("status", ["75", "143"])
@pytest.mark.parametrize("script", [TRAIN, SWEEP])
def test_a_stopped_job_goes_back_into_the_queue(job, script, status):
    python = str(job.folder / "python")
    ended, calls = job(script, "x", STATUS=status, PYTHON=python)
    assert ended == int(status)
    assert calls[-1] == "scontrol requeue 12"


@pytest.mark.parametrize("status", ["0", "1", "2", "137"])
def test_a_failed_or_finished_training_does_not_queue_again(job, status):
    ended, calls = job(TRAIN, "x", STATUS=status)
    assert ended == int(status)
    assert not any("requeue" in call for call in calls)


@pytest.mark.parametrize("script", [TRAIN, SWEEP])
def test_a_cancelled_job_does_not_queue_again(job, script):
    python = str(job.folder / "python")
    ended, calls = job(script, "x", STATUS="75", STATE="COMPLETING", PYTHON=python)
    assert ended == 75
    assert calls[-1].startswith("squeue ") and "--jobs=12" in calls[-1]


def test_a_task_of_an_array_requeues_itself_alone(job):
    # Of an array, the number of one task is the number of all.
    _, calls = job(
        *(SWEEP, "x"),
        STATUS="75",
        PYTHON=str(job.folder / "python"),
        SLURM_ARRAY_JOB_ID="12",
        SLURM_ARRAY_TASK_ID="3",
    )
    assert "--jobs=12_3 " in calls[-2]
    assert calls[-1] == "scontrol requeue 12_3"


def test_a_signal_is_handed_to_the_tasks_and_waited_for(job):
    with job.start(TRAIN, "x", STATUS="75", UNTIL_TERMINATED="1") as process:
        wait_for(lambda: (job.folder / "started").exists(), seconds=30)
        process.terminate()
        assert process.wait(timeout=30) == 75, process.stderr.read()
    calls = (job.folder / "calls").read_text()
    assert "scancel --signal=TERM 12\n" in calls
    assert calls.endswith("scontrol requeue 12\n")


def test_missing_arguments_are_refused(job):
    with job.start(TRAIN) as process:
        _, error = process.communicate(timeout=60)
    assert process.returncode == 2 and "usage" in error


# --- a real one -----------------------------------------------------------------------

STEPS = 2000
CONFIG_FILE = f"""
from tiny_run import tiny_config

def get_config():
    return tiny_config(
        steps={STEPS}, global_batch=2, save_every={STEPS}, evaluate_every=0
    )
"""
# As long as a training, and it saves for two seconds.
TRAINING = f"""#!{sys.executable} -S
import signal, sys, time

def stop(number, frame):
    time.sleep(2)
    sys.exit(75)

signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(100)
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """Runs a command of Slurm; returns what it prints."""
    need("munged", "slurmctld", "slurmd", "sbatch")
    folder = tmp_path_factory.mktemp("slurm")
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "PYTHONPATH": ".:tests/support",
        "JAX_NUM_CPU_DEVICES": "1",
        "XLA_FLAGS": FAST_COMPILATION,
    }
    # The cluster is there until its standard input ends.
    with subprocess.Popen(
        [CLUSTER, "bash", "-c", 'echo "$SLURM_CONF"; cat >/dev/null'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as cluster:
        environment["SLURM_CONF"] = cluster.stdout.readline().strip()
        assert environment["SLURM_CONF"], "see standard error"

        def run(*command, **more):
            return subprocess.run(
                command,
                cwd=REPOSITORY,
                env={**environment, **more},
                check=True,
                stdout=subprocess.PIPE,
                text=True,
                timeout=60,
            ).stdout.strip()

        run.folder = folder
        yield run
        cluster.stdin.close()
        assert cluster.wait(timeout=120) == 0


def submit(slurm, log, *arguments, options=(), **environment) -> str:
    return slurm(
        *("sbatch", "--parsable", "--nodes=2", "--ntasks-per-node=1"),
        *("--gpus-per-node=0", "--cpus-per-task=1", f"--output={log}"),
        *(*options, TRAIN, *arguments),
        **environment,
    )


def shown(slurm, job, field) -> str:
    return re.search(rf"{field}=(\S+)", slurm("scontrol", "show", "job", job))[1]


def wait_for(condition, *, seconds, log: Path | None = None):
    deadline = time.monotonic() + seconds
    while not condition():
        said = log.read_text() if log and log.exists() else ""
        assert time.monotonic() < deadline, said
        time.sleep(0.2)


def has(log: Path, text: str) -> bool:
    return log.exists() and text in log.read_text()


@pytest.mark.slow
def test_a_preempted_training_is_requeued_resumes_and_finishes(slurm):
    config, run, data = (slurm.folder / name for name in ("tiny.py", "run", "data"))
    log = slurm.folder / "training.log"
    config.write_text(CONFIG_FILE)
    prepare.prepare(tiny_config(), None, data)
    arguments = (f"--config={config}", f"--workdir={run}", f"--data_dir={data}")
    job = submit(slurm, log, *arguments)

    def ended() -> bool:
        states = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        return shown(slurm, job, "JobState") in states

    rows_file = run / "metrics.jsonl"
    wait_for(lambda: read_rows(rows_file) or ended(), seconds=900, log=log)
    urgent = slurm(
        *("sbatch", "--parsable", "--partition=urgent", "--nodes=2", "--exclusive"),
        *("--output=/dev/null", "--wrap=true"),
    )
    wait_for(ended, seconds=900, log=log)

    said = log.read_text()
    assert shown(slurm, job, "JobState") == "COMPLETED", said
    assert shown(slurm, job, "Restarts") == "1"
    assert shown(slurm, urgent, "JobState") == "COMPLETED"
    (step,) = re.findall(r"0: Stopped by a preemption notice after step (\d+)", said)
    assert 0 < int(step) < STEPS
    for task in (0, 1):
        assert f"{task}: Goes on after step {step}\n" in said
    saved = {path.name for path in (run / "checkpoints").iterdir()}
    assert saved == {step, str(STEPS)}
    rows = [row["step"] for row in read_rows(rows_file)]
    assert rows == sorted(set(rows)) and rows[-1] == STEPS


@pytest.fixture
def training(tmp_path):
    python = tmp_path / "python"
    python.write_text(TRAINING)
    python.chmod(0o755)
    return {"log": tmp_path / "log", "python": str(python)}


@pytest.mark.slow
def test_before_its_time_limit_a_job_saves_and_queues_again(slurm, training):
    log = training["log"]
    # A minute, and the signal 45 seconds before its end.
    options = ("--time=1", "--signal=B:TERM@45", "--ntasks-per-node=2")
    job = submit(slurm, log, "x", options=options, PYTHON=training["python"])
    wait_for(lambda: shown(slurm, job, "Restarts") == "1", seconds=120, log=log)
    assert log.read_text().count("ready") == 4, log.read_text()
    assert log.read_text().count("exit code 75") == 2  # a line for each node
    slurm("scancel", job)


@pytest.mark.slow
def test_a_cancelled_running_job_does_not_queue_again(slurm, training):
    log = training["log"]
    job = submit(slurm, log, "x", PYTHON=training["python"])
    wait_for(lambda: has(log, "0: ready") and has(log, "1: ready"), seconds=60)
    slurm("scancel", job)
    queued = ("squeue", "--noheader", f"--jobs={job}")
    wait_for(lambda: not slurm(*queued), seconds=60, log=log)
    assert shown(slurm, job, "JobState") == "CANCELLED"
    assert log.read_text().count("exit code 75") == 2, log.read_text()

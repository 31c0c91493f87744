"""Launchers of one machine: with a stand-in for Python that tells how it was called,
and with the program.
"""

import os
import signal
import subprocess
import sys

import pytest
from paths import REPOSITORY
from programs import need
from tiny_run import tiny_config, variables

from input_pipeline.preparation import prepare

LAUNCH = REPOSITORY / "launch"
LOCAL = LAUNCH / "local.sh"
OPEN_MPI = LAUNCH / "open_mpi.sh"
# Open MPI refuses root, and more processes than cores, unless it is told.
MPIRUN = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
}

STAND_IN = f"""#!{sys.executable} -S
import os, signal, sys, time
if sys.argv[1] == "-c":  # the launcher looks for a free port
    exec(sys.argv[2])
    sys.exit()
rank = os.environ["JAX_PROCESS_ID"]

def stop(number, frame):
    print("stopped", flush=True)
    sys.exit(40 + int(rank))

signal.signal(signal.SIGTERM, stop)
print(
    os.environ["JAX_COORDINATOR_ADDRESS"], os.environ["JAX_NUM_PROCESSES"], sys.argv[1:]
)
print("ready", file=sys.stderr, flush=True)
if "--wait" in sys.argv:
    for _ in range(300):
        time.sleep(0.1)
sys.exit(3 if f"--fail={{rank}}" in sys.argv else 0)
"""


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    python = tmp_path / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    return {"PATH": os.environ["PATH"], "PYTHON": str(python)}


def local(*arguments, environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        [LOCAL, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )


def test_each_process_knows_its_number_and_the_same_coordinator(environment):
    done = local("3", "--", "--workdir=a b", "--mode=train", environment=environment)
    assert done.returncode == 0, done.stdout
    first = {}
    for line in done.stdout.splitlines():
        rank, text = line.split("] ", 1)
        first.setdefault(rank, text)
    assert sorted(first) == ["[0", "[1", "[2"]
    (said,) = set(first.values())
    address, count, arguments = said.split(" ", 2)
    assert address.startswith("127.0.0.1:") and int(address.split(":")[1]) > 0
    assert count == "3"
    assert arguments == repr(
        ["-m", "synthct_jax.main", "--workdir=a b", "--mode=train"]
    )


def test_port_is_taken_from_the_environment(environment):
    done = local("1", "--", "x", environment={**environment, "PORT": "4321"})
    assert "[0] 127.0.0.1:4321 1 " in done.stdout


@pytest.mark.parametrize("failing", [0, 1])
def test_highest_exit_status_is_returned(environment, failing):
    done = local("2", "--", f"--fail={failing}", environment=environment)
    assert done.returncode == 3, done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_reaches_all_processes_and_is_waited_for(environment, number):
    with subprocess.Popen(
        [LOCAL, "2", "--", "--wait"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        seen = []
        while not {"[0] ready\n", "[1] ready\n"} <= set(seen):
            seen.append(process.stdout.readline())
            assert seen[-1], seen
        process.send_signal(number)
        rest = process.stdout.read()
        assert process.wait(timeout=60) == 41, rest
    assert sorted(rest.splitlines()) == ["[0] stopped", "[1] stopped"]


@pytest.mark.parametrize("arguments", [(), ("2",), ("0", "--"), ("two", "--", "x")])
def test_wrong_arguments_print_usage(environment, arguments):
    done = local(*arguments, environment=environment)
    assert done.returncode == 2
    assert "N -- ARGUMENTS" in done.stdout


# --- Open MPI -------------------------------------------------------------------------

RANK = f"""#!{sys.executable} -S
import os, signal, sys, time
rank = os.environ["OMPI_COMM_WORLD_RANK"]

def stop(number, frame):
    time.sleep(2)
    sys.stdout.write(f"{{rank}} saved\\n")
    sys.exit(75)

signal.signal(signal.SIGTERM, stop)
uri = os.environ["OMPI_MCA_orte_hnp_uri"]  # by which JAX knows Open MPI
cores = len(os.sched_getaffinity(0))
sys.stdout.write(f"{{rank}} ready {{cores}} {{sys.argv[1:]}}\\n")
sys.stdout.flush()
if "--wait" in sys.argv:
    for _ in range(300):
        time.sleep(0.1)
sys.exit(3 if f"--fail={{rank}}" in sys.argv else 0)
"""


def open_mpi(tmp_path, *arguments) -> subprocess.Popen:
    need("mpirun")
    python = tmp_path / "rank"
    python.write_text(RANK)
    python.chmod(0o755)
    return subprocess.Popen(
        [OPEN_MPI, *arguments],
        env={"PATH": os.environ["PATH"], "PYTHON": str(python), **MPIRUN},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_mpirun_starts_each_process_on_all_cores(tmp_path):
    with open_mpi(tmp_path, "-np", "2", "--", "--workdir=a b") as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    cores = len(os.sched_getaffinity(0))
    given = ["-m", "synthct_jax.main", "--workdir=a b"]
    for rank in (0, 1):
        assert f"{rank} ready {cores} {given}" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_mpirun_lets_each_process_save(tmp_path, number):
    with open_mpi(tmp_path, "-np", "2", "--", "--wait") as process:
        for _ in range(2):
            assert "ready" in process.stdout.readline()
        process.send_signal(number)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 75, rest
    assert "0 saved" in rest and "1 saved" in rest


def test_mpirun_ends_with_the_status_of_a_process_that_failed(tmp_path):
    with open_mpi(tmp_path, "-np", "2", "--", "--fail=1") as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 3, said


@pytest.mark.parametrize("arguments", [(), ("-np", "2"), ("-np", "2", "--")])
def test_wrong_arguments_of_open_mpi_print_usage(arguments):
    done = subprocess.run([OPEN_MPI, *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert "mpirun... -- ARGUMENTS" in done.stderr


# --- the program ----------------------------------------------------------------------

CONFIG_FILE = """
from tiny_run import tiny_config

def get_config():
    return tiny_config(steps=4, global_batch=4, save_every=2, evaluate_every=0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local", "open_mpi"])
def test_two_processes_train_into_one_folder(tmp_path, launcher):
    command = [LOCAL, "2", "--"]
    if launcher == "open_mpi":
        need("mpirun")
        command = [OPEN_MPI, "-np", "2", "--"]
    config, data, run = (tmp_path / name for name in ("tiny.py", "data", "run"))
    config.write_text(CONFIG_FILE)
    prepare.prepare(tiny_config(), None, data)
    done = subprocess.run(
        [*command, f"--config={config}", f"--data_dir={data}", f"--workdir={run}"],
        cwd=REPOSITORY,
        env=variables(PYTHON=sys.executable, **MPIRUN),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    # Each says once how large the networks are, one of them how it goes.
    assert done.stdout.count("parameters in the generators") == 2
    assert done.stdout.count("step 4/4") == 1
    saved = {entry.name for entry in (run / "checkpoints").iterdir()}
    assert saved == {"2", "4"}


# --- all of them ----------------------------------------------------------------------


def test_scripts_pass_shellcheck():
    need("shellcheck")
    scripts = [*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch"), REPOSITORY / ".ci/run"]
    assert len(scripts) >= 7
    assert all(
        os.access(script, os.X_OK) for script in scripts if script.name != "wait.sh"
    )
    done = subprocess.run(
        ["shellcheck", "--external-sources", *scripts],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout

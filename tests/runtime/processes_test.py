"""Joining several processes to one run."""

import socket

import pytest
from programs import run_program

from synthct_jax.runtime import processes


def test_process_alone_joins_no_others():
    done = run_program(
        "from synthct_jax.runtime.processes import init_distributed;"
        "init_distributed();"
        "import jax; print(jax.process_count())"
    )
    assert done.stdout == "1\n"


def test_three_variables_override_the_detection_of_a_cluster():
    program = (
        "from synthct_jax.runtime.processes import init_distributed;"
        "init_distributed();"
        "import jax;"
        "print(jax.process_count(), jax.config.read('jax_cuda_visible_devices'))"
    )
    # A step of Slurm would be another process count, and one GPU for each task.
    slurm = {
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_NODELIST": "nowhere",
        "SLURM_NTASKS": "7",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "3",
    }
    done = run_program(
        program,
        **slurm,
        JAX_COORDINATOR_ADDRESS="127.0.0.1:" + free_port(),
        JAX_NUM_PROCESSES="1",
        JAX_PROCESS_ID="0",
    )
    assert (done.returncode, done.stdout) == (0, "1 all\n"), done.stderr


ADDRESS = "JAX_COORDINATOR_ADDRESS"
COUNT = "JAX_NUM_PROCESSES"
NUMBER = "JAX_PROCESS_ID"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({ADDRESS: "localhost:1"}, f"{ADDRESS} without {COUNT} and {NUMBER}: set all"),
        ({COUNT: "2", NUMBER: "1"}, f"{COUNT} and {NUMBER} without {ADDRESS}: set all"),
        (
            {ADDRESS: "localhost:1", COUNT: "x", NUMBER: "0"},
            f"{COUNT}='x', expected a number",
        ),
    ],
)
def test_wrong_variables_of_several_processes_are_refused(
    variables, message, monkeypatch
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        processes.init_distributed()


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])

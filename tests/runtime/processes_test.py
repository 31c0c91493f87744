"""Joining several processes to one run."""

import socket

import pytest
from programs import run_program


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


@pytest.mark.parametrize(
    "variables",
    [
        {"JAX_COORDINATOR_ADDRESS": "localhost:1"},
        {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"},
    ],
)
def test_incomplete_variables_of_several_processes_are_refused(variables):
    program = (
        "from synthct_jax.runtime.processes import init_distributed;init_distributed()"
    )
    done = run_program(program, **variables)
    assert done.returncode != 0
    given, missing = (
        " and ".join(
            name
            for name in (
                "JAX_COORDINATOR_ADDRESS",
                "JAX_NUM_PROCESSES",
                "JAX_PROCESS_ID",
            )
            if (name in variables) == wanted
        )
        for wanted in (True, False)
    )
    assert f"ValueError: {given} without {missing}" in done.stderr


def test_number_of_processes_that_is_no_number_is_named():
    done = run_program(
        "from synthct_jax.runtime.processes import init_distributed;"
        "init_distributed();",
        JAX_COORDINATOR_ADDRESS="localhost:1",
        JAX_NUM_PROCESSES="x",
        JAX_PROCESS_ID="0",
    )
    assert done.returncode != 0
    assert "ValueError: JAX_NUM_PROCESSES='x', expected a number" in done.stderr


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])

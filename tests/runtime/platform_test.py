"""The environment of each platform. What the tests of the entry point leave out."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from synthct_jax.runtime import environment
from synthct_jax.runtime.environment import CPU_FLAGS, GPU_OVERLAP_FLAG

DETERMINISTIC = "--xla_gpu_deterministic_ops=true"  # what the documentation names


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Packages with these names can be found from now on; XLA_FLAGS is not set."""
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/mine")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")

    def install(*names):
        for name in names:
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text("")
        monkeypatch.syspath_prepend(tmp_path)

    return install


def prepared() -> set[str]:
    environment.prepare_environment()
    return set(os.environ.get("XLA_FLAGS", "").split())


def test_a_machine_without_accelerators_gets_what_its_cpu_needs(installed):
    assert prepared() == {*CPU_FLAGS}


@pytest.mark.parametrize("plugin", ["jax_cuda13_plugin", "jax_cuda12_plugin"])
@pytest.mark.parametrize("platforms", [None, "cuda", "gpu,cpu"])
def test_gpus_overlap_communication_with_computation(
    installed, monkeypatch, plugin, platforms
):
    installed(plugin)
    if platforms:
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
    assert prepared() == {*CPU_FLAGS, GPU_OVERLAP_FLAG}


def test_gpus_that_are_not_asked_for_get_nothing(installed, monkeypatch):
    installed("jax_cuda13_plugin")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert prepared() == {*CPU_FLAGS}


def test_flags_of_the_user_are_kept_and_added_to(installed, monkeypatch):
    installed("jax_cuda13_plugin")
    mine = "--xla_gpu_enable_latency_hiding_scheduler=false"
    monkeypatch.setenv("XLA_FLAGS", mine)
    assert prepared() == {mine, *CPU_FLAGS}


def test_no_flag_reaches_the_xla_of_tpus(installed):
    installed("libtpu")
    before = os.environ.get("LIBTPU_INIT_ARGS")
    assert prepared() == set()
    assert os.environ.get("LIBTPU_INIT_ARGS") == before


def run(program: str, **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_the_installed_xla_knows_every_flag():
    # The same flags are parsed by the builds for CPUs and for GPUs of a release.
    flags = " ".join([*CPU_FLAGS, GPU_OVERLAP_FLAG, DETERMINISTIC])
    program = "import jax; print(jax.jit(lambda x: x + 1)(1.0))"
    done = run(program, XLA_FLAGS=flags)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2.0\n", "")
    refused = run(program, XLA_FLAGS=f"{flags} --xla_gpu_no_such_flag=1")
    assert refused.returncode != 0 and "Unknown flag" in refused.stderr


ASKS = "always [madvise] never\n"


@pytest.mark.parametrize(
    ("policy", "libc", "tunables", "wanted"),
    [
        (ASKS, "glibc 2.36", None, {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}),
        ("[always] madvise never\n", "glibc 2.36", None, {}),
        ("always madvise [never]\n", "glibc 2.36", None, {}),
        (ASKS, "glibc 2.31", None, {}),  # it knows none
        (ASKS, "musl 1.2", None, {}),
        (ASKS, "glibc 2.36", "glibc.malloc.check=1", {}),
    ],
)
def test_huge_pages_are_asked_for_where_that_is_to_be_asked(
    tmp_path, monkeypatch, policy, libc, tunables, wanted
):
    (tmp_path / "enabled").write_text(policy)
    monkeypatch.setattr(environment, "_HUGE_PAGES", tmp_path / "enabled")
    monkeypatch.setattr(os, "confstr", lambda name: libc)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if tunables:
        monkeypatch.setenv("GLIBC_TUNABLES", tunables)
    assert environment.huge_pages() == wanted


def test_a_system_without_them_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "_HUGE_PAGES", tmp_path / "enabled")
    assert environment.huge_pages() == {}


def test_a_program_starts_anew_once_with_its_arguments(tmp_path):
    (tmp_path / "enabled").write_text(ASKS)
    program = tmp_path / "program.py"
    program.write_text(f"""
import os, pathlib, sys
from synthct_jax.runtime import environment
print("start", os.getpid(), flush=True)
environment._HUGE_PAGES = pathlib.Path({str(tmp_path / "enabled")!r})
os.confstr = lambda name: "glibc 2.36"
environment.use_huge_pages()
print(os.environ["GLIBC_TUNABLES"], sys.argv[1:], __name__)
""")
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    done = subprocess.run(
        [sys.executable, program, "a b", "--c=d"],
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first, second, last = done.stdout.splitlines()
    assert first == second  # the same process
    assert last == "glibc.malloc.hugetlb=1 ['a b', '--c=d'] __main__"


@pytest.mark.skipif(not environment.huge_pages(), reason="no huge pages for who asks")
def test_large_arrays_cost_few_faults_of_pages():
    program = """
import resource
import jax, jax.numpy as jnp

@jax.jit
def step(x):  # 256 MiB that nobody sees
    y = jax.lax.optimization_barrier(jnp.tile(x, (64, 1024)))
    return (y @ y.T).sum()

for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    jax.block_until_ready(step(jnp.ones((16, 64))))
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""
    plain, huge = (run(program, **more) for more in ({}, environment.huge_pages()))
    assert int(plain.stdout) > 20_000, plain.stderr
    assert int(huge.stdout) < 5_000, huge.stderr


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
def test_freed_memory_is_kept_until_it_is_returned():
    program = """
from synthct_jax.runtime import environment

def megabytes():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 // 2**20

environment.keep_freed_memory()
before = megabytes()
taken = [bytes(2**20) for _ in range(200)]  # what would be mapped on its own
del taken
kept = megabytes() - before
environment.return_freed_memory()
print(kept, megabytes() - before)
"""
    done = run(program)
    kept, left = map(int, done.stdout.split())
    assert kept > 150, done.stderr
    assert left < 20


def test_three_variables_say_all_and_nothing_is_detected():
    program = (
        "from synthct_jax.runtime.environment import join_other_processes;"
        "join_other_processes();"
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
    done = run(
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
def test_a_start_of_several_processes_that_is_half_told_is_refused(variables):
    program = (
        "from synthct_jax.runtime.environment import join_other_processes;"
        "join_other_processes()"
    )
    done = run(program, **variables)
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


def test_a_number_of_processes_that_is_none_is_named():
    done = run(
        "from synthct_jax.runtime.environment import join_other_processes;"
        "join_other_processes();",
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

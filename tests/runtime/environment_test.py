"""Environment variables for each platform."""

import os

import pytest
from programs import run_program

from synthct_jax.runtime import environment
from synthct_jax.runtime.environment import CPU_FLAGS, GPU_OVERLAP_FLAG

DETERMINISTIC = "--xla_gpu_deterministic_ops=true"  # recommended in the documentation


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that makes packages of these names importable.

    XLA_FLAGS is not set; other variables are the user's.
    """
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


def xla_flags() -> set[str]:
    environment.set_environment()
    return set(os.environ.get("XLA_FLAGS", "").split())


def test_machine_without_accelerators_gets_the_cpu_flags(install):
    assert xla_flags() == {*CPU_FLAGS}


@pytest.mark.parametrize("plugin", ["jax_cuda13_plugin", "jax_cuda12_plugin"])
@pytest.mark.parametrize("platforms", [None, "cuda", "gpu,cpu"])
def test_gpus_overlap_communication_with_computation(
    install, monkeypatch, plugin, platforms
):
    install(plugin)
    if platforms:
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
    assert xla_flags() == {*CPU_FLAGS, GPU_OVERLAP_FLAG}


def test_gpu_flag_is_not_set_if_jax_is_told_to_use_the_cpu(install, monkeypatch):
    install("jax_cuda13_plugin")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert xla_flags() == {*CPU_FLAGS}


def test_flags_of_the_user_are_kept_and_added_to(install, monkeypatch):
    install("jax_cuda13_plugin")
    mine = "--xla_gpu_enable_latency_hiding_scheduler=false"
    monkeypatch.setenv("XLA_FLAGS", mine)
    assert xla_flags() == {mine, *CPU_FLAGS}


def test_no_flag_is_set_where_libtpu_would_read_it(install):
    install("libtpu")
    before = os.environ.get("LIBTPU_INIT_ARGS")
    assert xla_flags() == set()
    assert os.environ.get("LIBTPU_INIT_ARGS") == before


def test_environment_is_the_same_when_set_twice(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    for _ in range(2):
        environment.set_environment()
        assert os.environ["XLA_FLAGS"].split() == [*CPU_FLAGS]
    assert ".cache/synthct_jax/xla/" in os.environ["JAX_COMPILATION_CACHE_DIR"]


def test_programs_for_different_numbers_of_cpus_are_cached_apart(monkeypatch):
    folders = []
    for cpus in ({0}, {0, 1}):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, c=cpus: c, raising=False)
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
        environment.set_environment()
        folders.append(os.environ["JAX_COMPILATION_CACHE_DIR"])
    assert len(set(folders)) == 2


def test_variables_of_the_user_are_kept(monkeypatch):
    mine = "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_REDUCE"
    monkeypatch.setenv("XLA_FLAGS", mine)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/mine")
    environment.set_environment()
    assert os.environ["XLA_FLAGS"].split() == [mine, *CPU_FLAGS[1:]]
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "/mine"


def test_untested_jaxlib_gets_no_flag_that_could_abort_it(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--other")
    monkeypatch.setattr(environment.importlib.metadata, "version", lambda _: "0.11.0")
    environment.set_environment()
    assert os.environ["XLA_FLAGS"] == "--other"


def test_installed_xla_accepts_the_environment_without_a_message():
    program = """
from synthct_jax.runtime.environment import set_environment
set_environment()
import jax
print(jax.numpy.ones(3).sum())
"""
    done = run_program(program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3.0\n", "")


def test_installed_xla_knows_every_flag():
    # XLA's builds for CPUs and for GPUs parse the same flags.
    flags = " ".join([*CPU_FLAGS, GPU_OVERLAP_FLAG, DETERMINISTIC])
    program = "import jax; print(jax.jit(lambda x: x + 1)(1.0))"
    done = run_program(program, XLA_FLAGS=flags)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2.0\n", "")
    refused = run_program(program, XLA_FLAGS=f"{flags} --xla_gpu_no_such_flag=1")
    assert refused.returncode != 0 and "Unknown flag" in refused.stderr

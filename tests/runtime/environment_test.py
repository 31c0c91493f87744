"""Environment variables for each platform, huge pages, and the switch of all that."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest
from programs import run_program

from synthct_jax.runtime import environment
from synthct_jax.runtime.environment import CPU_FLAGS, GPU_OVERLAP_FLAG

DETERMINISTIC = "--xla_gpu_deterministic_ops=true"  # recommended in the documentation
OF_THE_USER = "--xla_gpu_enable_latency_hiding_scheduler=false"
FUSION_OF_THE_USER = f"{CPU_FLAGS[0]}LIBRARY_FUSION_TYPE_REDUCE"
PLUGIN = "jax_cuda13_plugin"


@pytest.mark.parametrize(
    ("package", "platforms", "before", "expected"),
    [
        (None, "", "", {*CPU_FLAGS}),
        *(
            (plugin, platforms, "", {*CPU_FLAGS, GPU_OVERLAP_FLAG})
            for plugin in (PLUGIN, "jax_cuda12_plugin")
            for platforms in ("", "cuda", "gpu,cpu")
        ),
        (PLUGIN, "cpu", "", {*CPU_FLAGS}),
        (PLUGIN, "", OF_THE_USER, {OF_THE_USER, *CPU_FLAGS}),
        (None, "", FUSION_OF_THE_USER, {FUSION_OF_THE_USER, *CPU_FLAGS[1:]}),
        ("libtpu", "", "", set()),  # it would read them
    ],
)
def test_flags_of_xla_are_those_of_the_platform_and_of_the_user(
    package, platforms, before, expected, tmp_path, monkeypatch
):
    if package:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(environment, "TESTED_JAX", "")  # whatever is installed
    for name, value in {
        "XLA_FLAGS": before,
        "JAX_PLATFORMS": platforms,
        "JAX_COMPILATION_CACHE_DIR": "/mine",
        "LIBTPU_INIT_ARGS": "mine",
    }.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):  # the same when it is set twice
        environment.set_environment()
        assert set(os.environ["XLA_FLAGS"].split()) == expected
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "/mine"
    assert os.environ["LIBTPU_INIT_ARGS"] == "mine"


def test_release_of_jax_that_was_not_tested_gets_no_flags(monkeypatch):
    monkeypatch.setattr(environment, "TESTED_JAX", "none")
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/mine")
    environment.set_environment()
    assert os.environ["XLA_FLAGS"] == ""


def test_programs_for_different_numbers_of_cpus_are_cached_apart(monkeypatch):
    folders = []
    monkeypatch.setenv("XLA_FLAGS", "")
    for cpus in ({0}, {0, 1}):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, c=cpus: c, raising=False)
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
        environment.set_environment()
        folders.append(os.environ["JAX_COMPILATION_CACHE_DIR"])
    assert all(".cache/synthct_jax/xla/" in folder for folder in folders)
    assert len(set(folders)) == 2


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


def test_a_device_without_its_package_is_refused(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "untouched")
    monkeypatch.setitem(environment.DEVICES, "gpu", ("no_such_plugin",))
    with pytest.raises(ValueError, match="--device=gpu: not installed: no_such_plugin"):
        environment.choose_device("gpu")
    assert os.environ["JAX_PLATFORMS"] == "untouched"
    environment.choose_device("cpu")
    assert os.environ["JAX_PLATFORMS"] == "cpu"


@pytest.mark.parametrize("device", ["gpu", "tpu"])
def test_a_device_that_is_not_there_is_refused_by_name(device):
    if environment.has_gpu_plugin() or importlib.util.find_spec("libtpu"):
        pytest.skip("this installation reaches GPUs or TPUs")
    done = run_program(
        f"""
from synthct_jax.runtime import environment
environment.DEVICES["{device}"] = ("jaxlib",)  # as if the package were installed
environment.choose_device("{device}")
for chosen in "{device}", None:
    try:
        environment.require_device(chosen)
    except ValueError as error:
        print(error)
"""
    )
    by_flag, by_variable = done.stdout.splitlines()
    assert by_flag.startswith(f"--device={device}: this machine has none")
    assert re.match("JAX_PLATFORMS=(cuda|tpu): this machine has none", by_variable)


# --- huge pages -----------------------------------------------------------------------

MADVISE = "always [madvise] never\n"


@pytest.mark.parametrize(
    ("policy", "libc", "tunables", "expected"),
    [
        (MADVISE, "glibc 2.36", None, {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}),
        ("[always] madvise never\n", "glibc 2.36", None, {}),
        ("always madvise [never]\n", "glibc 2.36", None, {}),
        (None, "glibc 2.36", None, {}),  # no Linux
        (MADVISE, "glibc 2.31", None, {}),  # too old
        (MADVISE, "musl 1.2", None, {}),
        (MADVISE, "glibc 2.36", "glibc.malloc.check=1", {}),
    ],
)
def test_huge_pages_are_requested_where_kernel_and_glibc_need_a_request(
    tmp_path, monkeypatch, policy, libc, tunables, expected
):
    if policy:
        (tmp_path / "enabled").write_text(policy)
    monkeypatch.setattr(environment, "_HUGE_PAGES", tmp_path / "enabled")
    monkeypatch.setattr(os, "confstr", lambda name: libc)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if tunables:
        monkeypatch.setenv("GLIBC_TUNABLES", tunables)
    assert environment.huge_page_environment() == expected


def run_file(path, program, *arguments):
    """Run a program that is not tuned yet."""
    path.write_text(program)
    ours = ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR", "GLIBC_TUNABLES", "SYNTHCT_TUNE")
    variables = {name: v for name, v in os.environ.items() if name not in ours}
    done = subprocess.run(
        [sys.executable, path, *arguments],
        env={**variables, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_program_restarts_once_with_its_arguments_and_process_id(tmp_path):
    (tmp_path / "enabled").write_text(MADVISE)
    program = f"""
import os, pathlib, sys
from synthct_jax.runtime import environment
print("start", os.getpid(), flush=True)
environment._HUGE_PAGES = pathlib.Path({str(tmp_path / "enabled")!r})
os.confstr = lambda name: "glibc 2.36"
environment.restart_with_huge_pages()
print(os.environ["GLIBC_TUNABLES"], sys.argv[1:], __name__)
"""
    output = run_file(tmp_path / "program.py", program, "a b", "--c=d")
    first, second, last = output.splitlines()
    assert first == second  # the same process
    assert last == "glibc.malloc.hugetlb=1 ['a b', '--c=d'] __main__"


@pytest.mark.skipif(
    not environment.huge_page_environment(), reason="no huge pages on request"
)
def test_huge_pages_save_page_faults_of_large_arrays():
    program = """
import resource
import jax, jax.numpy as jnp

@jax.jit
def step(x):  # a temporary array of 256 MiB
    y = jax.lax.optimization_barrier(jnp.tile(x, (64, 1024)))
    return (y @ y.T).sum()

for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    jax.block_until_ready(step(jnp.ones((16, 64))))
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""
    plain, huge = (
        run_program(program, **more)
        for more in ({}, environment.huge_page_environment())
    )
    assert int(plain.stdout) > 20_000, plain.stderr
    assert int(huge.stdout) < 5_000, huge.stderr


# --- the switch -----------------------------------------------------------------------

TUNES = """
import os, sys
from synthct_jax.runtime import environment
environment.tune_process(sys.argv[1:])
import numpy as np
from synthct_jax.layers.cpu import onednn
print(
    *(name in os.environ for name in ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")),
    "GLIBC_TUNABLES" in os.environ,
    onednn.computes(onednn.LEAST_FLOPS, np.dtype("float32")),
    onednn.available(),
)
"""


@pytest.mark.parametrize(
    ("argument", "tuned"),
    [("--config=x", True), ("--notune", False), ("-notune", False)],
)
def test_one_flag_switches_off_everything_that_tunes_the_process(
    tmp_path, argument, tuned
):
    output = run_file(tmp_path / "program.py", TUNES, argument)
    flags, cache, huge_pages, uses_onednn, has_onednn = output.split()
    assert flags == str(tuned and environment.is_tested_jax())
    assert cache == str(tuned)
    assert uses_onednn == (has_onednn if tuned else "False")
    if not tuned:
        assert huge_pages == "False"

"""Huge pages, and what glibc does with freed memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from programs import run_program

from synthct_jax.runtime import cpu_memory

MADVISE = "always [madvise] never\n"


@pytest.mark.parametrize(
    ("policy", "libc", "tunables", "expected"),
    [
        (MADVISE, "glibc 2.36", None, {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}),
        ("[always] madvise never\n", "glibc 2.36", None, {}),
        ("always madvise [never]\n", "glibc 2.36", None, {}),
        (MADVISE, "glibc 2.31", None, {}),  # too old
        (MADVISE, "musl 1.2", None, {}),
        (MADVISE, "glibc 2.36", "glibc.malloc.check=1", {}),
    ],
)
def test_huge_pages_are_requested_where_kernel_and_glibc_need_a_request(
    tmp_path, monkeypatch, policy, libc, tunables, expected
):
    (tmp_path / "enabled").write_text(policy)
    monkeypatch.setattr(cpu_memory, "_HUGE_PAGES", tmp_path / "enabled")
    monkeypatch.setattr(os, "confstr", lambda name: libc)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if tunables:
        monkeypatch.setenv("GLIBC_TUNABLES", tunables)
    assert cpu_memory.huge_page_environment() == expected


def test_system_without_huge_pages_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(cpu_memory, "_HUGE_PAGES", tmp_path / "enabled")
    assert cpu_memory.huge_page_environment() == {}


def test_program_restarts_once_with_its_arguments_and_process_id(tmp_path):
    (tmp_path / "enabled").write_text(MADVISE)
    program = tmp_path / "program.py"
    program.write_text(f"""
import os, pathlib, sys
from synthct_jax.runtime import cpu_memory
print("start", os.getpid(), flush=True)
cpu_memory._HUGE_PAGES = pathlib.Path({str(tmp_path / "enabled")!r})
os.confstr = lambda name: "glibc 2.36"
cpu_memory.restart_with_huge_pages()
print(os.environ["GLIBC_TUNABLES"], sys.argv[1:], __name__)
""")
    variables = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    done = subprocess.run(
        [sys.executable, program, "a b", "--c=d"],
        env={**variables, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first, second, last = done.stdout.splitlines()
    assert first == second  # the same process
    assert last == "glibc.malloc.hugetlb=1 ['a b', '--c=d'] __main__"


@pytest.mark.skipif(
    not cpu_memory.huge_page_environment(), reason="no huge pages on request"
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
        for more in ({}, cpu_memory.huge_page_environment())
    )
    assert int(plain.stdout) > 20_000, plain.stderr
    assert int(huge.stdout) < 5_000, huge.stderr


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
def test_freed_memory_is_kept_until_it_is_returned():
    program = """
from synthct_jax.runtime import cpu_memory

def megabytes():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 // 2**20

cpu_memory.keep_freed_memory()
before = megabytes()
taken = [bytes(2**20) for _ in range(200)]  # each large enough for a mapping of its own
del taken
kept = megabytes() - before
cpu_memory.return_freed_memory()
print(kept, megabytes() - before)
"""
    done = run_program(program)
    kept, left = map(int, done.stdout.split())
    assert kept > 150, done.stderr
    assert left < 20

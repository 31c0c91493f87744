from pathlib import Path

import pytest
from programs import run_program


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

"""The one switch of everything that tunes a process."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from synthct_jax.runtime import tuning
tuning.tune_process(sys.argv[1:])
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
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    ours = ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR", "GLIBC_TUNABLES", "SYNTHCT_TUNE")
    done = subprocess.run(
        [sys.executable, program, argument],
        env={
            **{name: v for name, v in os.environ.items() if name not in ours},
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    flags, cache, huge_pages, uses_onednn, has_onednn = done.stdout.split()
    assert flags == cache == str(tuned)
    assert uses_onednn == (has_onednn if tuned else "False")
    if not tuned:
        assert huge_pages == "False"

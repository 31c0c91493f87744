"""Other programs that tests need, and Python source in a process of its own."""

import os
import shutil
import subprocess
import sys

import pytest


def need(*names: str) -> None:
    """Skip the test if one of the programs is missing; in CI that is a failure."""
    path = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
    missing = [name for name in names if shutil.which(name, path=path) is None]
    if not missing:
        return
    message = f"not installed: {', '.join(missing)}"
    if os.environ.get("SYNTHCT_REQUIRE_PROGRAMS"):
        pytest.fail(message)
    pytest.skip(message)


def run_program(program: str, **variables: str) -> subprocess.CompletedProcess:
    """Run Python source in a process of its own, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )

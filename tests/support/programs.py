"""Other programs that tests need, and Python source in a process of its own."""

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest


def need(*names: str) -> None:
    """Skip the test if a program or package is missing; in CI that is a failure."""
    path = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
    missing = [
        name
        for name in names
        if shutil.which(name, path=path) is None
        and importlib.util.find_spec(name) is None
    ]
    if missing:
        end = pytest.fail if os.environ.get("SYNTHCT_REQUIRE_PROGRAMS") else pytest.skip
        end(f"not installed: {', '.join(missing)}")


def run_program(program: str, **variables: str) -> subprocess.CompletedProcess:
    """Run Python source in a process of its own, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )

"""Programs on eight virtual devices that print a line of JSON for each result."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from paths import PYTHONPATH, REPOSITORY


def run_on_eight_devices(program: str, *arguments: str, **environment: str) -> list:
    """Run a program of tests/support; return what its lines of output hold."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(program)), *arguments],
        env={
            **os.environ,
            "JAX_NUM_CPU_DEVICES": "8",
            "PYTHONPATH": PYTHONPATH,
            **environment,
        },
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results: list[Any] = [json.loads(line) for line in done.stdout.splitlines()]
    return results

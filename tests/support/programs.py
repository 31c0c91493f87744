"""Programs besides Python that tests run if they are installed."""

import os
import shutil

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

"""Fixtures shared by all tests, and how JAX is started for them."""

import os
from pathlib import Path

import pytest

# Tests compile much and compute little: less of the compiler's effort is faster here.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real scans; tests that need it skip where it is absent, never in CI."""
    default = REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("SYNTHCT_REAL_DATA", default))
    if not folder.is_dir():
        message = f"real scans are not at {folder} (set SYNTHCT_REAL_DATA)"
        if os.environ.get("SYNTHCT_REQUIRE_REAL_DATA"):
            pytest.fail(message)
        pytest.skip(message)
    return folder

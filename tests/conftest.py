"""Fixtures shared by all tests, and how JAX is started for them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import REPOSITORY

from synthct_jax.runtime.environment import CPU_FLAGS

# Read by JAX when it is imported, here and in the processes that tests start. Tests
# compile much and compute little: less of the compiler's effort is faster, and what
# two of them need is compiled once. JAX does not lock the folder, so that tests which
# run side by side have one each.
os.environ["XLA_FLAGS"] = " ".join([*CPU_FLAGS, "--xla_backend_optimization_level=1"])
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "all")
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(
    REPOSITORY / ".pytest_cache" / f"xla_{_WORKER}"
)
# Two devices, so that every test of training is one of sharding as well.
os.environ["JAX_NUM_CPU_DEVICES"] = "2"


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


@pytest.fixture
def programs_are_stored_again() -> Iterator[None]:
    """After a test whose products are large enough for oneDNN."""
    import jax

    from synthct_jax.layers.cpu import onednn

    setting = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, setting)
    yield
    jax.config.update(setting, before)
    onednn.available.cache_clear()

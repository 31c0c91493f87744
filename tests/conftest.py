"""Environment of JAX for the tests, and fixtures that several of them use."""

import os
from pathlib import Path

import pytest
from compilation import FAST_COMPILATION
from paths import REPOSITORY

from synthct_jax.runtime.environment import CPU_FLAGS

# JAX reads these when it is imported, here and in the processes that tests start. Tests
# compile much and compute little, so the compiler does less, and programs are cached.
# JAX does not lock the cache, so each worker of pytest-xdist has its own.
os.environ["XLA_FLAGS"] = " ".join([*CPU_FLAGS, FAST_COMPILATION])
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "all")
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(
    REPOSITORY / ".pytest_cache" / f"xla_{_WORKER}"
)
# Two devices, so that every test of training tests sharding as well.
os.environ["JAX_NUM_CPU_DEVICES"] = "2"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first what takes longest, so that no worker waits for another in the end."""
    longest = ("parallel", "model", "end_to_end")
    items.sort(key=lambda item: item.path.parent.name not in longest)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real scans; skip the test if it is absent, but not in CI."""
    default = REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("SYNTHCT_REAL_DATA", default))
    if not folder.is_dir():
        message = f"real scans are not at {folder} (set SYNTHCT_REAL_DATA)"
        if os.environ.get("SYNTHCT_REQUIRE_REAL_DATA"):
            pytest.fail(message)
        pytest.skip(message)
    return folder

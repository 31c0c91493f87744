"""The wheel holds all that `pip install` is to bring, and nothing else."""

import shutil
import subprocess
import sys
import zipfile

import pytest
from paths import REPOSITORY

BUILD = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy: a build leaves files in the tree."""
    copy = tmp_path_factory.mktemp("repository")
    for name in ("configs", "input_pipeline", "synthct_jax", "tests"):
        shutil.copytree(
            REPOSITORY / name,
            copy / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, copy)
    subprocess.run([sys.executable, "-c", BUILD, copy], cwd=copy, check=True)
    (path,) = copy.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def sources(folder: str, *patterns: str) -> set[str]:
    paths = (path for p in patterns for path in (REPOSITORY / folder).rglob(p))
    return {str(path.relative_to(REPOSITORY)) for path in paths}


def test_packages_configurations_and_models_are_in_the_wheel(wheel):
    names = set(wheel.namelist())
    wanted = sources("input_pipeline", "*.py", "py.typed")
    wanted |= sources("synthct_jax", "*.py", "py.typed", "templates/*.*")
    wanted |= sources("synthct_jax/quality", "*.schema.json")
    wanted |= sources("synthct_jax/quality/niivue", "*")
    wanted |= sources("synthct_jax/models", "*.safetensors", "*.json")
    wanted |= {f"synthct_jax/{name}" for name in sources("configs", "*.py", "*.json")}
    assert len(wanted) > 200 and not wanted - names
    others = {name for name in names if ".dist-info/" not in name}
    assert others == wanted


def test_console_command_is_the_program(wheel):
    (entry_points,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    assert "synthct = synthct_jax.main:run" in wheel.read(entry_points).decode()

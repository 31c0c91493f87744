"""The recipes of the container images, checked without building them."""

import re
import tomllib

from paths import REPOSITORY

LAUNCH = REPOSITORY / "launch"
DOCKERFILE = (LAUNCH / "Dockerfile").read_text()
APPTAINER = (LAUNCH / "apptainer.def").read_text()


def docker_copies() -> set[str]:
    return {
        source
        for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }


def test_copied_paths_exist_and_are_not_ignored():
    copied = docker_copies()
    assert copied and all((REPOSITORY / name).exists() for name in copied)
    ignored, *rest = re.findall(
        r"^[^#\n]+$", (LAUNCH / "Dockerfile.dockerignore").read_text(), re.MULTILINE
    )
    assert ignored == "*"
    assert {line[1:] for line in rest if line.startswith("!")} == copied


def test_both_recipes_copy_the_same_paths():
    files = APPTAINER.split("%files")[1].split("%")[0]
    assert {line.split()[0] for line in files.strip().splitlines()} == docker_copies()
    base = re.search(r"^FROM (\S+)$", DOCKERFILE, re.MULTILINE)[1]
    assert f"\nFrom: {base}\n" in APPTAINER
    for command in re.findall(r"pip install .+$", DOCKERFILE, re.MULTILINE):
        assert command in APPTAINER
    pins = re.search(r"sed -nE .+pinned\.txt", DOCKERFILE)[0]
    assert pins in APPTAINER


def test_every_pin_of_the_lock_file_is_kept():
    written = re.search(r"sed -nE 's/(.+)/\\1/p'", DOCKERFILE)[1]
    lock = (REPOSITORY / "requirements.lock").read_text()
    matches = [re.match(written, line) for line in lock.splitlines()]
    pinned = [match[1] for match in matches if match]
    assert len(pinned) == lock.count("==") > 50
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pinned)


def test_python_version_and_extras_are_those_of_the_project():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    lock = (REPOSITORY / "requirements.lock").read_text()
    version = re.search(r"^FROM python:(\d+\.\d+)-", DOCKERFILE, re.MULTILINE)[1]
    assert f"Python {version}" in lock.replace("\n# ", " ")
    named = re.search(r"^# One of (.+);", DOCKERFILE, re.MULTILINE)[1]
    assert set(named.split(", ")) <= set(project["optional-dependencies"])

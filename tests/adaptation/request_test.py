"""Requests to adapt: the training that fits a model, and those that are refused."""

import errno
import os
from pathlib import Path

import pytest
from noted_runner import NotedRunner

from synthct_jax.adaptation.runner import run_adaptation
from synthct_jax.configs import folder, phantom
from synthct_jax.runtime import messages

NO_STEPS = folder.get_config("anchored_in_out_noncontrast")
NO_STEPS.train.steps = -1


@pytest.fixture
def raw_dir(tmp_path):
    for domain in ("mr", "ct"):
        (tmp_path / "raw" / domain).mkdir(parents=True)
    return tmp_path / "raw"


def test_overrides_of_the_configuration_reach_the_modes(tmp_path, raw_dir):
    modes, name = NotedRunner(), "folder:anchored_in_out_noncontrast"
    run_adaptation(
        "in_out_noncontrast",
        raw_dir,
        tmp_path / "new.safetensors",
        config=folder.get_config("anchored_in_out_noncontrast"),
        source=(name, {"train.steps": 4, "data.split": [0.8, 0.2, 0.0]}),
        subprocesses=modes,
    )
    assert modes.arguments[1:4] == (
        f"--config={name}",
        "--config.train.steps=4",
        "--config.data.split=(0.8, 0.2, 0.0)",
    )


@pytest.mark.parametrize("model", ["in_out_noncontrast", "in_out_portal_venous"])
def test_shipped_model_is_trained_by_its_anchored_variant(model, tmp_path, raw_dir):
    modes = NotedRunner()
    output = tmp_path / "new.safetensors"
    assert run_adaptation(model, raw_dir, output, subprocesses=modes) == 1
    assert modes.arguments == (
        "--mode=prepare",
        f"--config=folder:anchored_{model}",
        f"--raw_dir={raw_dir}",
        f"--data_dir={tmp_path / 'new_adaptation' / 'data'}",
    )
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"raw", "new_adaptation"}


@pytest.mark.parametrize("step", ["data", "run", "after"])
def test_folder_of_another_adaptation_is_refused_once_something_is_done(
    step, tmp_path, raw_dir
):
    output, modes = tmp_path / "new.safetensors", NotedRunner()
    for name in ("in_noncontrast", "in_out_noncontrast"):
        assert run_adaptation(name, raw_dir, output, subprocesses=modes) == 1
    (tmp_path / "new_adaptation" / step).mkdir()
    with pytest.raises(ValueError, match="with .*in_out_nonc.*not with .*out_nonc"):
        run_adaptation("out_noncontrast", raw_dir, output, subprocesses=modes)


def test_folder_without_scans_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="--raw_dir: .*raw/mr: no such folder"):
        run_adaptation("in_noncontrast", tmp_path / "raw", tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [None, "work"])
def test_place_that_cannot_be_written_is_named_with_its_flag(
    tmp_path, raw_dir, monkeypatch, given
):
    read_only, mkdir = tmp_path / "disk", Path.mkdir

    def mkdir_or_fail(path, *args, **options):
        if read_only in path.parents:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        mkdir(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir_or_fail)
    output, workdir = read_only / "new.safetensors", given and read_only / given
    with pytest.raises(OSError, match="Read-only") as raised:
        run_adaptation("in_noncontrast", raw_dir, output, workdir=workdir)
    said = messages.describe(raised.value)
    assert f"{read_only / (given or 'new_adaptation')}: Read-only file system" in said
    assert "--workdir names" in said and "beside --output" in said


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (folder.get_config(), "loss.simulated 0.0, expected cyclegan and a weight"),
        (phantom.get_config(), "data.source is 'phantom', expected 'folder'"),
        (NO_STEPS, "train.steps is -1, expected 1 or more"),
    ],
)
def test_training_that_cannot_adapt_is_refused(config, message, tmp_path, raw_dir):
    output = tmp_path / "new.safetensors"
    with pytest.raises(ValueError, match=message):
        run_adaptation(
            "in_out_noncontrast",
            raw_dir,
            output,
            config=config,
            source=("my.py", {}),
        )
    assert list(tmp_path.iterdir()) == [raw_dir]

"""Requests to adapt: the training that fits a model, and those that are refused."""

import pytest

from synthct_jax.adaptation.runner import run_adaptation
from synthct_jax.configs import folder, phantom


class Failing:
    """Stands in for SubprocessRunner: notes the first mode, which fails."""

    stopped = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run(self, *arguments: str) -> int:
        self.arguments = arguments
        return 1


def test_overrides_of_the_configuration_reach_the_modes(tmp_path):
    modes, name = Failing(), "folder:anchored_in_out_noncontrast"
    run_adaptation(
        "in_out_noncontrast",
        tmp_path,
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
def test_shipped_model_is_trained_by_its_anchored_variant(model, tmp_path):
    modes, raw_dir = Failing(), tmp_path / "raw"
    output = tmp_path / "new.safetensors"
    assert run_adaptation(model, raw_dir, output, subprocesses=modes) == 1
    assert modes.arguments == (
        "--mode=prepare",
        f"--config=folder:anchored_{model}",
        f"--raw_dir={raw_dir}",
        f"--data_dir={tmp_path / 'new_adaptation' / 'data'}",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["new_adaptation"]


def test_folder_of_another_adaptation_is_refused(tmp_path):
    output = tmp_path / "new.safetensors"
    names = ("in_noncontrast", "out_noncontrast")
    run_adaptation(names[0], tmp_path, output, subprocesses=Failing())
    with pytest.raises(ValueError, match="with .*in_noncontrast.*not with .*out_nonc"):
        run_adaptation(names[1], tmp_path, output, subprocesses=Failing())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (folder.get_config(), "loss.simulated 0.0, expected cyclegan and a weight"),
        (phantom.get_config(), "data.source is 'phantom', expected 'folder'"),
    ],
)
def test_training_that_is_not_anchored_is_refused(config, message, tmp_path):
    output = tmp_path / "new.safetensors"
    with pytest.raises(ValueError, match=message):
        run_adaptation(
            "in_out_noncontrast",
            tmp_path,
            output,
            config=config,
            source=("my.py", {}),
        )
    assert not list(tmp_path.iterdir())

"""Words in place of flags, and help."""

import sys

import pytest
from paths import REPOSITORY

from synthct_jax import flags, main
from synthct_jax.runtime import flag_help
from synthct_jax.runtime.arguments import CONFIGS, arguments_as_flags, config_names


def test_words_stand_for_flags():
    words = ["train", "--config=phantom:in", "--workdir=train"]
    assert arguments_as_flags(words, modes=flags.MODES) == [
        "--mode=train",
        f"--config={CONFIGS}/phantom.py:in",
        "--workdir=train",
    ]
    as_ever = ["--config=configs/phantom.py:in", "--config.model.width=8", "train"]
    assert arguments_as_flags(as_ever, modes=flags.MODES) == as_ever


def test_shipped_configurations_are_those_of_the_repository():
    assert CONFIGS.resolve() == REPOSITORY / "configs"
    assert config_names() == ["chaos", "folder", "phantom", "simulated"]


@pytest.mark.parametrize("mode", flags.MODES)
def test_help_of_a_mode_names_its_flags_and_an_example(mode):
    text = flag_help.help_for([mode, "-h"], overview="")
    needed = flags.MODES[mode].needs
    assert all(f"\n  --{name}\n" in text for name in needed)
    assert f"  synthct {mode} " in text
    others = [other for other in flags.MODES if f" {other}: " in text.split("\n", 1)[1]]
    assert not others  # what a flag does in other modes
    assert flag_help.help_for([f"--mode={mode}", "--help"], overview="") == text


def test_overview_lists_the_modes_and_versions_are_told():
    overview = flag_help.help_for([], overview="About.")
    assert overview.startswith("About.")
    assert all(f"\n  {mode} " in overview for mode in flags.MODES)
    assert flag_help.help_for(["--version"], overview="").startswith("synthct_jax ")
    assert flag_help.help_for(["train", "--config=x"], overview="") is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "\nModes:\n\n  translate "),
        (["-h"], "\nModes:\n\n  translate "),
        (["help"], "\nModes:\n\n  translate "),
        (["translate", "-h"], "\n  --input\n      an MR."),
        (["organs", "--help"], "\n  --input\n      synthetic CT, comma-separated"),
        (["--version"], "synthct_jax "),
    ],
)
def test_help_and_version_are_printed_before_anything_starts(
    arguments, expected, monkeypatch, capsys
):
    def tune_process(_):
        raise AssertionError("the process is tuned, which may restart it")

    monkeypatch.setattr(main.environment, "tune_process", tune_process)
    monkeypatch.setattr(sys, "argv", ["synthct", *arguments])
    with pytest.raises(SystemExit) as ended:
        main.run()
    assert ended.value.code == 0
    assert expected in capsys.readouterr().out

"""The demonstration: its commands in order, and once only."""

import pytest

from synthct_jax import demo


@pytest.fixture
def commands(monkeypatch):
    """Stand in for the modes: note their commands, and make their outputs."""
    noted = []

    def run(*arguments):
        flags = dict(a.removeprefix("--").split("=", 1) for a in arguments)
        noted.append(flags)
        if "output" in flags:
            demo.Path(flags["output"]).mkdir(parents=True, exist_ok=True)
        elif flags.get("mode") == "evaluate":
            report = demo.Path(flags["workdir"]) / "evaluation" / "9" / "report.html"
            report.parent.mkdir(parents=True)
            report.touch()

    monkeypatch.setattr(demo, "run", run)
    monkeypatch.setattr(demo, "draw_patient", lambda folder: folder.mkdir(parents=True))
    return noted


def test_patient_is_translated_before_and_after_the_training(commands, tmp_path):
    assert demo.main(tmp_path) == 0
    modes = [flags.get("mode", "train") for flags in commands]
    assert modes == [
        *("translate", "train", "evaluate", "evaluate", "compare", "translate")
    ]
    patient = str(tmp_path / "patient" / "mr")
    assert {flags["input"] for flags in commands if "input" in flags} == {patient}
    own, shipped = commands[4]["runs"].split(",")
    assert own == commands[1]["workdir"] and shipped == commands[3]["output"]


def test_repetition_translates_nothing_again(commands, tmp_path):
    demo.main(tmp_path)
    (tmp_path / "evaluation" / "9" / "report.html").unlink()
    (tmp_path / "evaluation" / "9").rmdir()
    (tmp_path / "evaluation").rmdir()
    del commands[:]
    demo.main(tmp_path)
    assert "translate" not in [flags.get("mode") for flags in commands]

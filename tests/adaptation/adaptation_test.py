"""Adaptations to drawn scans of another scanner: accepted, refused, interrupted."""

import dataclasses
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from noted_runner import NotedRunner
from tiny_model import write_tiny_model

from input_pipeline.command_line import USAGE_ERROR, parse_flags
from input_pipeline.phantom import draw_subject
from input_pipeline.phantom.dicom import write_dicom
from input_pipeline.scans.nifti import write_nifti
from input_pipeline.volume import Volume
from synthct_jax import main
from synthct_jax.adaptation import runner
from synthct_jax.checkpoint.metadata import list_steps
from synthct_jax.checkpoint.model_file import read_model
from synthct_jax.runtime import processes, signals
from synthct_jax.runtime.loss_log import LossLog

# ml_collections loads configuration files in an old way.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

NAME = "CANARY"
CONFIG = """
from tiny_run import tiny_config

def get_config():
    config = tiny_config(evaluate_every=0, learning_rate=3e-3)
    config.data.source = "folder"
    config.loss.simulated = 100.0
    config.phantom.update(anatomies=2, scanner="randomised", slices=3, slice_mm=12.0)
    # 10 people, the fewest for limits; errors are measured on two.
    config.phantom.update(train_mr=7, validation=1, test=2)
    return config
"""


def run_mode(*arguments: str) -> int:
    """Run a mode in this process; return its status."""
    argv = sys.argv
    with flagsaver.flagsaver():
        flags.FLAGS.unparse_flags()
        sys.argv = ["main", *arguments]  # ml_collections looks there
        try:
            return main.main(parse_flags(sys.argv))
        finally:
            sys.argv = argv


class Modes(NotedRunner):
    """Stands in for SubprocessRunner: runs the modes here, and notes them."""

    noted: list[str] = []

    def run(self, *arguments: str) -> int:
        self.noted.append(arguments[0].removeprefix("--mode="))
        return run_mode(*arguments)


@pytest.fixture(autouse=True)
def modes(monkeypatch):
    monkeypatch.setattr(processes, "init_distributed", lambda: None)
    monkeypatch.setattr(runner, "SubprocessRunner", Modes)
    monkeypatch.setattr(Modes, "noted", [])
    return Modes.noted


def write_site(folder: Path) -> None:
    """Write MR of three people, and CT of three others."""
    fields = dict(size=30, spacing_mm=13.0, slices=4, slice_mm=20.0)
    for number in range(6):
        subject = draw_subject(number, scanner="other_vendor", **fields)
        domain = folder / ("mr", "ct")[number % 2] / f"{NAME}_{number}"
        domain.mkdir(parents=True)
        if number % 2:
            hu = np.round(subject.ct_hu).astype(np.int16)
            ct = Volume(
                voxels=hu[..., None],
                affine=subject.affine,
                modality="CT",
                channels=("hu",),
            )
            write_nifti(domain / "ct.nii.gz", hu, ct)
        else:
            write_dicom(domain, subject)


def adapt(root: Path, workdir: Path, *more: str, config: str = "config.py") -> int:
    return run_mode(
        *("--mode=adapt", f"--model={root / 'tiny.safetensors'}"),
        *(f"--config={root / config}", f"--raw_dir={root / 'raw'}"),
        *(f"--workdir={workdir}", f"--output={workdir.parent / 'new.safetensors'}"),
        *more,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site's scans, a model and the configuration of its adaptation."""
    root = tmp_path_factory.mktemp("site")
    write_site(root / "raw")
    write_tiny_model(root / "tiny.safetensors")
    (root / "config.py").write_text(CONFIG)
    (root / "spoiling.py").write_text(CONFIG.replace("3e-3", "10.0"))
    return root


@dataclasses.dataclass(frozen=True)
class Adaptation:
    """An accepted adaptation, in two calls; tests do not change it."""

    folder: Path
    first: list[str]  # the modes of the call that was interrupted
    second: list[str]


@pytest.fixture(scope="module")
def accepted(site):
    """Return an adaptation whose training is interrupted once, and goes on."""
    folder, noted = site / "accepted", ([], [])
    folder.mkdir()

    def interrupt(losses, step, *arguments, whole=LossLog.add):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(losses, step, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "init_distributed", lambda: None)
        patch.setattr(runner, "SubprocessRunner", Modes)
        patch.setattr(Modes, "noted", noted[0])
        with patch.context() as first:
            first.setattr(LossLog, "add", interrupt)
            assert adapt(site, folder / "work") == signals.RESUMABLE
        assert list_steps(folder / "work" / "run")[-1] < 6
        assert not list(folder.glob("new.*"))
        patch.setattr(Modes, "noted", noted[1])
        assert adapt(site, folder / "work") == 0
    return Adaptation(folder, *noted)


def begin_from(accepted: Adaptation, workdir: Path) -> None:
    """Copy what an adaptation does before its training."""
    later = shutil.ignore_patterns("run", "after", "compare_*")
    shutil.copytree(accepted.folder / "work", workdir, ignore=later)


@pytest.mark.slow
def test_card_of_an_accepted_model_tells_its_origin_and_figures(site, accepted):
    card = read_model(str(accepted.folder / "new.safetensors")).card
    origin = read_model(str(site / "tiny.safetensors")).card
    assert card["weights_sha256"] != origin["weights_sha256"]
    assert card["contrast_medium"] == origin["contrast_medium"]
    assert card["quality"]["volumes"] == 10
    adaptation = card["adaptation"]
    assert (adaptation["from"], adaptation["digest"]) == ("tiny", origin["digest"])
    assert (adaptation["mr_subjects"], adaptation["ct_subjects"]) == (3, 3)
    assert adaptation["worse"] == []
    mae = card["numbers"]["2 simulated people: MAE, HU"]
    assert mae["after"] < 1.1 * mae["before"] and "--raw_dir=RAW" in mae["command"]
    # The model has no limits, the adapted one has.
    light = card["numbers"]["quality sheet of 3 MR: pass"]
    assert light["before"] is None and light["after"] in range(4)
    text = json.dumps(card)
    assert NAME not in text and str(site / "raw") not in text
    pages = accepted.folder.glob("work/compare_*/compare.html")
    assert {page.parent.name for page in pages} == {"compare_simulated", "compare_site"}


@pytest.mark.slow
def test_model_that_training_spoils_is_refused_unless_forced(
    site, accepted, tmp_path, modes, capsys
):
    begin_from(accepted, work := tmp_path / "work")
    assert adapt(site, work, config="spoiling.py") == USAGE_ERROR  # another request
    assert "is an adaptation with" in capsys.readouterr().err and not modes
    request = (work / "request.json").read_text().replace("config.py", "spoiling.py")
    (work / "request.json").write_text(request)
    assert adapt(site, work, config="spoiling.py") == USAGE_ERROR
    assert "MAE of simulated people rose by" in capsys.readouterr().err
    assert not list(tmp_path.glob("new.*"))
    assert modes.count("train") == 1 and "prepare" not in modes
    modes.clear()
    assert adapt(site, work, "--force", config="spoiling.py") == 0
    assert modes == ["translate"] * 2  # finds all patients done
    card = read_model(str(tmp_path / "new.safetensors")).card
    assert card["adaptation"]["worse"][0].startswith("MAE of simulated people rose")


@pytest.mark.slow
def test_interrupted_adaptation_repeats_nothing_that_is_done(accepted):
    measurements = ["evaluate", "evaluate", "translate"]
    assert accepted.first == ["prepare", "prepare", *measurements, "train"]
    assert accepted.second == [
        *("translate", "train", "export", "calibrate"),  # finds all patients done
        *(*measurements, "compare", "compare"),
    ]

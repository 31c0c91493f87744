import os
import shutil
import subprocess
import sys

import pytest
from absl import flags
from absl.testing import flagsaver
from tiny_model import write_tiny_model
from tiny_run import tiny_run, training
from tiny_scans import write_scan

from input_pipeline.command_line import USAGE_ERROR, parse_flags
from synthct_jax import main, train, translate
from synthct_jax.checkpoint.metadata import list_steps
from synthct_jax.evaluation.guard import StoppedByGuard
from synthct_jax.runtime import processes, signals
from synthct_jax.runtime.loss_log import LossLog

# ml_collections loads configuration files in an old way.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.fixture
def parse(monkeypatch):
    """Return a function that parses flags, which are restored after the test."""
    with flagsaver.flagsaver():
        flags.FLAGS.unparse_flags()

        def parse(*arguments):
            # ml_collections looks in sys.argv for overrides of the configuration.
            monkeypatch.setattr(sys, "argv", ["main", *arguments])
            return parse_flags(sys.argv)

        yield parse


CONFIG = "--config=configs/phantom.py"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([CONFIG, "--mode=trian"], "--mode=trian: value should be one of <translate|"),
        (
            [CONFIG, "--config.model.widht=8"],
            "--config.model.widht: the configuration has no field 'widht', did you "
            "mean width?",
        ),
        ([CONFIG, "--config.zzz.width=8"], "configuration has no field 'zzz'"),
        ([CONFIG, "--config.model.width=wide"], "expected a whole number, not 'wi"),
        (["--config=configs/phantom.py:inn"], "no variant 'inn', expected one of: in_"),
        (["--confg=x"], "'confg'. Did you mean: config"),
        (["--config.seed=1"], "--config.seed: expected --config beside it"),
        (["--mode=translate", "--step=-1"], "--step=-1"),
    ],
)
def test_mistakes_on_the_command_line_are_named_in_one_line(
    arguments, message, parse, capsys
):
    with pytest.raises(SystemExit) as stopped:
        parse(*arguments)
    assert stopped.value.code == USAGE_ERROR
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(:", "own.py, line 1: invalid syntax"),
        ("import nowhere", "own.py, line 1: ModuleNotFoundError: No module named"),
        ("x = 1", "own.py: expected a function get_config"),
        ("def get_config():\n    return {}['x']", "own.py, line 2: KeyError: x"),
        (
            "from synthct_jax.configs import phantom\n\n\ndef get_config():\n"
            "    config = phantom.get_config()\n    config.train.stepz = 1",
            'own.py, line 6: AttributeError: \'Key "stepz" does not exist and cannot '
            'be added since the config is locked. Did you mean "steps"',
        ),
    ],
)
def test_mistakes_in_a_configuration_file_are_named_with_their_line(
    text, message, parse, capsys, tmp_path, monkeypatch
):
    (tmp_path / "own.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    # ml_collections keeps the functions of a file that was read before.
    monkeypatch.delitem(sys.modules, "config_config", raising=False)
    with pytest.raises(SystemExit) as stopped:
        parse("--config=own.py")
    assert stopped.value.code == USAGE_ERROR
    error = capsys.readouterr().err
    assert error.startswith(f"error: --config: {message}") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=configs/nowhere.py", "--workdir=RUN"], "configs/nowhere.py"),
        ([CONFIG], "train needs --workdir"),
        (["--workdir=RUN"], "train needs --config"),
        (["--mode=translate", "--workdir=RUN"], "translate needs --output"),
        (
            [CONFIG, "--mode=evaluate", "--workdir=RUN"],
            "does not read --config; it reads --workdir",
        ),
        (["--workdir=RUN", CONFIG, "--output=x"], "does not read --output"),
        (
            ["--mode=evaluate", "--input=a", "--truth=b"],
            "evaluate does not read --input, --truth; it reads --workdir, ",
        ),
        (
            ["--mode=evaluate", "--input=a", "--truth=b"],
            "; read by score, dose\n",
        ),
        (
            ["--mode=evaluate", "--masks=a"],
            "; read by organs (measure the HU of organs by masks on the grid of the MR",
        ),
        (
            ["--mode=evaluate", "--workdir=RUN", "--input=a"],
            "; read by translate, send, score, organs, dose\n",
        ),
        (["stray"], "'stray' is neither a mode nor a flag, expected --NAME=VALUE"),
        (["trian"], "'trian' is neither a mode nor a flag, did you mean train?"),
        (
            ["--mode=translate", "configs", "OUT"],
            "'configs' is neither a mode nor a flag, expected --NAME=VALUE, as in "
            "synthct translate --input=MR_FOLDER --output=OUT\n",
        ),
        (["configs"], "as in synthct translate --input=MR_FOLDER --output=OUT\n"),
        (
            ["--mode=translate", "--patients=NOWHERE", "--output=OUT"],
            "error: --patients: NOWHERE: No such file or directory\n",
        ),
        (
            [CONFIG, "--mode=prepare", "--data_dir=/proc/foo"],
            "error: --data_dir: /proc/foo: no folder can be made there\n",
        ),
        (["--workdir=RUN", "train"], "the mode comes first: synthct train"),
        (["--mode=translate", "--output=b"], "needs --input or --patients, one of"),
        (["--mode=translate", "--input=a", "--output="], "--output: empty, expected"),
        (
            [CONFIG, "--mode=prepare", "--raw_dir=RAW", "--data_dir=NEW"],
            "--raw_dir=RAW: data.source=phantom draws people, and reads no scans",
        ),
        (
            ["--mode=translate", "--input=configs", "--output=configs/OUT"],
            "--output=configs/OUT: lies in the folder of the MR, configs",
        ),
        (
            ["--mode=translate", "--input=configs,configs", "--output=OUT"],
            "configs: a folder in a list, expected one folder that holds all DICOM",
        ),
        (
            ["--mode=translate", "--workdir=RUN", "--input=a", "--output=b"],
            "there is no folder RUN",
        ),
        (
            ["--mode=translate", "--model=inn", "--input=a", "--output=b"],
            "there is no model 'inn', expected one of those that ship",
        ),
        (
            ["--mode=translate", "--model=a", "--input=a", "--output=b", "--step=1"],
            "translate with --model does not read --step",
        ),
        (
            ["--mode=translate", "--input=a", "--output=b", "--step=1"],
            "needs --workdir",
        ),
        (["--mode=evaluate", "--model=a"], "with --model needs --data_dir"),
        (["--mode=dose", "--input=a", "--output=b"], "needs --mask, --truth"),
        (
            ["--mode=dose", "--model=a", "--data_dir=b", "--output=c", "--mask=d"],
            "dose with --model does not read --mask",
        ),
        (
            ["--mode=dose", "--workdir=a", "--output=b", "--gantry=10"],
            "dose reads --gantry with --input alone",
        ),
        (
            [
                *("--mode=dose", "--input=a", "--truth=b", "--mask=c", "--output=d"),
                *("--gantry=10", "--radiation=photons"),
            ],
            "--radiation=photons does not read it",
        ),
        (["--mode=export", "--workdir=RUN", "--output=a"], "ends in .safetensors"),
        (["--mode=export", "--model=a", "--output=b"], "ends in .onnx"),
        (
            ["--mode=export", "--model=a", "--output=b.onnx", "--card=c"],
            "export with --model does not read --card",
        ),
        (["--mode=evaluate", "--workdir=RUN"], "there is no folder RUN"),
        (["--mode=evaluate", "--workdir=."], "holds no checkpoint"),
        (
            [CONFIG, "--config.data.source=chaos", "--workdir=RUN", "--data_dir=D"],
            "there are no data in D",
        ),
        ([CONFIG, "--config.model.upsample=cubic", "--workdir=TMP"], "model.upsample"),
    ],
)
def test_requests_that_cannot_be_met_are_named(
    arguments, message, parse, capsys, monkeypatch, tmp_path
):
    # A refused request may leave files in the working directory.
    monkeypatch.setattr(processes, "init_distributed", lambda: None)
    (tmp_path / "configs").symlink_to(os.path.abspath("configs"))
    monkeypatch.chdir(tmp_path)
    assert main.main(parse(*arguments)) == USAGE_ERROR
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error


def test_training_that_a_guard_has_stopped_has_a_status_of_its_own(
    parse, capsys, monkeypatch
):
    def stop(*args, **kwargs):
        raise StoppedByGuard("stopped by train.guard=stop: at step 4 ...")

    monkeypatch.setattr(processes, "init_distributed", lambda: None)
    monkeypatch.setattr(train, "train", stop)
    arguments = [CONFIG, "--workdir=RUN", "--config.train.guard=stop"]
    assert main.main(parse(*arguments)) == signals.GUARDED == 3
    assert capsys.readouterr().err.startswith("error: stopped by train.guard=stop")


def test_output_whose_folder_vanishes_during_translation_is_named(
    parse, capsys, monkeypatch, tmp_path
):
    write_scan(tmp_path / "mr" / "in_phase.nii.gz", (0, 400))
    write_scan(tmp_path / "mr" / "out_of_phase.nii.gz", (0, 300))
    write_tiny_model(tmp_path / "tiny.safetensors")
    output = tmp_path / "parent" / "out"

    def vanish(*arguments, whole=translate.translate_input):
        shutil.rmtree(output.parent)
        return whole(*arguments)

    monkeypatch.setattr(processes, "init_distributed", lambda: None)
    monkeypatch.setattr(translate, "translate_input", vanish)
    before = set(tmp_path.rglob("*"))
    arguments = [f"--input={tmp_path / 'mr'}", f"--output={output}", "--force"]
    arguments.append(f"--model={tmp_path / 'tiny.safetensors'}")
    assert main.main(parse("--mode=translate", *arguments)) == USAGE_ERROR
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and "No such file" in error
    assert str(output) in error and ".partial" not in error
    assert set(tmp_path.rglob("*")) == before


def test_data_that_vanish_during_training_are_named(
    parse, capsys, monkeypatch, tmp_path
):
    data_dir = shutil.copytree(tiny_run().data_dir, tmp_path / "data")
    source = "from tiny_run import tiny_config as get_config"  # validates at step 4

    def vanish(losses, step, *arguments, whole=LossLog.add):
        if step == 3:
            shutil.rmtree(data_dir)
        return whole(losses, step, *arguments)

    monkeypatch.setattr(processes, "init_distributed", lambda: None)
    monkeypatch.setattr(LossLog, "add", vanish)
    config, workdir, _ = training(source, tmp_path / "run")[3:]
    arguments = parse(config, workdir, f"--data_dir={data_dir}")
    assert main.main(arguments) == USAGE_ERROR
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {data_dir}") and "no such folder" in error
    assert list_steps(tmp_path / "run") == [2]
    assert not data_dir.exists()
    assert not list((tmp_path / "run").rglob("*tmp*"))


def test_debug_raises_the_error_itself(parse, tmp_path):
    nowhere = tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError):
        main.main(parse("--debug", "--mode=evaluate", f"--workdir={nowhere}"))


def test_help_lists_flags_and_exit_statuses():
    command = [sys.executable, "-m", "synthct_jax.main"]
    for arguments in ([], ["-h"], ["--helpfull"]):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True)
        assert "synthct translate --input=MR_FOLDER --output=OUT" in done.stdout
        assert "Exit status" in done.stdout
    for name in ("data_dir", "workdir", "raw_dir", "input", "output", "step"):
        assert f"--{name}: " in done.stdout

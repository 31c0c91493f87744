import os
import subprocess
import sys

import pytest
from absl import flags
from absl.testing import flagsaver

from synthct_jax import main
from synthct_jax.runtime import environment

# ml_collections loads configuration files in an old way.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.fixture
def parse(monkeypatch):
    """`main.parse_flags`, with the flags as they were afterwards."""
    with flagsaver.flagsaver():
        flags.FLAGS.unparse_flags()

        def parsed(*arguments):
            # ml_collections looks for overrides of the configuration there.
            monkeypatch.setattr(sys, "argv", ["main", *arguments])
            return main.parse_flags(sys.argv)

        yield parsed


CONFIG = "--config=configs/phantom.py"


@pytest.mark.parametrize(
    "arguments, told",
    [
        ([CONFIG, "--mode=trian"], "--mode=trian: value should be one of <prepare|"),
        (
            [CONFIG, "--config.model.widht=8"],
            "--config.model.widht: the configuration has no field 'widht', did you "
            "mean width?",
        ),
        ([CONFIG, "--config.zzz.width=8"], "configuration has no field 'zzz'"),
        ([CONFIG, "--config.model.width=wide"], "--config.model.width=wide"),
        (["--config=configs/phantom.py:inn"], "no variant 'inn', expected one of: in_"),
        (["--confg=x"], "'confg'. Did you mean: config"),
        (["--mode=translate", "--step=-1"], "--step=-1"),
    ],
)
def test_mistakes_on_the_command_line_are_named(arguments, told, parse, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse(*arguments)
    assert stopped.value.code == main.MISTAKEN
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert told in error


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--config=configs/nowhere.py", "--workdir=RUN"], "configs/nowhere.py"),
        ([CONFIG], "--mode=train needs --workdir"),
        (["--workdir=RUN"], "--mode=train needs --config"),
        (["--mode=translate", "--workdir=RUN"], "--mode=translate needs --input"),
        (
            [CONFIG, "--mode=evaluate", "--workdir=RUN"],
            "does not read --config: it takes the configuration out of the checkpoint",
        ),
        (["--workdir=RUN", CONFIG, "--output=x"], "does not read --output"),
        (["stray"], "'stray' is no flag"),
        (
            ["--mode=translate", "--workdir=RUN", "--input=a", "--output=b"],
            "there is no folder RUN",
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
    arguments, told, parse, capsys, monkeypatch, tmp_path
):
    # Files that a wrong request may leave are left there.
    monkeypatch.setattr(environment, "join_other_processes", lambda: None)
    (tmp_path / "configs").symlink_to(os.path.abspath("configs"))
    monkeypatch.chdir(tmp_path)
    assert main.main(parse(*arguments)) == main.MISTAKEN
    error = capsys.readouterr().err
    assert error.startswith("error: ") and told in error


def test_debug_shows_where(parse, tmp_path):
    nowhere = tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError):
        main.main(parse("--debug", "--mode=evaluate", f"--workdir={nowhere}"))


def test_help_says_what_the_modes_need():
    command = [sys.executable, "-m", "synthct_jax.main", "--helpfull"]
    text = subprocess.run(command, capture_output=True, text=True).stdout
    assert "--mode=translate --workdir=RUN --input=IN --output=OUT" in text
    assert "Exit status" in text
    for name in ("data_dir", "workdir", "raw_dir", "input", "output", "step"):
        assert f"--{name}: " in text


# --- the environment ------------------------------------------------------------------


def test_the_environment_is_prepared_once(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    for _ in range(2):
        environment.prepare_environment()
        assert os.environ["XLA_FLAGS"].split() == [*environment.CPU_FLAGS]
    assert ".cache/synthct_jax/xla/" in os.environ["JAX_COMPILATION_CACHE_DIR"]


def test_programs_for_other_numbers_of_cpus_are_kept_apart(monkeypatch):
    folders = []
    for cpus in ({0}, {0, 1}):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, c=cpus: c, raising=False)
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
        environment.prepare_environment()
        folders.append(os.environ["JAX_COMPILATION_CACHE_DIR"])
    assert len(set(folders)) == 2


def test_what_the_user_has_set_stays(monkeypatch):
    mine = "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_REDUCE"
    monkeypatch.setenv("XLA_FLAGS", mine)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/mine")
    environment.prepare_environment()
    assert os.environ["XLA_FLAGS"].split() == [mine, *environment.CPU_FLAGS[1:]]
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "/mine"


def test_an_unknown_release_gets_no_flag_that_could_end_it(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--other")
    monkeypatch.setattr(environment.importlib.metadata, "version", lambda _: "0.11.0")
    environment.prepare_environment()
    assert os.environ["XLA_FLAGS"] == "--other"


def test_xla_accepts_the_flag_without_a_word():
    program = (
        "from synthct_jax.runtime.environment import prepare_environment;"
        "prepare_environment();"
        "import jax; print(jax.numpy.ones(3).sum())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "3.0\n", "")


def test_one_process_alone_joins_nobody():
    program = (
        "from synthct_jax.runtime.environment import join_other_processes;"
        "join_other_processes();"
        "import jax; print(jax.process_count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert done.stdout == "1\n"

"""Launchers, with a stand-in for Python that tells how it was called."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
LOCAL = REPOSITORY / "launch" / "local.sh"

STAND_IN = f"""#!{sys.executable} -S
import os, signal, sys, time
if sys.argv[1] == "-c":  # the launcher looks for a free port
    exec(sys.argv[2])
    sys.exit()
rank = os.environ["JAX_PROCESS_ID"]

def stop(number, frame):
    print("stopped", flush=True)
    sys.exit(40 + int(rank))

signal.signal(signal.SIGTERM, stop)
print(
    os.environ["JAX_COORDINATOR_ADDRESS"], os.environ["JAX_NUM_PROCESSES"], sys.argv[1:]
)
print("ready", file=sys.stderr, flush=True)
if "--wait" in sys.argv:
    for _ in range(300):
        time.sleep(0.1)
sys.exit(3 if f"--fail={{rank}}" in sys.argv else 0)
"""


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    python = tmp_path / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    return {"PATH": os.environ["PATH"], "PYTHON": str(python)}


def local(*arguments, environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        [LOCAL, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )


def test_each_process_knows_its_number_and_the_same_coordinator(environment):
    done = local("3", "--", "--workdir=a b", "--mode=train", environment=environment)
    assert done.returncode == 0, done.stdout
    first = {}
    for line in done.stdout.splitlines():
        rank, text = line.split("] ", 1)
        first.setdefault(rank, text)
    assert sorted(first) == ["[0", "[1", "[2"]
    (said,) = set(first.values())
    address, count, arguments = said.split(" ", 2)
    assert address.startswith("127.0.0.1:") and int(address.split(":")[1]) > 0
    assert count == "3"
    assert arguments == repr(
        ["-m", "synthct_jax.main", "--workdir=a b", "--mode=train"]
    )


def test_port_can_be_given(environment):
    done = local("1", "--", "x", environment={**environment, "PORT": "4321"})
    assert "[0] 127.0.0.1:4321 1 " in done.stdout


@pytest.mark.parametrize("failing", [0, 1])
def test_worst_status_is_returned(environment, failing):
    done = local("2", "--", f"--fail={failing}", environment=environment)
    assert done.returncode == 3, done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_reaches_all_and_is_waited_for(environment, number):
    with subprocess.Popen(
        [LOCAL, "2", "--", "--wait"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        seen = []
        while not {"[0] ready\n", "[1] ready\n"} <= set(seen):
            seen.append(process.stdout.readline())
            assert seen[-1], seen
        process.send_signal(number)
        rest = process.stdout.read()
        assert process.wait(timeout=60) == 41, rest
    assert sorted(rest.splitlines()) == ["[0] stopped", "[1] stopped"]


@pytest.mark.parametrize("arguments", [(), ("2",), ("0", "--"), ("two", "--", "x")])
def test_wrong_call_prints_usage(environment, arguments):
    done = local(*arguments, environment=environment)
    assert done.returncode == 2
    assert "N -- ARGUMENTS" in done.stdout


def test_scripts_are_clean():
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    scripts = [LOCAL, REPOSITORY / ".ci" / "run"]
    done = subprocess.run([shellcheck, *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout

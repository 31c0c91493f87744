"""The launcher of TPU VMs, with hosts that are folders of this machine."""

import os
import signal
import subprocess
import sys

import pytest
from paths import REPOSITORY

LAUNCHER = REPOSITORY / "launch" / "tpu_vm.sh"

# Runs the command on every host, and ends as the first of them that did not end well.
GCLOUD = """#!/usr/bin/env bash
echo "gcloud $*" >>"$HOSTS/calls"
command=${*: -1}
processes=()
for host in "$HOSTS"/host*; do
  (cd "$host" && exec bash -c "${command#--command=}") &
  processes+=($!)
done
status=0
for process in "${processes[@]}"; do
  wait "$process" || status=$?
done
exit "$status"
"""
PYTHON = f"""#!{sys.executable} -S
import os, signal, sys, time

def stop(number, frame):
    time.sleep(0.5)
    sys.stdout.write("saved\\n")
    sys.exit(75)

signal.signal(signal.SIGTERM, stop)
# In one piece: the hosts write to the same pipe.
sys.stdout.write(f"{{os.getcwd().split('/')[-2]}} {{sys.argv[1:]}}\\n")
sys.stdout.flush()
if "--wait" in sys.argv:
    for _ in range(300):
        time.sleep(0.1)
"""


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    (tmp_path / "gcloud").write_text(GCLOUD)
    programs = [tmp_path / "gcloud"]
    for host in ("host0", "host1"):
        python = tmp_path / host / "synthct_jax" / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(PYTHON)
        programs.append(python)
    for program in programs:
        program.chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOSTS": str(tmp_path)}


def start(*arguments, environment) -> subprocess.Popen:
    return subprocess.Popen(
        [LAUNCHER, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_every_host_runs_the_program_with_the_same_arguments(tmp_path, environment):
    arguments = ("my-tpu", "my-zone", "--", "--workdir=a b", "--config=$HOME")
    with start(*arguments, environment=environment) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    given = repr(["-m", "synthct_jax.main", "--workdir=a b", "--config=$HOME"])
    assert sorted(said.splitlines()) == [f"host0 {given}", f"host1 {given}"]
    (call,) = (tmp_path / "calls").read_text().splitlines()
    expected = "gcloud compute tpus tpu-vm ssh my-tpu --zone=my-zone --worker=all "
    assert call.startswith(expected)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_every_host_and_is_waited_for(environment, number):
    with start("t", "z", "--", "--wait", environment=environment) as process:
        lines = [process.stdout.readline() for _ in range(2)]
        assert sorted(line.split()[0] for line in lines) == ["host0", "host1"]
        process.send_signal(number)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 75, rest
    assert rest == "saved\nsaved\n"


@pytest.mark.parametrize("arguments", [(), ("t", "z"), ("t", "z", "--")])
def test_a_wrong_call_prints_usage(environment, arguments):
    with start(*arguments, environment=environment) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 2 and "TPU ZONE --" in said

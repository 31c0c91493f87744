"""Kill commands at any time; what they leave is whole, or is not taken for whole.

    .venv/bin/python tests/support/kill_commands.py --kills=50 --seed=0

Each of prepare, translate, evaluate and sweep is killed so often, after a random part
of the time that it takes, by SIGTERM, SIGKILL or SIGINT. Then its output has to be that
of an uninterrupted command or absent, the same command has to end well, and nothing
may be left beside the output, but for the unfinished folder that SIGKILL leaves, which
is counted. A sweep keeps what is done, and goes on.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kills import SIGNALS, is_interrupted_at_startup
from tiny_run import tiny_run, variables
from tiny_scans import hashes, write_scan, write_subjects

from input_pipeline.scans.read_scan import read_scan
from synthct_jax.runtime.signals import RESUMABLE, STOPPED

_CONFIG = """
from tiny_run import tiny_config

def get_config(variant="in_out"):
    config = tiny_config(steps=4)
    with config.unlocked():
        if variant == "in":
            config.data.mr_channels = ("in_phase",)
    return config
"""
_PRINTED = "printed.txt"  # what the last command wrote to the terminal
_COMMANDS = {
    "prepare": "prepare --config=folder --raw_dir=RAW --data_dir=OUT",
    "translate": "translate --input=MR --output=OUT --model=in_out_noncontrast --force",
    "evaluate": "evaluate --workdir=RUN --output=OUT",
    "sweep": "sweep --config=TINY.py --variants=in,in_out --workdir=OUT",
}


def _translation(folder: Path) -> list[str]:
    """Return what is equal in two translations, whose UIDs and times differ."""
    report = json.loads((folder / "report.json").read_text())
    voxels = read_scan(folder / "dicom", modality="CT").voxels
    images = [folder / "synthetic_ct.nii.gz", folder / "preview.png"]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in images]
    return [str(report["hu"]), hashlib.sha256(voxels.tobytes()).hexdigest(), *digests]


# What has to be equal in the output of each mode.
_CONTENT: dict[str, Callable[[Path], Any]] = {
    "prepare": hashes,
    "translate": _translation,
    "evaluate": lambda folder: (folder / "metrics.csv").read_text(),
    "sweep": lambda folder: (folder / "table.csv").read_text(),
}


def kill_mode(mode: str, *, kills: int, seed: int) -> tuple[int, int, int]:
    """Kill a mode in the working folder, which has its input.

    Returns:
        The numbers of kills that stopped it and of those that came too late, and of
        unfinished folders that were left.
    """
    chance = random.Random(f"{mode} {seed}")
    output = Path("OUT")
    began = time.monotonic()
    assert _start(mode).wait(timeout=300) == 0
    seconds = time.monotonic() - began
    expected = _CONTENT[mode](output)
    shutil.rmtree(output)
    beside = set(os.listdir())
    stopped = unfinished = 0
    for _ in range(kills):
        process = _start(mode)
        time.sleep(chance.uniform(0, seconds))
        number = chance.choice(SIGNALS)
        if number == signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        status = process.wait(timeout=120)
        documented = status in {0, -number, RESUMABLE, *STOPPED}
        printed = Path(_PRINTED).read_text()
        early = is_interrupted_at_startup(status, number, printed)
        assert documented or early, printed
        stopped += status != 0
        left = set(os.listdir()) - beside - {"OUT"}
        assert not left or number == signal.SIGKILL, left
        unfinished += len(left)
        beside |= left
        if status == 0 or (output.exists() and mode != "sweep"):
            assert _CONTENT[mode](output) == expected
            shutil.rmtree(output)
    assert _start(mode).wait(timeout=300) == 0
    assert _CONTENT[mode](output) == expected
    return stopped, kills - stopped, unfinished


def _start(mode: str) -> subprocess.Popen:
    with open(_PRINTED, "w") as printed:
        return subprocess.Popen(
            [sys.executable, "-m", "synthct_jax.main", *_COMMANDS[mode].split()],
            env=variables(PYTHONPATH=f"{variables()['PYTHONPATH']}:{Path.cwd()}"),
            stdout=printed,
            stderr=printed,
            start_new_session=True,
        )


def make_input() -> None:
    """Write the scans, the run and the configuration that the commands name."""
    write_subjects(Path("RAW"), mr=["a", "b"], ct=["c", "d"])
    Path("MR").mkdir()
    write_scan(Path("MR/in_phase.nii.gz"), (0, 400))
    write_scan(Path("MR/out_of_phase.nii.gz"), (0, 300))
    shutil.copytree(tiny_run().workdir, "RUN")
    Path("TINY.py").write_text(_CONFIG)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print("| mode | kills | stopped | too late | unfinished folders left |")
    print("|---|---:|---:|---:|---:|")
    for mode in _COMMANDS:
        with tempfile.TemporaryDirectory(prefix="synthct_jax_kills_") as folder:
            os.chdir(folder)
            make_input()
            kills = arguments.kills
            numbers = kill_mode(mode, kills=kills, seed=arguments.seed)
            print("| " + " | ".join(map(str, (mode, kills, *numbers))) + " |")
            os.chdir("/")


if __name__ == "__main__":
    main()

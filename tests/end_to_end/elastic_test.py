"""Any number of devices and processes resumes from the checkpoint of any other."""

import socket
import subprocess
import sys

import numpy as np
import pytest
from alike import assert_alike
from compilation import FAST_COMPILATION
from elastic import LAYOUTS
from paths import REPOSITORY
from tiny_run import tiny_run, variables


def run(mode, folder, name):
    layout = LAYOUTS[name]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = variables(
        JAX_NUM_CPU_DEVICES=str(layout.devices),
        XLA_FLAGS=FAST_COMPILATION,
    )
    several = layout.processes > 1
    if several:
        environment["JAX_COORDINATOR_ADDRESS"] = f"127.0.0.1:{port}"
        environment["JAX_NUM_PROCESSES"] = str(layout.processes)
    data_dir = tiny_run().data_dir
    processes = [
        subprocess.Popen(
            [sys.executable, "tests/support/elastic.py", mode, data_dir, folder, name],
            cwd=REPOSITORY,
            env={**environment, **({"JAX_PROCESS_ID": str(number)} if several else {})},
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(layout.processes)
    ]
    try:
        for process in processes:
            _, error = process.communicate(timeout=600)
            assert process.returncode == 0, f"{mode} {name}: {error[-3000:]}"
    finally:
        for process in processes:
            process.kill()


@pytest.mark.slow
def test_every_layout_resumes_from_every_other(tmp_path):
    for name in LAYOUTS:
        run("train", tmp_path, name)
    for name in LAYOUTS:
        run("resume", tmp_path, name)
    initial = np.load(tmp_path / "1_from_nothing.npz")
    alone = np.load(tmp_path / "1_from_the_start.npz")
    for name in LAYOUTS:
        uninterrupted = np.load(tmp_path / f"{name}_from_the_start.npz")
        for origin in LAYOUTS:
            resumed = np.load(tmp_path / f"{name}_from_{origin}.npz")
            assert_alike(resumed, alone, initial, f"of {name} from {origin}")
            if origin == name:
                for array in alone:
                    np.testing.assert_array_equal(
                        resumed[array], uninterrupted[array], err_msg=f"{array}, {name}"
                    )

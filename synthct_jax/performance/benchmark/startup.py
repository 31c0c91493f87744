"""Time from the command to the end of the first step, with and without a cache."""

import json
import os
import subprocess
import sys
from pathlib import Path

from ml_collections import ConfigDict

from synthct_jax.runtime import goodput
from synthct_jax.runtime.jsonl import read_rows

# A training reads its configuration from a Python file.
_CONFIG_FILE = """
import json
from ml_collections import ConfigDict

def get_config():
    return ConfigDict(json.loads({!r}))
"""


def measure_startup(
    config: ConfigDict, data_dir: Path, anatomies_dir: Path, folder: Path
) -> dict[str, float]:
    """Train one step in a new process, twice with the same compilation cache.

    Call it before this process uses the accelerator, whose memory it takes.
    """
    config = config.copy_and_resolve_references()
    config.train.update(steps=1, log_every=1, evaluate_every=0)
    path = folder / "one_step.py"
    path.write_text(_CONFIG_FILE.format(json.dumps(config.to_dict())))
    command = [sys.executable, "-m", "synthct_jax.main", f"--config={path}"]
    command += [f"--data_dir={data_dir}", f"--anatomies_dir={anatomies_dir}"]
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
    seconds = {}
    for name in ("without_cache_seconds", "with_cache_seconds"):
        workdir = folder / name
        done = subprocess.run(
            [*command, f"--workdir={workdir}"],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise ValueError(
                f"a training of one step ended with status {done.returncode}, "
                f"expected 0: {done.stderr.strip()}"
            )
        spent = goodput.summarise(read_rows(workdir / goodput.FILE))
        until_first_step = ("start", "compile", "input_wait", "step")
        seconds[name] = sum(spent[bucket] for bucket in until_first_step)
    return seconds

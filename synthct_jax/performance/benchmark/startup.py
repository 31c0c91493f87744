"""Time from the command to the end of the first step, with and without a cache."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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
_ROOT = Path(__file__).parents[3]


def measure_startup(config: ConfigDict, data_dir: Path, folder: Path) -> dict[str, Any]:
    """Train one step in a new process, twice with the same compilation cache.

    Call it before this process uses the accelerator, whose memory it takes.
    """
    config = config.copy_and_resolve_references()
    config.train.update(steps=1, log_every=1, evaluate_every=0)
    path = folder / "one_step.py"
    path.write_text(_CONFIG_FILE.format(json.dumps(config.to_dict())))
    cache = {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
    return {
        name: _seconds(path, data_dir, folder / name, cache)
        for name in ("without_cache_seconds", "with_cache_seconds")
    }


def _seconds(
    config: Path, data_dir: Path, workdir: Path, environment: dict[str, str]
) -> float:
    arguments = [f"--config={config}", f"--data_dir={data_dir}", f"--workdir={workdir}"]
    path = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "synthct_jax.main", *arguments],
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise ValueError(
            f"a training of one step ended with status {done.returncode}, expected 0: "
            f"{done.stderr.strip()}"
        )
    spent = goodput.summarise(read_rows(workdir / goodput.FILE))
    return sum(spent[part] for part in ("start", "compile", "input_wait", "step"))

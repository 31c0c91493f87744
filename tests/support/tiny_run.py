"""One tiny trained run that many tests read, and the configuration of others."""

import dataclasses
import functools
import os
import sys
import tempfile
from pathlib import Path

import jax
from ml_collections import ConfigDict
from paths import PYTHONPATH

from synthct_jax import train
from synthct_jax.configs import phantom

STEPS = 6


def tiny_config(**train_fields) -> ConfigDict:
    """Return the phantom's configuration with everything small: seconds on a CPU."""
    config = phantom.get_config()
    config.phantom.update(train_mr=2, train_ct=3, validation=1, test=1, slices=5)
    config.data.update(size=32, spacing_mm=12.0, shift_mm=12.0)
    config.model.update(width=4, blocks=1, downsamplings=1)
    config.model.update(discriminator_width=4, discriminator_layers=1)
    config.train.update(
        steps=STEPS,
        global_batch=2,
        pool_size=6,
        log_every=2,
        save_every=2,
        keep_latest=2,
        evaluate_every=4,
    )
    config.train.update(train_fields)
    return config


@dataclasses.dataclass(frozen=True, kw_only=True)
class TinyRun:
    """A trained run; tests do not change it."""

    config: ConfigDict
    workdir: Path
    data_dir: Path
    compiled: tuple[str, ...]  # names of the compiled functions, in order


@functools.cache
def tiny_run() -> TinyRun:
    """Return the run, which is trained once in a session of tests."""
    folder = tempfile.TemporaryDirectory(prefix="synthct_jax_tiny_")
    _FOLDERS.append(folder)  # removed when the interpreter ends
    root = Path(folder.name)
    config = tiny_config()
    compiled = []

    def listen(event: str, duration: float, **details: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(str(details.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        assert train.train(config, workdir=root / "run", data_dir=root / "data")
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return TinyRun(
        config=config,
        workdir=root / "run",
        data_dir=root / "data",
        compiled=tuple(compiled),
    )


_FOLDERS: list[tempfile.TemporaryDirectory] = []


def training(source: str, workdir: Path) -> list[str]:
    """Write a configuration beside `workdir`; return the command that trains there.

    The data are those of the tiny run.
    """
    config = workdir.parent / "config.py"
    config.write_text(source)
    return [
        *(sys.executable, "-m", "synthct_jax.main", f"--config={config}"),
        *(f"--workdir={workdir}", f"--data_dir={tiny_run().data_dir}"),
    ]


def variables(**more: str) -> dict[str, str]:
    """Return the environment of a process that may import what tests import."""
    return {**os.environ, "PYTHONPATH": PYTHONPATH, **more}

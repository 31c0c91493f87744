"""Prepares, trains and evaluates the runs of a sweep, and compares their variants.

The runs go one after another on one machine, or one in each task of an array job. Each
step is a process of its own. A run that fails does not end the others. The same command
goes on where a sweep was stopped, and repeats nothing that is done.
"""

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from synthct_jax.runtime.subprocesses import STOPPED, SubprocessRunner
from synthct_jax.sweep import plan_file
from synthct_jax.sweep.plan_file import SweepPlan, SweepRun

FAILED = 1


class RunFailed(Exception):
    """A step of a run ended with an error, which it has printed itself."""


class Stopped(Exception):
    """The sweep was stopped by a signal; what can be saved is saved."""


def run_sweep(
    plan: SweepPlan,
    *,
    folder: Path,
    raw_dir: Path | None = None,
    only: int | None = None,
    subprocesses: SubprocessRunner | None = None,
) -> int:
    """Do what is not done yet of the plan's runs, and write the tables.

    Args:
        plan: the runs of this call; tables hold those of earlier calls as well.
        folder: of the sweep, see `plan_file`.
        raw_dir: the scans, for configurations whose data are prepared from scans.
        only: index of a single run in the plan to do, without tables.

    Returns:
        The exit status: 0, FAILED if runs have failed, STOPPED after a signal.

    Raises:
        ValueError: the plan has an unknown variant, differs from that of the folder, or
            has no run of index `only`.
    """
    configs = {variant: _config(plan, variant) for variant in plan.variants}
    if only is not None and not 0 <= only < len(plan.runs):
        raise ValueError(
            f"--only is {only}, expected 0 to {len(plan.runs) - 1}: a run of "
            f"{'; '.join(map(str, plan.runs))}"
        )
    plan_file.add_to_folder(plan, folder)
    failures: dict[SweepRun, str] = {}
    with subprocesses or SubprocessRunner() as subprocesses:
        for run in plan.runs if only is None else [plan.runs[only]]:
            config = configs[run.variant].to_dict() | {"seed": run.seed}
            try:
                _finish(run, plan, config, folder, raw_dir, subprocesses)
            except Stopped:
                logging.info("Stopped at %s: the same command goes on", run)
                return STOPPED
            except RunFailed as failure:
                failures[run] = str(failure)
                logging.error("%s: %s; the sweep goes on", run, failure)
    if only is None:
        # Whatever starts JAX waits until no child needs the accelerator.
        from synthct_jax.sweep import table

        table.write_tables(folder)
    for run, failure in failures.items():
        logging.error("failed: %s: %s", run, failure)
    return FAILED if failures else 0


def _finish(
    run: SweepRun,
    plan: SweepPlan,
    config: Mapping[str, Any],
    folder: Path,
    raw_dir: Path | None,
    subprocesses: SubprocessRunner,
) -> None:
    """Prepare the data, train and evaluate, whatever of it is not done."""
    file = f"--config={plan.config}:{run.variant}"
    data_dir = f"--data_dir={run.data_dir(folder)}"
    workdir = f"--workdir={run.workdir(folder)}"

    def start(*arguments: str) -> int:
        if subprocesses.stopped:
            raise Stopped
        status = subprocesses.run(*arguments)
        if status == STOPPED or subprocesses.stopped:
            raise Stopped
        return status

    if not plan_file.is_prepared(run.data_dir(folder)):
        raw = [] if raw_dir is None else [f"--raw_dir={raw_dir}"]
        flags = _flags(plan.overrides)
        status = start("--mode=prepare", file, *flags, *raw, data_dir)
        # Another task of the array job may have prepared them first.
        if status and not plan_file.is_prepared(run.data_dir(folder)):
            raise RunFailed(f"preparation of the data ended with status {status}")
    if not plan_file.is_trained(run.workdir(folder), config):
        # All seeds of a variant share data, which the override of the seed has drawn.
        flags = _flags({n: v for n, v in plan.overrides.items() if n != "seed"})
        flags.append(f"--config.seed={run.seed}")
        if status := start(file, *flags, data_dir, workdir):
            raise RunFailed(f"training ended with status {status}")
    if plan_file.find_evaluation(folder, run) is None:
        if status := start("--mode=evaluate", workdir, data_dir):
            raise RunFailed(f"evaluation ended with status {status}")


def _flags(overrides: Mapping[str, Any]) -> list[str]:
    return [f"--config.{name}={_tuples(value)}" for name, value in overrides.items()]


def _tuples(value: Any) -> Any:
    """Turn lists into tuples: a configuration has tuples, which JSON has not."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _config(plan: SweepPlan, variant: str) -> ConfigDict:
    """Return the configuration of a variant's runs, but for the seed."""
    config = runpy.run_path(plan.config)["get_config"](variant)
    with config.unlocked():
        config.update_from_flattened_dict(
            {name: _tuples(value) for name, value in plan.overrides.items()}
        )
    return config

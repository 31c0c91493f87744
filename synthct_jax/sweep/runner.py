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

from input_pipeline.countdown import Countdown
from synthct_jax.checkpoint.metadata import lists_to_tuples
from synthct_jax.model.ranges import check_ranges
from synthct_jax.runtime import signals
from synthct_jax.runtime.arguments import path_of_config
from synthct_jax.runtime.subprocesses import SubprocessRunner
from synthct_jax.sweep import plan_file
from synthct_jax.sweep.plan_file import SweepPlan, SweepRun

FAILED = 1


class RunFailed(Exception):
    """A step of a run ended with an error, which it has printed itself."""


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
        The exit status: 0, FAILED if runs have failed, RESUMABLE after a signal.

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
        runs = plan.runs if only is None else [plan.runs[only]]
        countdown = Countdown(len(runs), "runs")
        for run in runs:
            is_new = plan_file.find_evaluation(folder, run) is None
            config = configs[run.variant].to_dict() | {"seed": run.seed}
            try:
                done = _finish(run, plan, config, folder, raw_dir, subprocesses)
            except RunFailed as failure:
                failures[run] = str(failure)
                logging.error("%s: %s; the sweep goes on", run, failure)
                countdown.log(f"{run} failed")
                continue
            if not done:
                logging.info("Stopped at %s: the same command goes on", run)
                return signals.RESUMABLE
            countdown.log(str(run), new=is_new)
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
) -> bool:
    """Prepare the data, train and evaluate, whatever of it is not done.

    Returns:
        Whether all is done: False after a signal.

    Raises:
        RunFailed: names the step and its status.
    """
    file = f"--config={plan.config}:{run.variant}"
    data_dir, workdir = run.data_dir(folder), run.workdir(folder)
    data, work = f"--data_dir={data_dir}", f"--workdir={workdir}"
    raw = [] if raw_dir is None else [f"--raw_dir={raw_dir}"]
    # All seeds of a variant share data, which the override of the seed has drawn.
    own = {name: v for name, v in plan.overrides.items() if name != "seed"}
    seed = f"--config.seed={run.seed}"
    steps = (
        (
            "preparation of the data",
            lambda: plan_file.is_prepared(data_dir),
            ["--mode=prepare", file, *_flags(plan.overrides), *raw, data],
        ),
        (
            "training",
            lambda: plan_file.is_trained(workdir, config),
            [file, *_flags(own), seed, data, work],
        ),
        (
            "evaluation",
            lambda: plan_file.find_evaluation(folder, run) is not None,
            ["--mode=evaluate", work, data],
        ),
    )
    for name, is_done, arguments in steps:
        if is_done():
            continue
        if subprocesses.stopped:
            return False
        status = subprocesses.run(*arguments)
        if status in signals.STOPPED or subprocesses.stopped:
            return False
        # Another task of the array job may have done it in the meantime.
        if status and not is_done():
            raise RunFailed(f"{name} ended with status {status}")
    return True


def _flags(overrides: Mapping[str, Any]) -> list[str]:
    return [
        f"--config.{name}={lists_to_tuples(value)}" for name, value in overrides.items()
    ]


def _config(plan: SweepPlan, variant: str) -> ConfigDict:
    """Return the configuration of a variant's runs, but for the seed."""
    config = runpy.run_path(path_of_config(plan.config))["get_config"](variant)
    with config.unlocked():
        config.update_from_flattened_dict(
            {name: lists_to_tuples(value) for name, value in plan.overrides.items()}
        )
    check_ranges(config)
    return config

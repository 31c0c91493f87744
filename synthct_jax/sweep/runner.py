"""Trains, evaluates and tabulates variants of an experiment, with several seeds each.

One run after another on one machine, or one a task of an array job. Each step is a
process of its own. A run that fails does not end the others; what was stopped goes on
by the same command, and what is done is not done again.
"""

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from synthct_jax.runtime.subprocesses import STOPPED, Children
from synthct_jax.sweep import plan_file as sweep_folder
from synthct_jax.sweep.plan_file import Plan, Run

FAILED = 1


class RunFailed(Exception):
    """A step of a run ended with an error, which it has printed itself."""


class Stopped(Exception):
    """A signal came; what can be saved is."""


def sweep(
    plan: Plan,
    *,
    folder: Path,
    raw_dir: Path | None = None,
    only: int | None = None,
    children: Children | None = None,
) -> int:
    """Runs what of the plan is not done yet, and writes the tables.

    Args:
        plan: of this call; runs of earlier calls in the folder are tabulated as well.
        folder: of the sweep, see `sweep_folder`.
        raw_dir: the scans, where data have to be prepared from some.
        only: place of a single run in the plan; nothing is tabulated then.
        children: to start the steps with.

    Returns:
        The exit status: 0, FAILED where runs have failed, STOPPED after a signal.

    Raises:
        ValueError: the plan has an unknown variant, is not that of the folder, or has
            no run number `only`.
    """
    configs = {variant: _config(plan, variant) for variant in plan.variants}
    if only is not None and not 0 <= only < len(plan.runs):
        raise ValueError(
            f"--only is {only}, expected 0 to {len(plan.runs) - 1}: a run of "
            f"{'; '.join(map(str, plan.runs))}"
        )
    sweep_folder.remember(plan, folder)
    failures: dict[Run, str] = {}
    with children or Children() as children:
        for run in plan.runs if only is None else [plan.runs[only]]:
            try:
                _run(
                    run, plan, configs[run.variant], folder, raw_dir, children=children
                )
            except Stopped:
                logging.info("Stopped at %s: the same command goes on", run)
                return STOPPED
            except RunFailed as failure:
                failures[run] = str(failure)
                logging.error("%s: %s; the sweep goes on", run, failure)
    if only is None:
        _tabulate(folder)
    for run, failure in failures.items():
        logging.error("failed: %s: %s", run, failure)
    return FAILED if failures else 0


def _run(
    run: Run,
    plan: Plan,
    config: ConfigDict,
    folder: Path,
    raw_dir: Path | None,
    *,
    children: Children,
) -> None:
    """Prepares, trains and evaluates, where that is not done."""
    data = sweep_folder.data_dir(folder, run.variant)
    work = sweep_folder.workdir(folder, run)
    file = f"--config={plan.config}:{run.variant}"
    if not sweep_folder.is_prepared(data):
        arguments = ["--mode=prepare", file, *_flags(plan.overrides)]
        if raw_dir is not None:
            arguments.append(f"--raw_dir={raw_dir}")
        status = _start(children, *arguments, f"--data_dir={data}")
        # Another task of the array may have been sooner.
        if status and not sweep_folder.is_prepared(data):
            raise RunFailed(f"preparation of the data ended with status {status}")
    if not sweep_folder.is_trained(work, config.to_dict() | {"seed": run.seed}):
        # All seeds of a variant share data: those were drawn with the overrides' own.
        own = {name: v for name, v in plan.overrides.items() if name != "seed"}
        status = _start(
            children,
            file,
            *_flags(own),
            f"--config.seed={run.seed}",
            f"--data_dir={data}",
            f"--workdir={work}",
        )
        if status:
            raise RunFailed(f"training ended with status {status}")
    if sweep_folder.find_evaluation(work, data) is None:
        status = _start(
            children, "--mode=evaluate", f"--workdir={work}", f"--data_dir={data}"
        )
        if status:
            raise RunFailed(f"evaluation ended with status {status}")


def _start(children: Children, *arguments: str) -> int:
    if children.stopped:
        raise Stopped
    status = children.run(*arguments)
    if status == STOPPED or children.stopped:
        raise Stopped
    return status


def _flags(overrides: Mapping[str, Any]) -> list[str]:
    return [f"--config.{name}={_tuples(value)}" for name, value in overrides.items()]


def _tuples(value: Any) -> Any:
    """Sequences of a configuration are tuples, which JSON does not have."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _config(plan: Plan, variant: str) -> ConfigDict:
    """The configuration that the runs of a variant get, but for the seed.

    Raises:
        ValueError: there is no such variant.
    """
    config = runpy.run_path(plan.config)["get_config"](variant)
    with config.unlocked():
        config.update_from_flattened_dict(
            {name: _tuples(value) for name, value in plan.overrides.items()}
        )
    return config


def _tabulate(folder: Path) -> None:
    # Whatever starts JAX waits until no child needs the accelerator.
    from synthct_jax.sweep import pictures as sweep_pictures
    from synthct_jax.sweep import sweep_page
    from synthct_jax.sweep import table as sweep_table

    tables = sweep_table.tabulate(folder)
    if tables is None:
        logging.error("No run of the sweep is evaluated: there is nothing to tabulate")
        return
    sweep_page.write(folder, tables, sweep_pictures.draw(folder, list(tables.steps)))
    print(f"\n{sweep_page.to_markdown(tables)}")
    print(f"Table: {folder / 'table.html'}; .md, .csv and pictures.png beside it")

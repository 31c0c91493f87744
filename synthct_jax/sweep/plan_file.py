"""A sweep's folder: what is to be run, where it is, and what of it is done.

    SWEEP/sweep.json             configuration file, overrides, runs
    SWEEP/data/VARIANT/          prepared data, of all seeds of a variant
    SWEEP/runs/VARIANT/seed_N/   a run's folder
    SWEEP/table.csv, table.md, table.html, pictures.png

Nothing here starts JAX: a process that only waits for others must not take a GPU's
memory from them.
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from input_pipeline import files
from input_pipeline.dataset.manifest import FILE as PREPARED
from input_pipeline.dataset.manifest import load_prepared

FILE = "sweep.json"
FORMAT = 1


class Run(NamedTuple):
    """One training: what the network sees, and what draws its weights."""

    variant: str
    seed: int

    def __str__(self) -> str:
        return f"{self.variant}, seed {self.seed}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sweep is of.

    Attributes:
        config: file of the configuration, without a variant.
        overrides: its fields by dotted name and their values, of all runs.
        runs: in the order in which they are started.
    """

    config: str
    overrides: Mapping[str, Any]
    runs: tuple[Run, ...]

    @property
    def variants(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(run.variant for run in self.runs))

    @property
    def described(self) -> str:
        """The configuration as it would stand on a command line."""
        fields = (f"--config.{name}={value}" for name, value in self.overrides.items())
        return " ".join([f"--config={self.config}", *fields])


def make_plan(
    config: str, overrides: Mapping[str, Any], variants: list[str], seeds: list[str]
) -> Plan:
    """All variants with the first seed, then all with the next.

    Raises:
        ValueError: none or the same twice, a seed that is no number, or a file with
            a variant of its own.
    """
    if ":" in config:
        raise ValueError(
            f"--config is {config!r}, expected the file alone: a sweep takes variants "
            "from --variants"
        )
    for name, values in (("variants", variants), ("seeds", seeds)):
        if not values or len(set(values)) < len(values):
            raise ValueError(
                f"--{name} is {','.join(values)!r}, expected one or more, each once"
            )
    for seed in seeds:
        if not seed.isdecimal():
            raise ValueError(f"--seeds: {seed!r} is no seed, expected 0, 1, 2, ...")
    return Plan(
        config=os.path.normpath(config),
        overrides=_plain(overrides),
        runs=tuple(Run(v, int(seed)) for seed in seeds for v in variants),
    )


def remember(plan: Plan, folder: Path) -> None:
    """Writes the plan, or adds its runs to the one that is there.

    Raises:
        ValueError: the folder is of another configuration.
    """
    path = folder / FILE
    known: tuple[Run, ...] = ()
    if path.exists():
        old = read_plan(folder)
        if (old.config, old.overrides) != (plan.config, plan.overrides):
            raise ValueError(
                f"{folder} is a sweep of {old.described!r}, not of {plan.described!r}: "
                "variants and seeds may be added, nothing else; name another --workdir"
            )
        known = old.runs
    runs = tuple(dict.fromkeys([*known, *plan.runs]))
    if runs == known:
        return
    folder.mkdir(parents=True, exist_ok=True)
    fields = {
        "format": FORMAT,
        "config": plan.config,
        "overrides": plan.overrides,
        "runs": [run._asdict() for run in runs],
    }
    files.write_file(path, json.dumps(fields, indent=1) + "\n")


def read_plan(folder: Path) -> Plan:
    """SWEEP/sweep.json.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not what this version writes.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, so {folder} is no sweep")
    try:
        fields = json.loads(path.read_text())
        if fields["format"] != FORMAT:
            raise ValueError(f"format is {fields['format']}, expected {FORMAT}")
        return Plan(
            config=fields["config"],
            overrides=dict(fields["overrides"]),
            runs=tuple(Run(run["variant"], int(run["seed"])) for run in fields["runs"]),
        )
    except KeyError as error:
        raise ValueError(f"{path}: field {error} is missing") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def data_dir(folder: Path, variant: str) -> Path:
    return folder / "data" / variant


def workdir(folder: Path, run: Run) -> Path:
    return folder / "runs" / run.variant / f"seed_{run.seed}"


# --- what is done ---------------------------------------------------------------------


def is_prepared(data: Path) -> bool:
    return (data / PREPARED).is_file()  # it comes with all of the folder


def is_trained(work: Path, config: Mapping[str, Any]) -> bool:
    """Whether all steps of just this configuration are done; False: ask the training.

    Args:
        config: `ConfigDict.to_dict` of the run's.
    """
    checkpoints = _checkpoints(work)
    if not checkpoints:
        return False
    latest = max(checkpoints)
    wanted = config["train"]["steps"]
    return latest >= wanted and checkpoints[latest]["config"] == _plain(config)


def chosen_step(work: Path) -> int | None:
    """The step that is evaluated by default: `checkpoint.Checkpoints.choose`."""
    from synthct_jax.checkpoint.manager import best_step

    checkpoints = _checkpoints(work)
    if not checkpoints:
        return None
    metric = checkpoints[max(checkpoints)]["config"]["train"]["best_metric"]
    return best_step({s: of["metrics"].get(metric) for s, of in checkpoints.items()})


def find_evaluation(work: Path, data: Path) -> dict[str, Any] | None:
    """The newest metrics.json of what is evaluated by default; None: not done.

    That is the chosen step, on held-out subjects of these data where there are any, in
    the format of this version.
    """
    from synthct_jax.evaluation import results
    from synthct_jax.evaluation.nested import nested

    if not is_prepared(data):
        return None
    mr = load_prepared(data).domains["mr"]
    split = mr.held_out
    names = [subject.name for subject in mr.of_split(split)]
    wanted = (results.FORMAT, chosen_step(work), str(data.resolve()), split, names)
    newest, found = 0.0, None
    for path in work.glob("evaluation*/**/metrics.json"):
        try:
            made = path.stat().st_mtime
            fields = json.loads(path.read_text(encoding="utf-8"))
            of = fields["data"]
            has = (
                fields["format"],
                fields["provenance"]["step"],
                *(of[name] for name in ("data_dir", "split")),
                list(of["mr_subjects"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue  # being replaced, or somebody else's
        if has == wanted and made > newest:
            newest, found = made, vars(nested(results.read_json(path)))
    return found


def _checkpoints(work: Path) -> dict[int, dict[str, Any]]:
    """Of each step what its checkpoint says of itself: `checkpoint.Description`."""
    found = {}
    for path in (work / "checkpoints").glob("*/config/metadata"):
        # One that another task removes meanwhile is not there.
        with contextlib.suppress(OSError, ValueError):
            if path.parent.parent.name.isdecimal():
                found[int(path.parent.parent.name)] = json.loads(path.read_text())
    return found


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As it comes back from JSON."""
    return json.loads(json.dumps(dict(values)))

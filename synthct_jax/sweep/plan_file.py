"""The folder of a sweep: which runs it has, where they are, and what is done.

    SWEEP/sweep.json             configuration file, overrides, runs
    SWEEP/data/VARIANT/          prepared data, for all seeds of a variant
    SWEEP/runs/VARIANT/seed_N/   the folder of a run
    SWEEP/table.html, table.md, table.csv, pictures.png

Nothing here starts JAX: a process that only waits for others must not take a GPU's
memory from them.
"""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from input_pipeline import files
from input_pipeline.dataset.manifest import FILE as PREPARED
from input_pipeline.dataset.manifest import read_manifest
from synthct_jax.checkpoint import metadata
from synthct_jax.checkpoint.metadata import DamagedCheckpoint
from synthct_jax.evaluation.comparison import inputs
from synthct_jax.evaluation.comparison.inputs import EvaluatedRun
from synthct_jax.evaluation.results import Results
from synthct_jax.runtime.arguments import name_of_config

FILE = "sweep.json"
FORMAT = 1


class SweepRun(NamedTuple):
    """One training of a sweep: the variant, and the seed of its weights and batches."""

    variant: str
    seed: int

    def __str__(self) -> str:
        return f"{self.variant}, seed {self.seed}"

    def workdir(self, folder: Path) -> Path:
        return folder / "runs" / self.variant / f"seed_{self.seed}"

    def data_dir(self, folder: Path) -> Path:
        return folder / "data" / self.variant


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """The runs of a sweep in their order, and their configuration.

    Attributes:
        config: the configuration file, without a variant.
        overrides: values of its fields by dotted name, the same in all runs.
    """

    config: str
    overrides: Mapping[str, Any]
    runs: tuple[SweepRun, ...]

    @property
    def variants(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(run.variant for run in self.runs))

    @property
    def command(self) -> str:
        """The flags of the configuration, as on a command line (not quoted)."""
        fields = (f"--config.{name}={value}" for name, value in self.overrides.items())
        return " ".join([f"--config={self.config}", *fields])


def make_plan(
    config: str,
    overrides: Mapping[str, Any],
    variants: Sequence[str],
    seeds: Sequence[str],
) -> SweepPlan:
    """Make the plan of a sweep from its flags: all variants, seed by seed.

    Raises:
        ValueError: a list is empty or has duplicates, a seed is not a non-negative
            integer, or `config` names a variant (FILE:VARIANT).
    """
    if ":" in config:
        raise ValueError(
            f"--config is {config!r}, expected the file alone: a sweep takes variants "
            "from --variants"
        )
    for seed in seeds:
        if not seed.isdecimal():
            raise ValueError(f"--seeds: {seed!r} is no seed, expected 0, 1, 2, ...")
    seeds = [str(int(seed)) for seed in seeds]  # 01 is 1
    for name, values in (("variants", variants), ("seeds", seeds)):
        if not values or len(set(values)) < len(values):
            raise ValueError(
                f"--{name} is {','.join(values)!r}, expected one or more, each once"
            )
    return SweepPlan(
        config=name_of_config(os.path.normpath(config)),
        overrides=json.loads(json.dumps(dict(overrides))),
        runs=tuple(SweepRun(v, int(seed)) for seed in seeds for v in variants),
    )


def add_to_folder(plan: SweepPlan, folder: Path) -> None:
    """Write the plan to the folder, or add its runs to the plan that is there.

    Raises:
        ValueError: the folder holds a sweep of another configuration, or a training.
    """
    if metadata.checkpoints_folder(folder).exists():
        raise ValueError(f"{folder} is a training run; name another --workdir")
    runs = plan.runs
    if (folder / FILE).exists():
        old = read_plan(folder)
        if (old.config, old.overrides) != (plan.config, plan.overrides):
            raise ValueError(
                f"{folder} is a sweep of {old.command!r}, not of {plan.command!r}: "
                "variants and seeds may be added, nothing else; name another --workdir"
            )
        runs = tuple(dict.fromkeys([*old.runs, *plan.runs]))
        if runs == old.runs:
            return
    folder.mkdir(parents=True, exist_ok=True)
    fields = {
        "format": FORMAT,
        "config": plan.config,
        "overrides": plan.overrides,
        "runs": [run._asdict() for run in runs],
    }
    files.write_file(folder / FILE, json.dumps(fields, indent=1) + "\n")


def read_plan(folder: Path) -> SweepPlan:
    """Return the plan in SWEEP/sweep.json.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not what this version writes; names the file.
    """
    path = folder / FILE
    try:
        fields = json.loads(path.read_text())
        if fields["format"] != FORMAT:
            raise ValueError(f"format is {fields['format']}, expected {FORMAT}")
        return SweepPlan(
            config=name_of_config(fields["config"]),
            overrides=dict(fields["overrides"]),
            runs=tuple(SweepRun(r["variant"], int(r["seed"])) for r in fields["runs"]),
        )
    except KeyError as error:
        raise ValueError(f"{path}: field {error} is missing") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


# --- what is done ---------------------------------------------------------------------


def is_prepared(data_dir: Path) -> bool:
    """Return whether the data are there; the manifest appears with all of them."""
    return (data_dir / PREPARED).is_file()


def is_trained(workdir: Path, config: Mapping[str, Any]) -> bool:
    """Return whether all steps of exactly this configuration are done."""
    steps = metadata.list_steps(workdir)
    if not steps or steps[-1] < config["train"]["steps"]:
        return False
    try:
        trained = metadata.read_metadata(workdir, steps[-1]).config
    except (FileNotFoundError, DamagedCheckpoint):
        return False  # the training says what is wrong
    trained, expected = metadata.flatten(trained), metadata.flatten(config)
    if not expected["loss.fat_threshold"]:  # the training has found it
        trained["loss.fat_threshold"] = 0.0
    return trained == expected


def find_evaluation(folder: Path, run: SweepRun) -> EvaluatedRun | None:
    """Return the newest evaluation that `--mode=evaluate` makes by default, or None.

    That is one of the best step, on the held-out subjects of the variant's data.
    """
    workdir, data_dir = run.workdir(folder), run.data_dir(folder)
    if not is_prepared(data_dir):
        return None
    try:
        step = metadata.choose_step(workdir)
    except (FileNotFoundError, DamagedCheckpoint):
        return None
    mr = read_manifest(data_dir).domains["mr"]
    names = {subject.name for subject in mr.of_split(mr.held_out)}

    def is_default(results: Results) -> bool:
        data = results.data
        return (
            results.provenance.get("step") == step
            and data["data_dir"] == str(data_dir.resolve())
            and data["split"] == mr.held_out
            and set(data["mr_subjects"]) == names
        )

    return inputs.find_evaluation(workdir, is_default)

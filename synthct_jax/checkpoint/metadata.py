"""Metadata of a checkpoint, read and compared without JAX and Orbax.

A checkpoint is the folder RUN/checkpoints/STEP. Orbax gives it this name when it is
complete; before, the name is a temporary one. Its item `config` is a JSON file.
"""

import contextlib
import dataclasses
import importlib.metadata
import itertools
import json
import math
import numbers
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from absl import logging

from input_pipeline.damage import is_machine_fault
from input_pipeline.digests import check_digest
from synthct_jax.checkpoint.damage import describe_damage
from synthct_jax.configs.default import get_config
from synthct_jax.runtime import signals

_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")

# Fields that a resumed run may change. A change of any other is another experiment.
_MAY_CHANGE = (
    "data.workers",
    "mesh.data",
    "mesh.fsdp",
    "mesh.space",
    "model.remat",
    "train.accumulate",
    "train.steps",
    "train.log_every",
    "train.save_every",
    "train.keep_latest",
    "train.evaluate_every",
    "train.best_metric",
    "train.watchdog_seconds",
    "train.guard",
    "train.guard_after",
    "train.roll_backs",
    "translate.views",
)

FIRED = "guard_fired"
"""Metric of a validation: how many detectors of `evaluation.guard` fired."""

# Fields that configurations of earlier versions lack, with the value that they had.
_ADDED = {
    "mesh.seeds": 1,
    "loss.tissue_ranges": 0.0,
    "loss.fat_threshold": 0.0,
    "loss.noise_ct": 0.0,
    "loss.noise_mr": 0.0,
    "loss.paired": 0.0,
    "phantom.pairs": 0,
    "train.distil_from": "",
    "train.distil_views": 8,
    "phantom.train_lesions": "",
    "phantom.ct_offset_mm": 0.0,
    "train.guard": "log",
    "train.guard_after": 0.2,
    "train.roll_backs": 3,
    "data.channel_dropout": 0.0,
}


class DamagedCheckpoint(ValueError):
    """A checkpoint cannot be read, or its contents are not those that were saved."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointMetadata:
    """The JSON item of a checkpoint."""

    config: dict[str, Any]  # of the training, by `ConfigDict.to_dict`
    prepared: dict[str, Any]  # prepared.json of the training data
    data_dir: str
    # Of this package and its libraries, when it was written, and `source_commit`.
    versions: dict[str, str]
    # Of the validation at this step, empty if there was none.
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    # What the guard of the training knows, with its roll-backs (`Guard.to_json`).
    guard: dict[str, Any] = dataclasses.field(default_factory=dict)
    # Of every array by item and name, filled in when it is saved.
    digests: dict[str, dict[str, int]] = dataclasses.field(
        default_factory=dict, compare=False
    )

    @property
    def training_mr(self) -> dict[str, Any]:
        """Return the `Domain` statistics of the training MR, and their `channels`."""
        mr = self.prepared["domains"]["mr"]
        return {"channels": mr["channels"], **mr["statistics"].get("train", {})}

    @property
    def roll_backs(self) -> int:
        """Return how often the guard had rolled the training back before this step."""
        return len(self.guard.get("roll_backs", ()))

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON, in which NaN and infinity are null."""
        return _to_json(vars(self))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "CheckpointMetadata":
        """Return the metadata of `to_json`, whatever else `values` hold."""
        values = {"guard": {}} | dict(values)  # earlier versions had none
        fields = {f.name: values[f.name] for f in dataclasses.fields(cls)}
        return cls(**fields | {"config": complete_config(values["config"])})


def checkpoints_folder(workdir: Path) -> Path:
    return workdir / "checkpoints"


def list_steps(workdir: Path) -> list[int]:
    """Return the steps of the complete checkpoints of a run, ascending."""
    folder = checkpoints_folder(workdir)
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal())


def read_metadata(workdir: Path, step: int) -> CheckpointMetadata:
    """Return the metadata of one checkpoint.

    Raises FileNotFoundError if there is none, DamagedCheckpoint if it cannot be read.
    """
    path = checkpoints_folder(workdir) / str(step) / "config" / "metadata"
    with damaged_on_error(path.parent):
        values = json.loads(path.read_text())
        check_digest(values)
        return CheckpointMetadata.from_json(values)


def check_descriptions(workdir: Path, step: int) -> None:
    """Check that all JSON of a checkpoint can be read; errors as in `read_metadata`.

    Orbax reads its own files of every step when it opens a run, and does not name one
    that is damaged.
    """
    read_metadata(workdir, step)
    folder = checkpoints_folder(workdir) / str(step)
    for path in (folder / "_CHECKPOINT_METADATA", folder / "metrics" / "metrics"):
        with damaged_on_error(path):
            if path.exists() and not isinstance(json.loads(path.read_text()), dict):
                raise ValueError("no JSON object")


def set_aside(workdir: Path, step: int) -> Path:
    """Hide a damaged checkpoint by another name; return its new path."""
    folder = checkpoints_folder(workdir) / str(step)
    names = (f"{step}.damaged{number or ''}" for number in itertools.count())
    aside = next(p for p in map(folder.with_name, names) if not p.exists())
    folder.rename(aside)
    return aside


def choose_step(workdir: Path, step: int | None = None) -> int:
    """Return `step` if its checkpoint exists; by default the best or the latest step.

    The best step has the lowest value of `train.best_metric` among those that were
    validated, and at whose validation no guard fired if there is such a step; without
    a validation it is the latest. Raises like `read_metadata`.
    """
    require_checkpoints(workdir)
    if step is not None:
        _require_step(workdir, step)
        return step
    every = {}
    for listed in list_steps(workdir):
        # A training that goes on removes old steps at any time.
        with contextlib.suppress(FileNotFoundError):
            every[listed] = read_metadata(workdir, listed)
    metric = every[max(every)].config["train"]["best_metric"]
    values = {step: m.metrics.get(metric) for step, m in every.items()}
    good = {
        step: value
        for step, value in values.items()
        if value is not None and not every[step].metrics.get(FIRED)
    }
    return best_step(good or values)


def best_step(values: Mapping[int, float | None]) -> int:
    """Return the step of the lowest value, the later of two equal ones.

    Steps without a validation have None; if all of them do, it is the latest step.
    """
    validated = [step for step in sorted(values) if values[step] is not None]
    return min(reversed(validated), key=values.__getitem__, default=max(values))


def require_checkpoints(workdir: Path) -> None:
    """Raise FileNotFoundError unless the run has a checkpoint."""
    if not workdir.is_dir():
        raise FileNotFoundError(f"--workdir: there is no folder {workdir}")
    if not list_steps(workdir):
        raise FileNotFoundError(
            f"{workdir} holds no checkpoint, expected {checkpoints_folder(workdir)}"
            "/STEP: train first (--mode=train), or name the run's folder"
        )


def _require_step(workdir: Path, step: int) -> None:
    steps = list_steps(workdir)
    if step not in steps:
        raise FileNotFoundError(
            f"{checkpoints_folder(workdir)} holds no checkpoint of step {step}, it "
            f"has: {', '.join(map(str, steps)) or 'none'}"
        )


@contextlib.contextmanager
def damaged_on_error(item: Path) -> Iterator[None]:
    """Raise DamagedCheckpoint, with the item and the reason, for an error in the block.

    Libraries that read a damaged file raise errors of many kinds. A signal, and what is
    the machine's fault, stay as they are; FileNotFoundError if there is no checkpoint.

    Args:
        item: RUN/checkpoints/STEP/ITEM, or a file in it.
    """
    try:
        yield
    except DamagedCheckpoint:
        raise
    except Exception as error:
        signals.reraise()
        folder = next(parent for parent in item.parents if parent.name.isdecimal())
        _require_step(folder.parent.parent, int(folder.name))
        missing = isinstance(error, FileNotFoundError)  # a part of the checkpoint
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            raise
        if is_machine_fault(error) and not missing:
            raise
        reason = describe_damage(error)
        raise DamagedCheckpoint(f"{item} cannot be read: {reason}") from error


def library_versions() -> dict[str, str]:
    """Return the versions of this package, and of libraries that affect its numbers."""
    versions = {}
    for name in ("synthct_jax", *_LIBRARIES):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"  # run from its folder
    return versions


def source_commit() -> dict[str, str]:
    """Return {'commit': ...} of the clone that this package runs from, if it is one.

    The name ends in -dirty if files differ from the commit. An installed package has no
    commit, nor has one without git.
    """
    git = ["git", "-C", str(Path(__file__).parent)]
    describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        for command in (["ls-files", "--error-unmatch", Path(__file__).name], describe):
            done = subprocess.run([*git, *command], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": done.stdout.decode().strip()}


# --- resuming -------------------------------------------------------------------------


def check_resumable(
    saved: CheckpointMetadata, current: CheckpointMetadata, workdir: Path
) -> None:
    """Check that to resume from `saved` with `current` is the same experiment.

    Only the fields of `_MAY_CHANGE` may differ: none of them changes what a step
    computes, but for rounding and the length of the schedule. If another field differs,
    or the training data, ValueError is raised.
    """
    old, new = flatten(saved.config), flatten(current.config)
    refused = []
    for name in sorted(old.keys() | new.keys()):
        before, now = old.get(name, "not there"), new.get(name, "not there")
        if before == now:
            continue
        if name not in _MAY_CHANGE:
            refused.append(f"{name} = {before} (now {now})")
        elif name == "train.steps":
            logging.warning(
                "train.steps was %s and is %s: the learning rate decays accordingly "
                "from here on, as it would not have in a run of %s steps",
                *(before, now, now),
            )
        else:
            logging.info("%s was %s and is %s", name, before, now)
    if refused:
        raise ValueError(
            f"{workdir} was trained with {'; '.join(refused)}: go on with its own "
            "configuration, or choose another --workdir"
        )
    for domain in ("mr", "ct"):
        before, now = (
            [
                (subject["slices"], _identity(subject))
                for subject in metadata.prepared["domains"][domain]["subjects"]
                if subject["split"] == "train"
            ]
            for metadata in (saved, current)
        )
        if before != now:
            raise ValueError(
                f"{workdir} was trained on {saved.data_dir} with {len(before)} "
                f"{domain} subjects and {sum(n for n, _ in before)} slices; "
                f"{current.data_dir} has {len(now)} and {sum(n for n, _ in now)}, "
                "or others"
            )


def _identity(subject: Mapping[str, Any]) -> list[str]:
    """Return name, scale and place of a subject, which may have a number as name."""
    values = (*subject["scale"], *itertools.chain(*subject["affine"]))
    return [subject["name"], *(f"{value:.3g}" for value in values)]


def complete_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration that was read from JSON, with tuples for lists.

    An older one lacks fields that were added later, those of `_ADDED`. They get the
    value that keeps the behaviour of that time.

    Raises:
        ValueError: any other field is missing; names it.
    """
    config = lists_to_tuples(dict(config))
    for name, value in _ADDED.items():
        section, field = name.split(".")
        if section in config:  # only phantoms have one of their own
            config[section] = {field: value} | config[section]
    lacking = sorted(flatten(get_config().to_dict()).keys() - flatten(config).keys())
    if lacking:
        raise ValueError(f"the configuration lacks {', '.join(lacking)}")
    return config


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the fields of a configuration by dotted name, as JSON has them."""
    flat = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            # A list and a tuple are the same configuration, at any depth.
            flat[prefix + name] = json.loads(json.dumps(value))
    return flat


# --- JSON -----------------------------------------------------------------------------


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(v) for v in value]
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        return float(value) if math.isfinite(value) else None
    return value


def lists_to_tuples(value: Any) -> Any:
    """Return JSON with tuples for lists, as a configuration has them."""
    if isinstance(value, dict):
        return {k: lists_to_tuples(v) for k, v in value.items()}
    if isinstance(value, list):
        return tuple(lists_to_tuples(v) for v in value)
    return value

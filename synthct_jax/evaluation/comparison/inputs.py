"""The evaluations to compare: read from folders, grouped, with their subjects matched.

A group is a single run, or the runs of a variant that differ in their seed. Two
subjects are the same where their names, data sources, grids and, as far as known, their
reference CT are the same.
"""

import dataclasses
import math
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from synthct_jax.evaluation.results import (
    NETWORK,
    REFERENCE_CT,
    Results,
    read_json,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluatedRun:
    """An evaluation of a run, and the folder that holds it."""

    folder: Path
    results: Results

    @property
    def step(self) -> int | None:
        """The step of the checkpoint that was evaluated."""
        return self.results.provenance.get("step")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that count as one in a comparison.

    Attributes:
        name: how tables and differences call it: 'A', or the name of a variant.
        label: what distinguishes it from the others, where the name does not say it.
        runs: one, or one for each seed.
        method: whose numbers are taken from their results.
    """

    name: str
    label: str = ""
    runs: tuple[EvaluatedRun, ...]
    method: str = NETWORK

    @property
    def title(self) -> str:
        return f"{self.name} {self.label}".strip()


# --- folders --------------------------------------------------------------------------


def read_groups(paths: Sequence[Path]) -> tuple[Group, ...]:
    """Return the groups A, B, ... of these folders, one for each.

    Args:
        paths: each the folder of an evaluation, of a run, or of the runs of a variant,
            `seed_0`, `seed_1`, ... Of a run, the newest evaluation is taken.

    Raises:
        FileNotFoundError, ValueError: there is no readable evaluation, a folder is
            named twice, or there are not 2 to 26 of them.
    """
    letters = string.ascii_uppercase
    if not 2 <= len(paths) <= len(letters):
        raise ValueError(
            f"--runs names {len(paths)}, expected 2 to {len(letters)} folders of runs, "
            "of variants or of evaluations"
        )
    runs = [_read_runs(Path(path)) for path in paths]
    folders: set[Path] = set()
    for run in (run for group in runs for run in group):
        folder = run.folder.resolve()
        if folder in folders:
            raise ValueError(f"--runs names {folder} twice")
        folders.add(folder)
    return tuple(
        Group(name=name, label=label, runs=group)
        for name, label, group in zip(letters, _labels(runs), runs, strict=False)
    )


def find_evaluation(
    run: Path, accept: Callable[[Results], bool] = lambda results: True
) -> EvaluatedRun | None:
    """Return the newest acceptable evaluation of a run, None if there is none.

    Evaluations that cannot be read, of another version or just being replaced, are
    left out with a warning.
    """
    evaluations = []
    for file in _files(run):
        try:
            evaluation = EvaluatedRun(folder=file.parent, results=read_json(file))
        except (OSError, ValueError) as error:
            logging.warning("Left out: %s", error)
            continue
        if accept(evaluation.results):
            evaluations.append(evaluation)
    return max(evaluations, key=lambda e: (e.results.made, e.step or 0), default=None)


def _files(run: Path) -> list[Path]:
    return sorted((run / "evaluation").glob("*/metrics.json"))


def _read_runs(path: Path) -> tuple[EvaluatedRun, ...]:
    if (file := path / "metrics.json").is_file():
        return (EvaluatedRun(folder=path, results=read_json(file)),)
    if not path.is_dir():
        raise FileNotFoundError(f"--runs: there is no folder {path}")
    folders = sorted(path.glob("seed_*")) or [path]
    runs = []
    for folder in folders:
        if (run := find_evaluation(folder)) is None:
            for file in _files(folder):
                read_json(file)  # says why it cannot be read
            raise FileNotFoundError(
                f"{folder} has no metrics.json and no evaluation/STEP/metrics.json: "
                "evaluate first (--mode=evaluate)"
            )
        logging.info("Newest evaluation of %s: %s", folder, run.folder)
        runs.append(run)
    return tuple(runs)


def _labels(groups: Sequence[Sequence[EvaluatedRun]]) -> list[str]:
    """Return what differs between the groups' folders, or else between their steps."""
    first = [group[0] for group in groups]
    workdirs = [
        Path(run.results.provenance.get("workdir", run.folder)) for run in first
    ]
    labels = _distinct_parts(workdirs)
    if len(set(labels)) == len(labels):
        return labels
    labels = [
        f"{label} step {run.step}".strip()
        for label, run in zip(labels, first, strict=True)
    ]
    if len(set(labels)) == len(labels):
        return labels
    return _distinct_parts([run.folder.resolve() for run in first])


def _distinct_parts(paths: Sequence[Path]) -> list[str]:
    """Strip the common leading and trailing components of paths."""
    components = [list(path.parts) for path in paths]
    for end in (0, -1):
        while all(components) and len({each[end] for each in components}) == 1:
            for each in components:
                each.pop(end)
    if not any(components):
        return [""] * len(paths)
    return [
        "/".join(each) or path.name
        for each, path in zip(components, paths, strict=True)
    ]


# --- subjects -------------------------------------------------------------------------


Identities = Mapping[str, Sequence[Mapping[str, str]]]
"""By group name, for each of its runs: the identity of each subject, by its name."""


def match_subjects(groups: Sequence[Group]) -> Identities:
    """Return the subjects' identities, equal in two runs where the subject is the same.

    That is its name for the first subject of a name, 'NAME (2)' for another subject
    called NAME, and so on.
    """
    known: dict[str, list[Mapping[str, Any]]] = {}
    return {
        group.name: [
            {
                name: _identity(name, subject, known.setdefault(name, []))
                for name, subject in _subjects(run.results).items()
            }
            for run in group.runs
        ]
        for group in groups
    }


def _identity(name: str, subject: Mapping[str, Any], namesakes: list) -> str:
    same = [i for i, other in enumerate(namesakes) if _are_same(subject, other)]
    if not same:
        same = [len(namesakes)]
        namesakes.append(subject)
    return f"{name} ({same[0] + 1})" if same[0] else name


def _subjects(results: Results) -> dict[str, dict[str, Any]]:
    """Return what identifies each subject: data, slices, tissues of reference CT."""
    subjects: dict[str, dict[str, Any]] = {
        name: {
            "grid": [results.data[key] for key in ("source", "size", "spacing_mm")],
            "slices": results.data["mr_subjects"].get(name),
            "voxels": {},
            "mean_hu": {},
        }
        for name in results.subjects
    }
    for row in results.rows:
        if (
            row.method == REFERENCE_CT
            and row.subject
            and row.region.startswith("tissue:")
            and row.metric in ("voxels", "mean_hu")
            and math.isfinite(row.value)
        ):
            subjects[row.subject][row.metric][row.region] = row.value
    return subjects


def _are_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if any(one[key] != other[key] for key in ("grid", "slices")):
        return False
    if not (one["voxels"] and other["voxels"]):
        return True
    return one["voxels"] == other["voxels"] and all(
        math.isclose(hu, other["mean_hu"][tissue], rel_tol=1e-4, abs_tol=0.01)
        for tissue, hu in one["mean_hu"].items()
    )

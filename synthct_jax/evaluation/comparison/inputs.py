"""The evaluations to compare: read from folders, grouped, with their subjects matched.

Two subjects are the same where their names, data sources, grids and, as far as known,
their reference CT are the same.
"""

import dataclasses
import math
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from synthct_jax.evaluation.results import NETWORK, REFERENCE_CT, Results, read_json


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluatedRun:
    """An evaluation of a run, and the folder that holds it."""

    folder: Path
    results: Results

    @property
    def step(self) -> int | None:
        """Training step of the evaluated checkpoint; None for a model file."""
        return self.results.provenance.get("step")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that count as one in a comparison: a single one, or one for each seed.

    Attributes:
        name: how tables and differences call it: 'A', or the name of a variant.
        label: what distinguishes it from the others, where the name does not say it.
        method: the method of `results.METHODS` whose numbers are compared.
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
    folders = [run.folder.resolve() for group in runs for run in group]
    for folder in folders:
        if folders.count(folder) > 1:
            raise ValueError(f"--runs names {folder} twice")
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
    labels = _distinct_names(workdirs)
    if len(set(labels)) < len(labels):
        labels = [f"step {run.step}" for run in first]
    if len(set(labels)) < len(labels):
        labels = _distinct_names([run.folder.resolve() for run in first])
    return labels


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """Strip the common leading and trailing components of paths."""
    components = [list(path.parts) for path in paths]
    for end in (0, -1):
        while all(components) and len({each[end] for each in components}) == 1:
            for each in components:
                each.pop(end)
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
    known: dict[str, list[_Fingerprint]] = {}

    def identity(name: str, subject: _Fingerprint) -> str:
        namesakes = known.setdefault(name, [])
        same = (i for i, each in enumerate(namesakes) if subject.is_same(each))
        if (number := next(same, None)) is None:
            number = len(namesakes)
            namesakes.append(subject)
        return f"{name} ({number + 1})" if number else name

    return {
        group.name: [
            {name: identity(name, s) for name, s in _fingerprints(run.results).items()}
            for run in group.runs
        ]
        for group in groups
    }


@dataclasses.dataclass(frozen=True)
class _Fingerprint:
    """The grid of a subject, and voxels and mean HU by tissue of its reference CT."""

    grid: tuple[Any, ...]
    tissues: dict[tuple[str, str], float]

    def is_same(self, other: "_Fingerprint") -> bool:
        if self.grid != other.grid:
            return False
        if not (self.tissues and other.tissues):
            return True
        return self.tissues.keys() == other.tissues.keys() and all(
            value == other.tissues[region, metric]
            if metric == "voxels"
            else math.isclose(value, other.tissues[region, metric], abs_tol=0.01)
            for (region, metric), value in self.tissues.items()
        )


def _fingerprints(results: Results) -> dict[str, _Fingerprint]:
    data = results.data
    grid = data["source"], data["size"], data["spacing_mm"]
    subjects = {
        name: _Fingerprint((*grid, slices), {})
        for name, slices in data["mr_subjects"].items()
    }
    for row in results.rows:
        if (
            row.method == REFERENCE_CT
            and row.subject
            and row.region.startswith("tissue:")
            and row.metric in ("voxels", "mean_hu")
            and math.isfinite(row.value)
        ):
            subjects[row.subject].tissues[row.region, row.metric] = row.value
    return subjects

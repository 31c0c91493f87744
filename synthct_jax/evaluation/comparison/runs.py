"""The evaluations that are compared, out of folders of runs or their own."""

import dataclasses
import string
from collections.abc import Sequence
from pathlib import Path

from absl import logging

from synthct_jax.evaluation import results
from synthct_jax.evaluation.nested import nested
from synthct_jax.evaluation.results import Results

FIRST = "A"  # what others are compared with


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One of those compared.

    Attributes:
        letter: A, B, ...
        label: what tells it from the others: a part of its folder, or its step.
        folder: of the evaluation.
        results: what is in it.
    """

    letter: str
    label: str
    folder: Path
    results: Results

    @property
    def step(self) -> int | None:
        return self.results.provenance.get("step")


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """The evaluations, with letters and labels; errors as of `compare`."""
    if not 2 <= len(paths) <= len(string.ascii_uppercase):
        raise ValueError(
            f"--runs names {len(paths)}, expected 2 to {len(string.ascii_uppercase)} "
            "folders of runs or of evaluations"
        )
    found = [find_evaluation(Path(path)) for path in paths]
    where = [folder.resolve() for folder, _ in found]
    for place, folder in enumerate(where):
        if folder in where[:place]:
            raise ValueError(f"--runs names {folder} twice")
    return [
        Run(letter=letter, label=label, folder=folder, results=of)
        for letter, label, (folder, of) in zip(
            string.ascii_uppercase,
            _labels(where, [of for _, of in found]),
            found,
            strict=False,
        )
    ]


def find_evaluation(path: Path) -> tuple[Path, Results]:
    """A folder of an evaluation, or the newest one of a run.

    Raises:
        FileNotFoundError, ValueError: there is none that can be read; names the folder.
    """
    if (path / "metrics.json").is_file():
        return path, nested(results.read_json(path / "metrics.json"))
    if not path.is_dir():
        raise FileNotFoundError(f"--runs: there is no folder {path}")
    found, error = {}, None
    for file in sorted((path / "evaluation").glob("*/metrics.json")):
        try:
            found[file.parent] = nested(results.read_json(file))
        except (OSError, ValueError) as reason:  # of another version, or being replaced
            logging.warning("Left out: %s", error := reason)
    if not found:
        if error is not None:
            raise error
        raise FileNotFoundError(
            f"{path} has no metrics.json and no evaluation/STEP/metrics.json: "
            "evaluate first (--mode=evaluate)"
        )
    newest = max(found, key=lambda f: (found[f].made, found[f].provenance["step"]))
    logging.info("Newest evaluation of %s: %s", path, newest)
    return newest, found[newest]


def _labels(folders: Sequence[Path], found: Sequence[Results]) -> list[str]:
    """What of the runs' folders is not the same in all; or their steps as well."""
    runs = [
        Path(of.provenance.get("workdir", f))
        for f, of in zip(folders, found, strict=True)
    ]
    names = _distinct(runs)
    if len(set(names)) == len(names):
        return names
    names = [
        f"{name} step {of.provenance.get('step')}".strip()
        for name, of in zip(names, found, strict=True)
    ]
    return names if len(set(names)) == len(names) else _distinct(folders)


def _distinct(paths: Sequence[Path]) -> list[str]:
    """Without what all begin with and all end with."""
    parts = [list(path.parts) for path in paths]
    for at in (0, -1):
        while all(parts) and len({each[at] for each in parts}) == 1:
            for each in parts:
                each.pop(at)
    if not any(parts):
        return [""] * len(paths)
    return [
        "/".join(each) or path.name for each, path in zip(parts, paths, strict=True)
    ]

"""Who is in all of several evaluations, and what to be warned of."""

import math
from collections.abc import Mapping, Sequence

from synthct_jax.evaluation.comparison.measures import FEWEST
from synthct_jax.evaluation.comparison.runs import Run
from synthct_jax.evaluation.nested import MODEL
from synthct_jax.evaluation.report.formatting import FEW_SUBJECTS, count_noun
from synthct_jax.evaluation.results import Results


def common(runs: Sequence[Run]) -> tuple[tuple[str, ...], list[str]]:
    """Names of the subjects that all have, as in A, and warnings about the others."""
    first = runs[0]
    of_first = {entry["name"]: entry for entry in first.results.subjects}
    common, others = dict.fromkeys(of_first), set()
    for run in runs[1:]:
        theirs = {entry["name"]: entry for entry in run.results.subjects}
        mistaken = {
            name
            for name in theirs.keys() & of_first.keys()
            if not _same(first.results, of_first[name], run.results, theirs[name])
        }
        others |= mistaken
        common = {n: None for n in common if n in theirs and n not in mistaken}
        if not common:
            named = " (the same names, but other people)" if mistaken else ""
            raise ValueError(
                f"{first.folder} and {run.folder} have no subject in common{named}: "
                f"{_data(first)} against {_data(run)}"
            )
    return tuple(common), _warnings(runs, tuple(common), others)


def _same(a: Results, one: Mapping, b: Results, other: Mapping) -> bool:
    """Whether two subjects of one name are the same person on the same grid."""
    if any(a.data[name] != b.data[name] for name in ("source", "size", "spacing_mm")):
        return False
    if one["slices"] != other["slices"]:
        return False
    tissues = [entry[MODEL].get("tissues") for entry in (one, other)]
    if None in tissues:
        return True
    return tissues[0].keys() == tissues[1].keys() and all(
        (here is None) == (there is None)
        and (
            here is None
            or here["voxels"] == there["voxels"]
            and math.isclose(
                here["true_mean"], there["true_mean"], rel_tol=1e-4, abs_tol=0.01
            )
        )
        for here, there in ((tissues[0][name], tissues[1][name]) for name in tissues[0])
    )


def _data(run: Run) -> str:
    data = run.results.data
    names = data["mr_subjects"]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (
        f"{data['source']} data, {data['split']} split, {data['size']} pixels of "
        f"{data['spacing_mm']:g} mm, {', '.join(names[:3])}{more}"
    )


def _warnings(
    runs: Sequence[Run], common: Sequence[str], others: set[str]
) -> list[str]:
    def each(name: str) -> str:
        return "; ".join(f"{run.letter}: {run.results.data[name]}" for run in runs)

    def differ(name: str) -> bool:
        return len({str(run.results.data[name]) for run in runs}) > 1

    found = []
    n = len(common)
    if n < FEWEST:
        found.append(
            f"Only {count_noun(n, 'subject')} in common: were there no "
            f"difference, all would differ in one direction in {2 / 2**n:.0%} of such "
            "comparisons. Nothing is called better or worse."
        )
    elif n < FEW_SUBJECTS:
        found.append(
            f"Only {n} subjects in common: intervals over so few are too narrow."
        )
    if differ("split"):
        found.append(f"Evaluated on different splits ({each('split')}).")
    if any(run.results.data["split"] == "train" for run in runs):
        found.append("Some of these subjects were trained on: others may fare worse.")
    left = {
        run.letter: len(run.results.data["mr_subjects"]) - n
        for run in runs
        if len(run.results.data["mr_subjects"]) > n
    }
    if left:
        counts = ", ".join(f"{many} of {letter}" for letter, many in left.items())
        found.append(
            f"Only the {n} subjects in common are compared: {counts} are left out. "
            "Distances between collections are of all."
        )
    if others:
        found.append(
            "The same names, but other people (their images or true CT differ), are "
            f"left out: {', '.join(sorted(others))}."
        )
    if differ("data_dir") and not all(run.results.paired for run in runs):
        found.append(
            f"Prepared data are not the same folder ({each('data_dir')}), and there is "
            "no true CT to tell by: who has the same name is taken for the same person."
        )
    versions = [run.results.provenance.get("versions") or {} for run in runs]
    for name in dict.fromkeys(name for each_run in versions for name in each_run):
        if len({each_run.get(name) for each_run in versions}) > 1:
            which = ", ".join(
                f"{run.letter} {of.get(name)}"
                for run, of in zip(runs, versions, strict=True)
            )
            found.append(f"Evaluated with different versions of {name}: {which}.")
    return found

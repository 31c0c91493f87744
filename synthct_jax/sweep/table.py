"""The tables of a sweep: its variants compared over subjects and seeds.

The metrics shown are those of every comparison, see `comparison.tables`.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import logging

from input_pipeline.files import write_file
from synthct_jax.evaluation.comparison import documents, tables
from synthct_jax.evaluation.comparison.compare import Comparison, compare
from synthct_jax.evaluation.comparison.differences import Pair
from synthct_jax.evaluation.comparison.inputs import EvaluatedRun, Group
from synthct_jax.evaluation.results import BASELINES, METHODS
from synthct_jax.sweep import pictures, plan_file
from synthct_jax.sweep.plan_file import SweepPlan, SweepRun

SUPERVISED = "supervised_"
PICTURES = "pictures.png"


def write_tables(folder: Path) -> None:
    """Compare what is evaluated of a sweep; write table.html, .md, ... and pictures."""
    plan = plan_file.read_plan(folder)
    evaluations = {run: plan_file.find_evaluation(folder, run) for run in plan.runs}
    evaluated = {run: each for run, each in evaluations.items() if each is not None}
    if not evaluated:
        logging.error("No run of the sweep is evaluated: there is nothing to tabulate")
        return
    comparison = compare_variants(plan, evaluated)
    shown = pictures.draw(folder, list(evaluated))
    write_file(folder / PICTURES, shown)
    texts = documents.render(
        "table",
        comparison,
        title="Variants of an experiment",
        subtitle=plan.command,
        pictures=shown,
    )
    for name, text in texts.items():
        write_file(folder / name, text)
    print(f"\n{tables.to_markdown(comparison)}")
    print(f"Table: {folder / 'table.html'}; .md, .csv, {PICTURES} beside it")


def compare_variants(
    plan: SweepPlan, evaluated: dict[SweepRun, EvaluatedRun]
) -> Comparison:
    """Return the comparison of a sweep's variants, each a group of its seeds."""
    groups = []
    for variant in plan.variants:
        runs = tuple(e for run, e in evaluated.items() if run.variant == variant)
        if runs:
            groups.append(Group(name=variant, runs=runs))
    # These methods do not depend on a training.
    first = groups[0].runs[:1]
    baselines = [
        Group(name=METHODS[method], runs=first, method=method)
        for method in BASELINES
        if method in first[0].results.methods
    ]
    missing = "; ".join(str(run) for run in plan.runs if run not in evaluated)
    return compare(
        groups,
        planned_pairs([group.name for group in groups]),
        baselines=baselines,
        warnings=[f"Not evaluated, so left out: {missing}."] if missing else [],
    )


def planned_pairs(variants: Sequence[str]) -> list[Pair]:
    """Return the pairs of interest among variants.

    They tell what the second phase adds, what T2 adds, and how far each variant is from
    its supervised ceiling.
    """
    inputs = [("in_out", "in"), ("in_out", "out"), ("in_out_t2", "in_out")]
    kinds = (("", ""), ("", "_noncontrast"), (SUPERVISED, ""))
    pairs = [(f"{x}{a}{y}", f"{x}{b}{y}") for x, y in kinds for a, b in inputs]
    pairs += [(name, SUPERVISED + name) for name in variants]
    return [(a, b) for a, b in pairs if a in variants and b in variants]

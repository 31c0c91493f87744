"""Compute plans on reference CT with planted faults: which dose sees which fault?

    .venv-dose/bin/python tests/support/dose_faults.py DATA --subjects=2

DATA are prepared phantoms: bone of their test subjects becomes soft tissue, gas in the
bowel is filled, or the CT is moved by 4 mm to the patient's left. The table has means
over subjects.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from input_pipeline.dataset.dataset import Dataset
from synthct_jax.dose.plans import RADIATIONS, make_plan
from synthct_jax.dose.rows import FIELDS, Row, mean_rows, measure_plan
from synthct_jax.dose.runner import load_engine
from synthct_jax.dose.structures import BODY, BONE, TARGET, sites_of_subject
from synthct_jax.evaluation.results import REFERENCE_CT
from synthct_jax.evaluation.subjects import EvaluationSubject, read_subjects

_SOFT_TISSUE_HU = 50.0
_SHIFT_MM = 4.0
_COLUMNS = (
    (BODY, "gamma_2_2"),
    (BODY, "gamma_3_3"),
    (TARGET, "d98_difference"),
    (FIELDS, "range_error"),
)


def _filled(*names: str) -> Callable[[EvaluationSubject], np.ndarray]:
    def fill(subject: EvaluationSubject) -> np.ndarray:
        tissue = subject.voxels_of(names)
        return np.where(tissue, np.float32(_SOFT_TISSUE_HU), subject.reference_ct)

    return fill


def _moved(subject: EvaluationSubject) -> np.ndarray:
    pixels = round(_SHIFT_MM / subject.spacing_mm[2])
    return np.roll(subject.reference_ct, pixels, axis=2)


FAULTS: dict[str, Callable[[EvaluationSubject], np.ndarray]] = {
    "bone missing": _filled(*BONE),
    "gas filled": _filled("gas"),
    "moved by 4 mm": _moved,
}


def measure(data_dir: Path, subjects: int) -> Iterator[Row]:
    """Yield the rows of every plan of the first test subjects, a fault a method."""
    engine = load_engine()
    read = read_subjects(Dataset.open(data_dir), "test")
    for _, subject in zip(range(subjects), read, strict=False):
        for site, structures in sites_of_subject(subject).items():
            for radiation in RADIATIONS:
                plan = make_plan(site, radiation)
                fixed, dose = engine.optimise(
                    subject.reference_ct, structures, subject.spacing_mm, plan
                )
                doses = {REFERENCE_CT: dose}
                for name, fault in FAULTS.items():
                    doses[name] = fixed.dose_on(fault(subject))
                yield from measure_plan(
                    subject.name, plan, structures, subject.spacing_mm, doses
                )


def table(rows: list[Row]) -> str:
    """Return the means over subjects as Markdown."""
    means = {row[1:5]: row.value for row in mean_rows(rows)}
    lines = [
        "| plan | fault | gamma 2 %/2 mm | gamma 3 %/3 mm | D98 %, difference | "
        "range error, mm |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for plan in dict.fromkeys(row.plan for row in rows):
        for fault in FAULTS:
            values = [means.get((fault, plan, *column)) for column in _COLUMNS]
            cells = ["–" if v is None else f"{round(v, 1) + 0:.1f}" for v in values]
            lines.append(f"| {plan} | {fault} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of prepared phantoms")
    parser.add_argument("--subjects", type=int, default=2)
    arguments = parser.parse_args()
    print(table(list(measure(arguments.data, arguments.subjects))))


if __name__ == "__main__":
    main()

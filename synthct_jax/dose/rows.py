"""The numbers of a dose check as one tidy table: quantities, rows, means over subjects.

All doses are in % of the prescribed dose.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from synthct_jax.dose import measures
from synthct_jax.dose.plans import PROTONS, Plan
from synthct_jax.dose.structures import BODY, TARGET, Structures
from synthct_jax.evaluation.results import ALL_SUBJECTS, REFERENCE_CT
from synthct_jax.metrics.intervals import UNLIMITED, Limits, mean_interval

FIELDS = "all fields"
DIFFERENCE = "_difference"

_PERCENT_DOSE, _PERCENT = "% of prescribed dose", "%"


class Quantity(NamedTuple):
    """A measure of dose: its title, its unit, and the values that it can have."""

    title: str
    unit: str
    limits: Limits = UNLIMITED


_STATISTICS = {"mean": "mean dose", "d2": "D2 %", "d50": "D50 %", "d98": "D98 %"}
_GAMMA = {
    f"gamma_{percent:g}_{mm:g}": (percent, mm) for percent, mm in measures.CRITERIA
}
QUANTITIES = {
    **{
        name: Quantity(title, _PERCENT_DOSE, (0, np.inf))
        for name, title in _STATISTICS.items()
    },
    **{
        name + DIFFERENCE: Quantity(f"{title}, difference", _PERCENT_DOSE)
        for name, title in _STATISTICS.items()
    },
    **{
        name: Quantity(f"gamma {percent:g} %/{mm:g} mm", _PERCENT, (0, 100))
        for name, (percent, mm) in _GAMMA.items()
    },
    "range": Quantity("range", "mm", (0, np.inf)),
    "range_shift": Quantity("shift of the range", "mm"),
    "range_error": Quantity("range error", "mm", (0, np.inf)),
}
"""Names of measures. Differences and shifts are those of a CT minus the reference."""


class Row(NamedTuple):
    """Value of a quantity for one plan on the CT of one method.

    Attributes:
        subject: its name, or ALL_SUBJECTS: the mean over subjects.
        method: REFERENCE_CT, or the CT that the plan is computed on.
        plan: its name.
        structure: BODY, TARGET, an organ, 'gantry 270' (a field) or FIELDS.
        quantity: a name in QUANTITIES.
        value: NaN where it is not known.
        low, high, n: of all subjects: the 95 % interval and their number.
    """

    subject: str
    method: str
    plan: str
    structure: str
    quantity: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None


def measure_plan(
    subject: str,
    plan: Plan,
    structures: Structures,
    spacing_mm: tuple[float, float, float],
    doses: Mapping[str, np.ndarray],
) -> list[Row]:
    """Return the rows of one plan.

    Args:
        doses: of each field by method, (fields, slices, rows, columns), REFERENCE_CT
            among them.
    """
    totals = {method: fields.sum(axis=0) for method, fields in doses.items()}
    regions = {TARGET: structures.target, **structures.organs}
    statistics = {
        method: {
            (structure, name): value
            for structure, mask in regions.items()
            for name, value in measures.statistics(total, mask).items()
        }
        for method, total in totals.items()
    }
    ranges: dict[str, dict[str, np.ndarray]] = {method: {} for method in doses}
    if plan.radiation == PROTONS:
        ranges = {
            method: _ranges(fields, plan, structures, spacing_mm)
            for method, fields in doses.items()
        }
    rows = []
    for method, total in totals.items():
        values = dict(statistics[method])
        for field, of_lines in ranges[method].items():
            values[field, "range"] = _median(of_lines)
        if method != REFERENCE_CT:
            for (structure, name), value in statistics[method].items():
                difference = value - statistics[REFERENCE_CT][structure, name]
                values[structure, name + DIFFERENCE] = difference
            for name, (percent, mm) in _GAMMA.items():
                values[BODY, name] = measures.gamma_pass_rate(
                    totals[REFERENCE_CT],
                    total,
                    spacing_mm,
                    percent=percent,
                    distance_mm=mm,
                )
            values |= _range_shifts(ranges[method], ranges[REFERENCE_CT])
        rows += [
            Row(subject, method, plan.name, *key, value)
            for key, value in values.items()
        ]
    return rows


def _range_shifts(
    ranges: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]
) -> dict[tuple[str, str], float]:
    """Return the shift of each field's range, and the mean size of the shifts."""
    shifts = {
        (field, "range_shift"): _median(of_lines - reference[field])
        for field, of_lines in ranges.items()
    }
    if not shifts:
        return {}
    return shifts | {(FIELDS, "range_error"): float(np.abs([*shifts.values()]).mean())}


def _ranges(
    fields: np.ndarray,
    plan: Plan,
    structures: Structures,
    spacing_mm: tuple[float, float, float],
) -> dict[str, np.ndarray]:
    """Return the ranges on the lines of each field, by its name."""
    return {
        f"gantry {gantry:g}": measures.field_ranges_mm(
            dose,
            structures.body,
            spacing_mm,
            isocentre=structures.isocentre(),
            gantry_degrees=gantry,
        )
        for gantry, dose in zip(plan.gantry_degrees, fields, strict=True)
    }


def _median(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else float("nan")


def mean_rows(rows: Sequence[Row]) -> list[Row]:
    """Return a row with mean and Student's t interval for what subjects share."""
    values: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        values.setdefault(row[1:5], []).append(row.value)
    means = []
    for key, of_subjects in values.items():
        interval = mean_interval(of_subjects, QUANTITIES[key[-1]].limits)
        means.append(
            Row(
                ALL_SUBJECTS,
                *key,
                interval.value,
                interval.low,
                interval.high,
                interval.n,
            )
        )
    return means

"""Plans of all cases: optimised, computed on each CT, measured, kept and reported."""

import base64
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from absl import logging

from input_pipeline import files
from input_pipeline.countdown import Countdown
from synthct_jax.checkpoint.metadata import library_versions
from synthct_jax.dose import measures, report
from synthct_jax.dose.cases import Case, CasesOfData, case_of_files
from synthct_jax.dose.figures import plan_figure
from synthct_jax.dose.plans import RADIATIONS, Plan, make_plan
from synthct_jax.dose.rows import Row, measure_plan
from synthct_jax.dose.structures import Structures
from synthct_jax.evaluation.organs import parse_labels
from synthct_jax.evaluation.results import REFERENCE_CT
from synthct_jax.inference.loaded_model import load_model, load_model_file
from synthct_jax.runtime.jsonl import null_not_finite

_FORMAT = 1  # of the kept plans


class _FixedPlan(Protocol):
    def dose_on(self, hu: np.ndarray) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Engine:
    """A dose engine.

    Attributes:
        version: its name and version.
        settings: all constants that its doses depend on.
        optimise: returns a plan of fixed fluence and its dose, from HU, structures,
            spacings and a plan, see `engine.optimise`.
    """

    version: str
    settings: tuple[Any, ...]
    optimise: Callable[..., tuple[_FixedPlan, np.ndarray]]


def load_engine() -> Engine:
    """Return pyRadPlan; a ValueError says how to install it."""
    from synthct_jax.dose import engine  # an extra, of this mode alone

    return Engine(
        version=engine.VERSION, settings=engine.SETTINGS, optimise=engine.optimise
    )


def check_model(
    workdir: Path | None,
    model: str | None,
    *,
    output: Path,
    data_dir: Path | None = None,
    step: int | None = None,
    views: int | None = None,
    split: str | None = None,
    subjects: int | None = None,
    radiations: Sequence[str] = RADIATIONS,
) -> Path:
    """Check the dose on the synthetic CT of a run or of a model file.

    Args:
        workdir, model: the run, or else the model, as for `evaluate`.
        output: folder of the report; finished plans are kept beside it.
        data_dir, step, views, split: as for `evaluate`.
        subjects: how many subjects of the split, the first; None for all.

    Returns:
        The page.

    Raises:
        FileNotFoundError, ValueError: as for `evaluate` and `CasesOfData`; pyRadPlan is
            not installed; or `output` holds something else.
    """
    engine = load_engine()
    _check_output(output)
    loaded = load_model_file(model) if model else load_model(workdir, step)
    loaded = loaded.with_views(views)
    data_dir = data_dir or Path(loaded.trained_on)
    cases = CasesOfData.of_model(loaded, data_dir, split=split, subjects=subjects)
    data = {"data_dir": str(data_dir.resolve()), "split": cases.split}
    return check_cases(
        cases,
        len(cases.names),
        engine=engine,
        output=output,
        radiations=radiations,
        source={**data, "provenance": loaded.provenance},
    )


def check_files(
    synthetic: str,
    truth: str,
    mask: str,
    *,
    output: Path,
    organs: Sequence[str] = (),
    radiations: Sequence[str] = RADIATIONS,
    proton_gantry: Sequence[float] = (),
) -> Path:
    """Check the dose on a synthetic CT of any program against the reference CT.

    Args:
        synthetic, truth, mask: see `cases.case_of_files`.
        organs: names of labels, such as '2:cord'.
        proton_gantry: directions of the proton fields, in degrees.

    Returns:
        The page.

    Raises:
        FileNotFoundError, ValueError: as for `case_of_files`; pyRadPlan is not
            installed; or `output` holds something else.
    """
    engine = load_engine()
    _check_output(output)
    case = case_of_files(synthetic, truth, mask, organs=parse_labels(organs))
    return check_cases(
        [case],
        1,
        engine=engine,
        output=output,
        radiations=radiations,
        proton_gantry=proton_gantry,
        source={"synthetic": synthetic, "truth": truth, "mask": mask},
    )


def check_cases(
    cases: Iterable[Case],
    count: int,
    *,
    engine: Engine,
    output: Path,
    source: Mapping[str, Any],
    radiations: Sequence[str] = RADIATIONS,
    proton_gantry: Sequence[float] = (),
) -> Path:
    """Plan every site of every case, and write the report.

    A finished plan is kept in OUTPUT_plans beside the report, and is not computed
    again while CT, structures, plan, engine and this program are the same.

    Args:
        count: number of cases.
        source: what was checked, for the report: JSON.

    Returns:
        The page.
    """
    kept = _kept_folder(output)
    countdown = Countdown(count, "subjects")
    finished, warnings = [], []
    for case in cases:
        computed = False
        for warning in case.warnings:
            logging.warning("%s", warning)
        warnings += case.warnings
        for site, structures in case.sites.items():
            for radiation in radiations:
                plan = make_plan(site, radiation, proton_gantry=proton_gantry)
                file = kept / f"{_digest(case, structures, plan, engine)}.json"
                if (finished_plan := _read_kept(file)) is None:
                    computed = True
                    kept.mkdir(parents=True, exist_ok=True)
                    files.write_file(
                        file, _compute(case, structures, plan, engine.optimise)
                    )
                    logging.info("%s: %s", case.name, plan.name)
                    finished_plan = _read(file)
                finished.append(finished_plan)
        countdown.log(case.name, new=computed)
    return report.write(
        finished, output, engine=engine.version, source=source, warnings=warnings
    )


def _kept_folder(output: Path) -> Path:
    output = Path(os.path.abspath(output))  # '.' has no name
    return output.with_name(f"{output.name}_plans")


def _check_output(output: Path) -> None:
    files.check_replaceable(output, report.FILES, writer="dose check")
    kept = _kept_folder(output)
    if kept.exists() and not kept.is_dir():
        raise ValueError(f"{kept} is a file, expected a folder of finished plans")


def _compute(
    case: Case,
    structures: Structures,
    plan: Plan,
    optimise: Callable[..., tuple[_FixedPlan, np.ndarray]],
) -> str:
    """Return a finished plan as JSON: its rows and its picture."""
    try:
        fixed, dose = optimise(case.reference_ct, structures, case.spacing_mm, plan)
    except ValueError as error:
        raise ValueError(f"{case.name}, {plan.name}: {error}") from error
    doses = {REFERENCE_CT: dose}
    doses |= {method: fixed.dose_on(hu) for method, hu in case.cts.items()}
    rows = measure_plan(case.name, plan, structures, case.spacing_mm, doses)
    picture = plan_figure(case, structures, doses)
    content = {
        "subject": case.name,
        "plan": dataclasses.asdict(plan),
        "rows": rows,
        "picture": base64.b64encode(picture).decode(),
    }
    return json.dumps(null_not_finite(content)) + "\n"


def _read_kept(file: Path) -> report.FinishedPlan | None:
    """Return a kept plan; None if there is none, or with a warning a damaged one."""
    if not file.exists():
        return None
    try:
        return _read(file)
    except (KeyError, TypeError, ValueError) as error:
        logging.warning(
            "%s: expected a finished plan, which is computed again: %r", file, error
        )
        return None


def _read(file: Path) -> report.FinishedPlan:
    content = json.loads(file.read_text(encoding="utf-8"))
    rows = [Row(*row) for row in content["rows"]]
    return report.FinishedPlan(
        subject=content["subject"],
        plan=Plan(**content["plan"]),
        rows=[r._replace(value=float("nan")) if r.value is None else r for r in rows],
        picture=base64.b64decode(content["picture"]),
    )


def _digest(case: Case, structures: Structures, plan: Plan, engine: Engine) -> str:
    """Return a name for all that a plan's result depends on."""
    arrays = {
        REFERENCE_CT: case.reference_ct,
        **case.cts,
        "target": structures.target,
        "body": structures.body,
        **{f"organ {name}": mask for name, mask in structures.organs.items()},
    }
    program = _FORMAT, library_versions()["synthct_jax"], measures.SETTINGS
    of_engine = engine.version, engine.settings
    digest = hashlib.sha256(
        repr((program, of_engine, case.name, case.spacing_mm, plan)).encode()
    )
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:24]

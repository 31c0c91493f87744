"""Dose by pyRadPlan: pencil beams of matRad, on CT of one grid.

Photons are those of a generic linac of 6 MV (singular value decomposition of pencil
beam kernels, Bortfeld, Schlegel & Rhein, Med Phys 1993; 20:311), protons spots of a
generic machine (Hong et al., Phys Med Biol 1996; 41:1305). HU become densities and
stopping powers relative to water by one table of the engine, for both.
"""

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from synthct_jax.dose.plans import PHOTONS, Plan
from synthct_jax.dose.structures import Structures

try:
    import pyRadPlan
    import SimpleITK
    from pyRadPlan.core import ProgressReporter
    from pyRadPlan.cst import validate_voi
    from pyRadPlan.optimization.objectives import (
        MeanDose,
        SquaredDeviation,
        SquaredOverdosing,
    )
except ImportError as error:
    if error.name != "pyRadPlan":  # it is broken, or another release
        raise
    raise ValueError(
        "dose needs pyRadPlan, which is not installed: pip install '.[dose]' in an "
        "environment of its own (docs/dose.md)"
    ) from error

logging.getLogger("pyRadPlan").setLevel(logging.ERROR)
ProgressReporter.console_progress = False
pyRadPlan.settings.xp.prefer_gpu = False

VERSION = f"pyRadPlan {pyRadPlan.__version__}"

PRESCRIBED_GY = 2.0  # of a fraction; reported doses are in % of it
BIXEL_MM = 6.0
ITERATIONS = 100
_SPARED_GY = {"organ": 0.6, "body": 1.2}  # above them dose is penalised
SETTINGS = (PRESCRIBED_GY, BIXEL_MM, ITERATIONS, _SPARED_GY)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimisedPlan:
    """A plan whose fluence is fixed, to be computed on any CT of its grid.

    Attributes:
        steering: pyRadPlan's directions, rays and energies of all fields.
        fluence: weight of each of its beamlets or spots.
    """

    plan: Plan
    structures: Structures
    spacing_mm: tuple[float, float, float]
    steering: Any
    fluence: np.ndarray

    def dose_on(self, hu: np.ndarray) -> np.ndarray:
        """Return the dose of each field on a CT, in % of the prescribed dose.

        Args:
            hu: (slices, rows, columns).

        Returns:
            (fields, slices, rows, columns) float32.
        """
        ct = _ct(hu, self.spacing_mm)
        with _quiet():
            dose = pyRadPlan.calc_dose_forward(
                ct,
                _structure_set(ct, self.structures),
                self.steering,
                _options(self.plan, ct),
                self.fluence,
            )
        fields = map(SimpleITK.GetArrayFromImage, dose["physical_dose_beam"])
        return np.stack([100 / PRESCRIBED_GY * f for f in fields]).astype(np.float32)


def optimise(
    hu: np.ndarray,
    structures: Structures,
    spacing_mm: tuple[float, float, float],
    plan: Plan,
) -> tuple[OptimisedPlan, np.ndarray]:
    """Optimise the fluence of a plan on a CT.

    In the end it is scaled so that half of the target receives the prescribed dose
    (ICRU Report 83), by the same forward calculation as on other CT.

    Returns:
        The plan, and its dose on this CT as `OptimisedPlan.dose_on` gives it.

    Raises:
        ValueError: the fields do not reach half of the target.
    """
    ct = _ct(hu, spacing_mm)
    with _quiet():
        regions = _structure_set(ct, structures)
        steering = pyRadPlan.generate_stf(ct, regions, _options(plan, ct))
        influence = pyRadPlan.calc_dose_influence(
            ct, regions, steering, _options(plan, ct)
        )
        fluence = pyRadPlan.fluence_optimization(
            ct, regions, steering, influence, _options(plan, ct)
        )
    optimised = OptimisedPlan(
        plan=plan,
        structures=structures,
        spacing_mm=spacing_mm,
        steering=steering,
        fluence=np.asarray(fluence, np.float64),
    )
    dose = optimised.dose_on(hu)
    median = float(np.median(dose.sum(axis=0)[structures.target]))
    if not median > 0:
        raise ValueError(
            f"half of the target receives {median:g} %, expected some dose: the fields "
            f"from {', '.join(f'{a:g}' for a in plan.gantry_degrees)} degrees do not "
            "reach it"
        )
    scale = 100 / median
    scaled = dataclasses.replace(optimised, fluence=optimised.fluence * scale)
    return scaled, dose * np.float32(scale)


def _ct(hu: np.ndarray, spacing_mm: tuple[float, float, float]):
    image = SimpleITK.GetImageFromArray(hu.astype(np.float32))
    image.SetSpacing([float(mm) for mm in spacing_mm[::-1]])
    return pyRadPlan.CT(cube_hu=image)


def _structure_set(ct, structures: Structures):
    """Return the structures with their objectives."""

    def region(name: str, kind: str, mask: np.ndarray, objectives: list):
        return validate_voi(
            name=name,
            voi_type=kind,
            mask=mask.astype(np.uint8),
            ct_image=ct,
            objectives=objectives,
        )

    regions = [
        region(
            "target",
            "TARGET",
            structures.target,
            [SquaredDeviation(priority=1000.0, d_ref=PRESCRIBED_GY)],
        ),
        *(
            region(
                name,
                "OAR",
                mask,
                [SquaredOverdosing(priority=100.0, d_max=_SPARED_GY["organ"])],
            )
            for name, mask in structures.organs.items()
        ),
        region(
            "body",
            "EXTERNAL",
            structures.body,
            [
                MeanDose(priority=1.0, d_ref=0.0),
                SquaredOverdosing(priority=30.0, d_max=_SPARED_GY["body"]),
            ],
        ),
    ]
    return pyRadPlan.StructureSet(vois=regions, ct_image=ct)


def _options(plan: Plan, ct):
    """Return the engine's own description of a plan; it changes what it is given."""
    options = {
        "machine": "Generic",
        "prop_stf": {
            "gantry_angles": list(plan.gantry_degrees),
            "couch_angles": [0.0] * len(plan.gantry_degrees),
            "bixel_width": BIXEL_MM,
        },
        # Tissue that a CT shows outside the body of the reference counts on the way.
        "prop_dose_calc": {"dose_grid": ct.grid, "ignore_outside_densities": False},
        "prop_opt": {
            "solver": {"name": "scipy", "allow_keyboard_cancel": False},
            "display": False,
            "max_iter": ITERATIONS,
        },
    }
    if plan.radiation == PHOTONS:
        return pyRadPlan.PhotonPlan(**options)
    return pyRadPlan.IonPlan(radiation_mode=plan.radiation, **options)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide warnings of the engine: of rays beside the patient, of its own code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

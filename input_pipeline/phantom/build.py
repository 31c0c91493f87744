"""A subject's measures, and coordinates of the body wall.

Sizes are chosen for the phantom, so that it looks like adults of different build.
"""

import dataclasses

import numpy as np

_MARROW_FAT = (0.2, 0.42)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Build:
    """A subject's measures, drawn before any shape.

    Attributes:
        fatness: 0 (thin) to 1 (obese).
        half_width_mm, half_depth_mm: half axes of the cavity inside the muscle wall.
        fat_mm: mean thickness of the subcutaneous fat.
        wall_mm: thickness of the lateral muscle wall.
        dome_mm: height of the right diaphragm dome.
        spine_mm: y coordinate of the middle of the vertebral bodies.
        organ_scale: size of the solid organs relative to the average.
        liver_fat_fraction, marrow_fat_fraction: proton density fat fractions.
    """

    fatness: float
    half_width_mm: float
    half_depth_mm: float
    fat_mm: float
    wall_mm: float
    dome_mm: float
    spine_mm: float
    organ_scale: float
    liver_fat_fraction: float
    marrow_fat_fraction: float


def draw_build(rng: np.random.Generator) -> Build:
    """Draw one subject's measures; fatty livers are commoner among the obese."""
    fatness = float(rng.beta(1.4, 1.8))
    half_width = float(np.clip(rng.normal(116, 6) + 14 * fatness, 100, 140))
    half_depth = float(np.clip(rng.normal(74, 4) + 26 * fatness, 64, 108))
    wall = float(rng.uniform(11, 15))
    fat = 5 + 33 * fatness * float(rng.uniform(0.75, 1.2))
    fat = min(fat, (180 - half_width - wall) / 1.1)
    fat_fraction = _liver_fat_fraction(rng, fatness)
    return Build(
        fatness=fatness,
        half_width_mm=half_width,
        half_depth_mm=half_depth,
        fat_mm=fat,
        wall_mm=wall,
        dome_mm=float(rng.normal(86, 5)),
        spine_mm=half_depth - 36,
        organ_scale=float(np.clip(rng.normal(1, 0.05), 0.88, 1.12)),
        liver_fat_fraction=fat_fraction,
        marrow_fat_fraction=float(rng.uniform(*_MARROW_FAT)),
    )


def draw_fat_fractions(rng: np.random.Generator) -> dict[str, float]:
    """Draw the fat fractions of 'liver' and 'marrow' of a person of any build."""
    return {
        "liver": _liver_fat_fraction(rng, float(rng.uniform())),
        "marrow": float(rng.uniform(*_MARROW_FAT)),
    }


def _liver_fat_fraction(rng: np.random.Generator, fatness: float) -> float:
    fraction = rng.beta(0.9, 3.0) * 0.3 + rng.uniform(0, 0.12) * fatness
    return float(np.clip(fraction, 0.005, 0.35))


@dataclasses.dataclass(frozen=True, kw_only=True)
class BodyFrame:
    """Polar coordinates about the cavity's axis, one value per voxel.

    Attributes:
        angle: radians from posterior, positive to the patient's left.
        beyond_mm: distance outwards from the cavity's surface, along the ray.
        above_mm: height above the diaphragm.
    """

    angle: np.ndarray
    beyond_mm: np.ndarray
    above_mm: np.ndarray

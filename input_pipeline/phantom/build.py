"""A subject's measures, and coordinates of the body wall.

Sizes are chosen for the phantom, so that it looks like adults of different build.
"""

import dataclasses

import numpy as np

from input_pipeline.ranges import check_choice

ANATOMIES = ("reference", "varied")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variety:
    """Measures of a subject of the varied anatomy, beside those of `Build`.

    Attributes:
        level_mm: height of the volume's centre above the first lumbar vertebra.
        offset_mm: position (y, x) of the field of view's centre in the body.
        roll: rotation of the body about its long axis, in radians.
        kyphosis_mm: displacement of the spine to posterior 110 mm above the first
            lumbar vertebra; more above, to anterior in the lumbar part.
        scoliosis_mm: largest displacement of the lumbar spine to the left.
        muscle: thickness of muscles relative to the average.
        infiltration: severity of fatty infiltration of the muscles, 0 to 1.
        back_fat_weight: weight of what the back has more of subcutaneous fat.
        shell_mm: thickness of cortical bone.
        arms_mm: gap between the trunk and the right and left arm, negative where they
            press on each other; None for an arm above the head.
    """

    level_mm: float
    offset_mm: tuple[float, float]
    roll: float
    kyphosis_mm: float
    scoliosis_mm: float
    muscle: float
    infiltration: float
    back_fat_weight: float
    shell_mm: float
    arms_mm: tuple[float | None, float | None]


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
        variety: None for the reference anatomy.
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
    variety: Variety | None = None


def draw_build(rng: np.random.Generator, anatomy: str = "reference") -> Build:
    """Draw one subject's measures; fatty livers are commoner among the obese.

    Args:
        anatomy: one of ANATOMIES; its painters read it from the result.

    Raises:
        ValueError: the anatomy is unknown.
    """
    check_choice("anatomy", anatomy, ANATOMIES)
    return _draw_varied(rng) if anatomy == "varied" else _draw_reference(rng)


def _draw_reference(rng: np.random.Generator) -> Build:
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
        marrow_fat_fraction=float(rng.uniform(0.2, 0.42)),
    )


def draw_fat_fractions(rng: np.random.Generator) -> dict[str, float]:
    """Draw the fat fractions of 'liver' and 'marrow' of a person of any build."""
    return {
        "liver": _liver_fat_fraction(rng, float(rng.uniform())),
        "marrow": float(rng.uniform(0.1, 0.7)),
    }


def _liver_fat_fraction(rng: np.random.Generator, fatness: float) -> float:
    fraction = rng.beta(0.9, 3.0) * 0.3 + rng.uniform(0, 0.12) * fatness
    return float(np.clip(fraction, 0.005, 0.35))


def _draw_varied(rng: np.random.Generator) -> Build:
    """Draw the measures of a subject of the varied anatomy."""
    # Fat under the skin and fat between the organs are related, not equal.
    under_skin = float(rng.beta(1.1, 1.6))
    visceral = float(np.clip(under_skin + rng.normal(0, 0.22), 0.06, 1))
    frailty = float(rng.beta(1.5, 2.5))
    half_width = float(np.clip(rng.normal(114, 7) + 20 * visceral, 104, 142))
    half_depth = float(np.clip(rng.normal(70, 5) + 34 * visceral, 60, 112))
    muscle = float(np.clip(rng.normal(1.1, 0.15) - 0.3 * frailty, 0.6, 1.4))
    wall = 17.0 * muscle
    fat = 4 + 38 * under_skin * float(rng.uniform(0.75, 1.25))
    fat = min(fat, (215 - half_width - wall) / 1.25)
    liver_fat = _liver_fat_fraction(rng, visceral)
    # Most volumes are of the abdomen, as the reference's, some of chest or pelvis.
    where = rng.random()
    level = rng.normal(0, 14)
    if where < 0.15:
        level = rng.uniform(15, 70)
    elif where < 0.4:
        level = rng.uniform(-165, -20)
    # Two thirds hold both arms above the head, as for most CT.
    beside = rng.choice(4, p=(0.66, 0.04, 0.04, 0.26))
    gaps = rng.uniform(-8, 22, 2)
    arms = tuple(float(g) if beside & (1 << i) else None for i, g in enumerate(gaps))
    return Build(
        fatness=visceral,
        half_width_mm=half_width,
        half_depth_mm=half_depth,
        fat_mm=fat,
        wall_mm=wall,
        dome_mm=float(rng.normal(86, 11)),
        spine_mm=half_depth - 34,
        organ_scale=float(np.clip(rng.normal(1, 0.09), 0.78, 1.22)),
        liver_fat_fraction=liver_fat,
        marrow_fat_fraction=float(np.clip(0.2 + 0.5 * frailty + rng.normal(0, 0.08),
                                          0.1, 0.7)),
        variety=Variety(
            level_mm=float(level),
            offset_mm=(float(rng.normal(0, 6)), float(rng.normal(0, 8))),
            roll=float(rng.normal(0, 0.03)),
            kyphosis_mm=float(rng.normal(0, 6) + 8 * frailty),
            scoliosis_mm=float(rng.normal(0, 5) * (3 if rng.random() < 0.12 else 1)),
            muscle=muscle,
            infiltration=float(np.clip(frailty + rng.normal(0, 0.15), 0, 1)),
            back_fat_weight=float(rng.uniform(0.8, 2.2)),
            shell_mm=float(np.clip(rng.normal(2.0, 0.3) - 0.9 * frailty, 0.9, 2.4)),
            arms_mm=arms,
        ),
    )  # fmt: skip


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

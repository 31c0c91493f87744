"""Random abdomens: the body wall, the chest, and the order of painting.

All positions are in mm about the centre of the volume: z to superior, y to posterior, x
to the patient's left. The centre is near the first lumbar vertebra, so that 144 mm hold
the lung bases above and the lower poles of the kidneys below.
"""

import numpy as np
from scipy.special import expit

from input_pipeline.phantom import bowel, chest, organs, shapes, skeleton, varied
from input_pipeline.phantom.build import BodyFrame, Build
from input_pipeline.phantom.tissues import LABELS

SKIN_MM = 2.0


def draw_labels(
    rng: np.random.Generator,
    build: Build,
    axes: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray:
    """Draw a subject's tissues on a grid: `tissues.LABELS`, (z, y, x) uint8.

    An organ covers visceral fat alone, so those painted first stay whole; its inner
    parts cover the organ.

    Args:
        axes: positions (z, y, x) of the grid in mm.
    """
    if build.variety is not None:
        return varied.draw_labels(rng, build, axes)
    canvas = shapes.Canvas(rng, axes)
    frame = _paint_wall(canvas, build)
    skeleton.paint_spine(canvas, build)
    skeleton.paint_ribs(canvas, build, frame)
    skeleton.paint_psoas(canvas, build)
    chest.paint_chest(canvas, build, frame)
    organs.paint_great_vessels(canvas, build)
    organs.paint_kidneys(canvas, build)
    organs.paint_gallbladder(canvas, build)
    organs.paint_liver(canvas, build, frame)
    organs.paint_spleen(canvas, build, frame)
    organs.paint_pancreas(canvas, build)
    bowel.paint_stomach(canvas, build, frame)
    bowel.paint_colon(canvas, build)
    bowel.paint_small_bowel(canvas, build)
    organs.paint_mesenteric_vessels(canvas, build)
    return canvas.labels


def _paint_wall(canvas: shapes.Canvas, build: Build) -> BodyFrame:
    """Paint skin, fat, muscle, and the cavity, which starts full of visceral fat."""
    everywhere = canvas.everywhere()
    z, y, x = canvas.z, canvas.y, canvas.x
    power = float(canvas.rng.uniform(2.15, 2.45))
    # The cavity narrows a little towards the chest and towards the waist.
    waist = 1 - 0.05 * np.exp(-(((z + 25) / 45) ** 2)) - 0.0006 * np.clip(z, 0, None)
    share = (
        np.abs(x / (build.half_width_mm * waist)) ** power
        + np.abs(y / (build.half_depth_mm * waist)) ** power
    ) ** (1 / power)
    share = np.maximum(share, 1e-3) * (1 + 0.012 * canvas.noise(everywhere, 60.0))
    radius = np.hypot(x, y)
    beyond = radius * (1 - 1 / share)
    angle = np.arctan2(x, y)

    muscle = _muscle_mm(build, np.abs(angle))
    fat = _subcutaneous_fat_mm(canvas, build, np.abs(angle))
    outline = muscle + fat
    paint = canvas.paint
    paint(everywhere, beyond < outline + SKIN_MM, LABELS["skin"])
    paint(everywhere, beyond < outline, LABELS["subcutaneous_fat"])
    paint(everywhere, beyond < muscle, LABELS["muscle"])
    # Fat between the muscles' layers, more of it in the obese.
    layers = canvas.noise(everywhere, 14.0)
    streak = 0.05 + 0.08 * build.fatness
    between = (np.abs(layers) < streak) & (beyond > 2) & (beyond < muscle - 2)
    paint(everywhere, between & (np.abs(angle) < 0.9), LABELS["subcutaneous_fat"])
    paint(everywhere, beyond < 0, LABELS["visceral_fat"])

    above = chest.above_diaphragm_mm(canvas, build, angle, share)
    return BodyFrame(angle=angle, beyond_mm=beyond, above_mm=above)


def _muscle_mm(build: Build, turn: np.ndarray) -> np.ndarray:
    """Return the thickness of the muscle wall in mm, by radians from posterior."""
    wall = build.wall_mm
    muscle = wall * np.ones_like(turn)
    # Erector spinae at the back, the flatter rectus in front.
    muscle += expit((0.78 - turn) / 0.06) * (30 - 0.5 * wall - muscle)
    muscle += expit((turn - 2.45) / 0.06) * (0.75 * wall - muscle)
    # Linea alba in the middle, linea semilunaris beside the rectus.
    muscle -= 0.5 * wall * np.exp(-(((np.pi - turn) / 0.07) ** 2))
    muscle -= 0.45 * wall * np.exp(-(((turn - 2.4) / 0.06) ** 2))
    return muscle


def _subcutaneous_fat_mm(
    canvas: shapes.Canvas, build: Build, turn: np.ndarray
) -> np.ndarray:
    """Return the thickness of the fat under the skin in mm.

    It is thickest at the flanks and thinner over the ribs.
    """
    fat = build.fat_mm * (
        0.8
        + 0.35 * np.exp(-(((turn - 0.95) / 0.45) ** 2))
        + 0.12 * np.exp(-(((turn - np.pi) / 0.5) ** 2))
    )
    fat *= 1 - 0.3 * expit((canvas.z - 20) / 15)
    fat *= 1 + 0.12 * canvas.noise(canvas.everywhere(), 50.0)
    # The furrow over the spinous processes.
    fat -= 0.45 * build.fat_mm * np.exp(-((canvas.x / 16) ** 2)) * (canvas.y > 0)
    return np.maximum(fat, 2.0)

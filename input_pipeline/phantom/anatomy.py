"""Random abdomens: the body wall, the chest, and the order of painting.

All positions are in mm about the centre of the volume: z to superior, y to posterior, x
to the patient's left. The centre is near the first lumbar vertebra, so that 144 mm hold
the lung bases above and the lower poles of the kidneys below.
"""

import numpy as np
from scipy.special import expit

from input_pipeline.phantom import organs, shapes, skeleton
from input_pipeline.phantom.build import BodyFrame, Build
from input_pipeline.phantom.tissues import LABELS

SKIN_MM = 2.0
DIAPHRAGM_MM = 3.0


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
    canvas = shapes.Canvas(rng, axes)
    frame = _paint_wall(canvas, build)
    skeleton.paint_spine(canvas, build)
    skeleton.paint_ribs(canvas, build, frame)
    skeleton.paint_psoas(canvas, build)
    _paint_chest(canvas, build, frame)
    organs.paint_great_vessels(canvas, build)
    organs.paint_kidneys(canvas, build)
    organs.paint_liver(canvas, build, frame)
    organs.paint_spleen(canvas, build, frame)
    organs.paint_pancreas(canvas, build)
    organs.paint_stomach(canvas, build, frame)
    organs.paint_colon(canvas, build)
    organs.paint_small_bowel(canvas, build)
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

    above = _above_diaphragm_mm(canvas, build, angle, share)
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


def _above_diaphragm_mm(
    canvas: shapes.Canvas, build: Build, angle: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """Return the height above the diaphragm, whose domes fall to the wall, in mm."""
    x, y = canvas.x, canvas.y
    drop = 36 + 14 * np.cos(angle)
    above = canvas.z - build.dome_mm + drop * np.minimum(share, 1) ** 3.5
    # The left dome is lower, and the heart presses on the middle.
    above += 9 * expit((x - 5) / 12)
    above += 3 * canvas.noise(canvas.everywhere(), 60.0)
    pit = ((x - 18) / 34) ** 2 + ((y + 0.3 * build.half_depth_mm) / 30) ** 2
    return above + 24 * np.exp(-pit)


def _paint_chest(canvas: shapes.Canvas, build: Build, frame: BodyFrame) -> None:
    """Paint the lungs, the fat of the mediastinum and the base of the heart."""
    everywhere = canvas.everywhere()
    free = canvas.labels == LABELS["visceral_fat"]
    over = free & (frame.above_mm > 0)
    # The mediastinum lies between the lungs: oesophagus, aorta and their fat.
    width = 16 + 12 * expit((5 - canvas.y) / 10)
    width += 5 * canvas.noise(everywhere, 35.0)
    middle = np.abs(canvas.x - 4) < width
    canvas.paint(everywhere, over & ~middle, LABELS["lung"])
    near = free & (np.abs(frame.above_mm) < DIAPHRAGM_MM / 2)
    canvas.paint(everywhere, near & ~middle, LABELS["muscle"])
    rng = canvas.rng
    heart = canvas.blob(
        (
            build.dome_mm + 14 + rng.normal(0, 3),
            -0.3 * build.half_depth_mm + rng.normal(0, 4),
            20 + rng.normal(0, 3),
        ),
        (38, 36, 52),
        rotation=(0.5, 0, 0),
        roughness=0.03,
    )
    if heart is None:
        return
    box, depth = heart
    over = (frame.above_mm[box] > 2) & (frame.beyond_mm[box] < -2)
    canvas.paint(box, (depth > -5) & over, LABELS["visceral_fat"])
    canvas.paint(box, (depth > 0) & over, LABELS["heart"])

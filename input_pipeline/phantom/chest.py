"""The diaphragm, and what is above it: lungs, mediastinum and heart."""

import numpy as np
from scipy.special import expit

from input_pipeline.phantom import shapes
from input_pipeline.phantom.build import BodyFrame, Build
from input_pipeline.phantom.tissues import LABELS

DIAPHRAGM_MM = 3.0


def above_diaphragm_mm(
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


def paint_chest(
    canvas: shapes.Canvas, build: Build, frame: BodyFrame, *, front_mm: float = 12.0
) -> None:
    """Paint the lungs, the fat of the mediastinum and the base of the heart.

    `front_mm` is the width of the fat before the heart, beyond that behind it.
    """
    everywhere = canvas.everywhere()
    free = canvas.labels == LABELS["visceral_fat"]
    over = free & (frame.above_mm > 0)
    # The mediastinum lies between the lungs: oesophagus, aorta and their fat.
    width = 16 + front_mm * expit((5 - canvas.y) / 10)
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

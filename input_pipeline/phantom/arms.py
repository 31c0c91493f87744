"""Arms beside the body: skin, fat, muscle and bones."""

import numpy as np

from input_pipeline.phantom import shapes
from input_pipeline.phantom.build import Build
from input_pipeline.phantom.tissues import LABELS

_ELBOW_MM = -35.0


def paint_arms(canvas: shapes.Canvas, build: Build) -> None:
    """Paint the arms that are beside the trunk, where it leaves room."""
    trunk = build.half_width_mm + build.wall_mm + build.fat_mm
    for side, gap in zip((-1, 1), build.variety.arms_mm, strict=True):
        if gap is not None:
            _paint_arm(canvas, build, side, trunk + gap)


def _paint_arm(canvas: shapes.Canvas, build: Build, side: int, reach_mm: float) -> None:
    """Paint one arm; its inner border is `reach_mm` from the middle of the body."""
    rng, variety = canvas.rng, build.variety
    fat = 3 + 0.32 * build.fat_mm
    muscle = 27 * (0.6 + 0.4 * variety.muscle)
    upper, fore, wrist = muscle + fat + 8, muscle + 0.6 * fat + 4, 22 + 0.5 * fat
    y = float(rng.uniform(0, 45))
    bend_mm = float(rng.uniform(-40, 10))
    joints = np.array([
        (200, y - 10, side * (reach_mm + upper - 12)),
        (_ELBOW_MM, y, side * (reach_mm + upper)),
        (_ELBOW_MM - 110, y + 0.5 * bend_mm, side * (reach_mm + fore + 2)),
        (_ELBOW_MM - 240, y + bend_mm, side * (reach_mm + fore + 4)),
    ])  # fmt: skip
    joints[1:, 2] += side * rng.normal(0, 5)
    arm = canvas.tube(joints, [upper, 0.9 * upper, fore, wrist])
    if arm is None:
        return
    box, depth = arm
    depth = depth + 1.2 * canvas.noise(box, 45.0)
    skin = float(rng.uniform(1.5, 2.2))
    free = canvas.labels[box] == LABELS["outside"]
    canvas.paint(box, free & (depth > 0), LABELS["skin"])
    canvas.paint(box, free & (depth > skin), LABELS["subcutaneous_fat"])
    inner = free & (depth > skin + fat * (1 + 0.15 * canvas.noise(box, 40.0)))
    canvas.paint(box, inner, LABELS["muscle"])
    septa = np.abs(canvas.noise(box, 22.0)) < 0.04 + 0.08 * variety.infiltration
    canvas.paint(box, inner & septa, LABELS["subcutaneous_fat"])
    elbow, forearm, wrist_at = joints[1], joints[2], joints[3]
    apart = np.array([0, 5, side * 13])
    bones = [
        (np.array([joints[0], elbow + (30, 0, 0), elbow]), (11, 11, 18), 4.0),
        (np.array([elbow + apart, forearm + apart, wrist_at + apart]), (9, 7, 11), 2.6),
        (np.array([elbow - apart, forearm - apart, wrist_at - apart]), (13, 7, 6), 2.6),
    ]
    for path, radii, cortex in bones:
        bone = canvas.tube(path, radii)
        if bone is None:
            continue
        part, depth = bone
        # Of the arm alone: what is left of another body part stays.
        own = depth > 0
        canvas.paint(part, own, LABELS["cortical_bone"])
        canvas.paint(part, depth > cortex * variety.shell_mm / 2, LABELS["marrow"])

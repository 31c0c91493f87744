"""Chest of the varied anatomy: ribs, cartilage, sternum, chambers, lung vessels."""

import numpy as np

from input_pipeline.phantom import shapes
from input_pipeline.phantom.build import BodyFrame, Build
from input_pipeline.phantom.painting import paint_shape
from input_pipeline.phantom.tissues import LABELS

# Height of a rib's root in mm, angle of its bony end in radians from posterior.
_RIBS = ((4, 0.95), (33, 1.5), (61, 2.1), (89, 2.3), (117, 2.4), (145, 2.45),
         (173, 2.5), (201, 2.55), (229, 2.6), (257, 2.6))  # fmt: skip
_BACK_TO_FRONT_MM = 118.0


def paint_cage(canvas: shapes.Canvas, build: Build, frame: BodyFrame) -> None:
    """Paint ribs, their cartilages that rise to the sternum, and the sternum."""
    rng = canvas.rng
    shell = 0.75 * build.variety.shell_mm
    height = canvas.axes[0][:, None, None]
    # Ribs are in the inner part of the wall.
    wall = (frame.beyond_mm > 0) & (frame.beyond_mm < 18) & (height > -75)
    index = np.flatnonzero(wall)
    labels = canvas.labels.ravel()
    z, x = canvas.z.ravel()[index], canvas.x.ravel()[index]
    beyond = frame.beyond_mm.ravel()[index]
    turn = np.abs(frame.angle.ravel()[index])
    # At the back they rise to the spine.
    across = beyond - 5.5 - 7 * np.exp(-((turn / 0.45) ** 2))
    fall = _BACK_TO_FRONT_MM * np.sin(np.clip(turn - 0.2, 0, 2.4) * 0.62)
    shift = float(rng.normal(0, 5))
    wide, tall = rng.normal(3.7, 0.3), rng.normal(7.0, 0.6)
    for root_mm, end in _RIBS:
        end = end + float(rng.normal(0, 0.06))
        along = z - (root_mm + shift - fall + float(rng.normal(0, 1.5)))
        # Beyond the bone the cartilage climbs to the sternum.
        climb = 95 * np.clip(turn - end, 0, None)
        along = along - climb
        section = np.hypot(across / wide, along / tall)
        depth = (1 - section) * wide
        rib = (depth > 0) & (turn > 0.24)
        bone, gristle = rib & (turn < end), rib & (turn >= end) & (root_mm > 50)
        labels[index[bone]] = LABELS["cortical_bone"]
        labels[index[bone & (depth > shell)]] = LABELS["marrow"]
        labels[index[gristle & (np.abs(x) > 10)]] = LABELS["cartilage"]
    base = 104 + float(rng.normal(0, 5))
    half_width = 13 + 6 * np.clip((z - base) / 40, 0, 1)
    depth = np.minimum(half_width - np.abs(x), 5.5 - np.abs(beyond - 6))
    front = turn > 1.6
    sternum = front & (depth > 0) & (z > base)
    labels[index[sternum]] = LABELS["cortical_bone"]
    labels[index[sternum & (depth > shell)]] = LABELS["marrow"]
    xiphoid = front & (depth > 2) & (np.abs(x) < 8) & (z > base - 26) & (z <= base)
    labels[index[xiphoid]] = LABELS["cartilage"]


def paint_vessels(canvas: shapes.Canvas, build: Build) -> None:
    """Paint blood into the heart, the great vessels, oesophagus, and lung vessels."""
    rng = canvas.rng
    dome, front = build.dome_mm, -0.3 * build.half_depth_mm
    for label, z, y, x, size in (
        ("artery", 18, 6, 36, (26, 19, 24)),
        ("vein", 20, -10, 6, (26, 15, 24)),
        ("vein", 34, 16, -10, (20, 20, 18)),
    ):
        centre = (dome + z, front + y, x) + rng.normal(0, 2, 3)
        chamber = canvas.blob(centre, size, rotation=(0.5, 0, 0), roughness=0.1)
        paint_shape(canvas, chamber, label, over=("heart",))
    top, soft = dome + 130, ("visceral_fat", "lung", "heart", "artery", "vein")
    tubes = (
        ("artery", [(dome + 34, front + 6, 4), (top, front - 4, -12)], 15.0),
        ("vein", [(dome + 40, front - 8, 18), (top - 40, front + 16, 14)], 13.0),
        ("vein", [(dome + 36, front + 8, -26), (top, front + 4, -30)], 9.5),
    )
    for label, path, radius in tubes:
        path = np.array(path) + rng.normal(0, 2, (2, 3))
        tube = canvas.tube(path, radius * rng.uniform(0.85, 1.15))
        paint_shape(canvas, tube, label, over=soft)
    gullet = [(160, build.spine_mm - 24, 0), (90, build.spine_mm - 30, 6),
              (58, build.spine_mm - 44, 22)]  # fmt: skip
    gullet = shapes.smooth_path(gullet, 3)
    paint_shape(canvas, canvas.tube(gullet, 7.5), "bowel_wall")
    air = canvas.tube(gullet, rng.uniform(-3, 3))
    paint_shape(canvas, air, "gas", over=("bowel_wall",))
    for side in (-1, 1):
        hilum = np.array([dome + 60, 10.0, side * 35])
        for _ in range(18):
            end = hilum + rng.uniform((-90, -60, -10), (30, 70, 75)) * (1, 1, side)
            middle = 0.5 * (hilum + end) + rng.normal(0, 6, 3)
            branch = canvas.tube(
                shapes.smooth_path([hilum, middle, end], 2), [4, 3.4, 2.6, 2, 1.2]
            )
            paint_shape(canvas, branch, "vein", over=("lung",))

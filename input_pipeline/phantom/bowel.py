"""Stomach, colon and small bowel, painted over visceral fat."""

import numpy as np

from input_pipeline.phantom import shapes
from input_pipeline.phantom.build import BodyFrame, Build
from input_pipeline.phantom.tissues import LABELS


def paint_gut(
    canvas: shapes.Canvas,
    shape: shapes.Shape | None,
    *,
    wall_mm: float,
    gas: np.ndarray,
    content: str = "bowel_content",
) -> None:
    """Paint a hollow organ: wall, content, and gas at the true voxels of `gas`."""
    if shape is None:
        return
    box, depth = shape
    free = (canvas.labels[box] == LABELS["visceral_fat"]) & ~canvas.reserved[box]
    inner = free & (depth > wall_mm)
    canvas.paint(box, free & (depth > 0), LABELS["bowel_wall"])
    canvas.paint(box, inner, LABELS[content])
    canvas.paint(box, inner & gas, LABELS["gas"])


def paint_stomach(
    canvas: shapes.Canvas,
    build: Build,
    frame: BodyFrame,
    *,
    radius_scale: tuple[float, float] = (0.75, 1.15),
    level_mm: tuple[float, float] = (-10, 16),
    content: str = "bowel_content",
) -> None:
    """Paint the stomach of a supine patient, with gas above an air-fluid level.

    Args:
        radius_scale: range of the radius relative to the average.
        level_mm: range of the shift of the air-fluid level to posterior, which makes
            more gas.
        content: name of the tissue that fills it.
    """
    rng = canvas.rng
    scale = float(rng.uniform(*radius_scale))
    depth_mm = build.half_depth_mm
    path = [(58, 0.2 * depth_mm, 52), (30, -0.2 * depth_mm, 58),
            (2, -0.5 * depth_mm, 44), (-14, -0.5 * depth_mm, 6),
            (-8, -0.36 * depth_mm, -18)]  # fmt: skip
    path = shapes.smooth_path(np.array(path) + rng.normal(0, 4, (5, 3)))
    radii = np.interp(np.linspace(0, 4, len(path)), range(5), [36, 32, 22, 15, 10])
    stomach = canvas.tube(path, radii * scale)
    if stomach is None:
        return
    box, depth = stomach
    depth = np.minimum(depth, -frame.beyond_mm[box] - 3.0)
    depth = np.minimum(depth, -frame.above_mm[box] - 2.0)
    depth = depth + 1.5 * canvas.noise(box, 22.0)
    surface = -0.42 * depth_mm + rng.uniform(*level_mm)
    # The surface is level in the room, not in the deformed coordinates of the anatomy.
    gas = (canvas.axes[1][box[1]] < surface)[None, :, None]
    paint_gut(canvas, (box, depth), wall_mm=4.0, gas=gas, content=content)


def paint_colon(canvas: shapes.Canvas, build: Build) -> None:
    """Paint the colon of the reference anatomy, with haustra, stool and gas."""
    rng = canvas.rng
    wide, deep = build.half_width_mm, build.half_depth_mm
    low = float(rng.normal(-46, 8))
    segments = [
        [(-130, 0.2 * deep, -0.72 * wide), (-80, 0.22 * deep, -0.74 * wide),
         (low + 6, 0.05 * deep, -0.68 * wide)],
        [(low + 6, 0.0, -0.66 * wide), (low - 4, -0.62 * deep, -0.42 * wide),
         (low - 12, -0.74 * deep, 0), (low + 14, -0.66 * deep, 0.42 * wide),
         (10, -0.25 * deep, 0.76 * wide)],
        [(16, 0.0, 0.8 * wide), (-20, 0.28 * deep, 0.82 * wide),
         (-130, 0.22 * deep, 0.8 * wide)],
    ]  # fmt: skip
    for points, radius in zip(segments, (21, 18, 14), strict=True):
        path = shapes.smooth_path(np.array(points) + rng.normal(0, 3, (len(points), 3)))
        tube = canvas.tube(path, radius * float(rng.uniform(0.8, 1.15)))
        if tube is None:
            continue
        box, depth = tube
        depth = depth + 2.2 * canvas.noise(box, 13.0)
        gas = canvas.noise(box, 34.0) + canvas.noise(box, 9.0) * 0.3
        gas = gas > rng.uniform(-0.2, 0.9)
        paint_gut(canvas, (box, depth), wall_mm=2.4, gas=gas)


def draw_loop(
    rng: np.random.Generator, centre: np.ndarray, size: np.ndarray, *, corners: int
) -> list[np.ndarray]:
    """Draw the corners (z, y, x) of a loop that wanders through a box, 26 mm apart.

    `centre` and `size`, half of the box's edges, are in mm; its walls turn the loop.
    """
    point, heading = rng.uniform(-1, 1, 3), rng.standard_normal(3)
    loop = []
    for _ in range(corners):
        loop.append(centre + size * point)
        heading = 0.6 * heading + 0.8 * rng.standard_normal(3)
        heading *= 26 / np.linalg.norm(heading * size)
        point = point + heading
        heading[np.abs(point) > 1] *= -1
        point = np.clip(point, -1, 1)
    return loop


def paint_small_bowel(canvas: shapes.Canvas, build: Build) -> None:
    """Paint loops of small bowel, some with gas, in the front of the mid-abdomen."""
    rng = canvas.rng
    wide, deep = build.half_width_mm, build.half_depth_mm
    size = np.array([60, 0.42 * deep, 0.6 * wide])
    centre = np.array([-54, -0.32 * deep, 0.08 * wide])
    for _ in range(30):
        points = draw_loop(rng, centre, size, corners=6)
        tube = canvas.tube(shapes.smooth_path(points, 3), rng.uniform(9, 13))
        if tube is None:
            continue
        box, depth = tube
        gas = canvas.noise(box, 20.0) > 1.5
        paint_gut(canvas, (box, depth - 0.5), wall_mm=2.2, gas=gas)

"""Colon and small bowel of the varied anatomy: empty, or with stool, liquid or gas."""

import numpy as np

from input_pipeline.phantom import bowel, shapes
from input_pipeline.phantom.build import Build

_FILLINGS = ("collapsed", "bowel_content", "fluid", "gas", "stool")


def paint_colon(canvas: shapes.Canvas, build: Build) -> None:
    """Paint the colon from caecum to sigmoid, each part filled in its own way."""
    rng = canvas.rng
    wide, deep = build.half_width_mm, build.half_depth_mm
    low = float(rng.normal(-50, 20))
    flexure = low + float(rng.uniform(4, 24))
    segments = [
        ([(-150, -0.15 * deep, -0.62 * wide), (-110, 0.1 * deep, -0.68 * wide),
          (flexure - 30, 0.2 * deep, -0.72 * wide),
          (flexure, 0.05 * deep, -0.68 * wide)], 21),
        ([(flexure, 0.0, -0.66 * wide), (low - 4, -0.6 * deep, -0.42 * wide),
          (low - 12, -0.72 * deep, 0), (low + 14, -0.64 * deep, 0.42 * wide),
          (12, -0.25 * deep, 0.76 * wide)], 17),
        ([(18, 0.0, 0.8 * wide), (-20, 0.28 * deep, 0.82 * wide),
          (-80, 0.25 * deep, 0.76 * wide), (-130, 0.0, 0.7 * wide)], 13),
        ([(-130, 0.0, 0.7 * wide), (-165, -0.25 * deep, 0.5 * wide),
          (-185, -0.1 * deep, 0.1 * wide), (-170, 0.1 * deep, -0.1 * wide),
          (-172, 0.35 * deep, 0.14 * wide)], 12),
    ]  # fmt: skip
    for points, radius in segments:
        path = np.array(points) + rng.normal(0, 5, (len(points), 3))
        path = shapes.smooth_path(path)
        filling = str(rng.choice(_FILLINGS, p=(0.2, 0.1, 0.08, 0.22, 0.4)))
        size = radius * float(rng.uniform(0.85, 1.25))
        if filling == "collapsed":
            size *= 0.55
        tube = canvas.tube(path, size)
        if tube is not None:
            box, depth = tube
            haustra = canvas.noise(box, 13.0) * min(2.2, 0.15 * size)
            _paint(canvas, build, (box, depth + haustra), filling, wall_mm=2.2)


def paint_small_bowel(canvas: shapes.Canvas, build: Build) -> None:
    """Paint loops of small bowel from the stomach to the pelvis."""
    rng = canvas.rng
    wide, deep = build.half_width_mm, build.half_depth_mm
    # Loops fill the room that fat leaves.
    loops = int(rng.integers(70, 130) * (1.15 - 0.5 * build.fatness))
    size = np.array([100, 0.5 * deep, 0.66 * wide])
    centre = np.array([-100, -0.3 * deep, 0.03 * wide])
    weights = rng.dirichlet((3.5, 4, 2, 1, 0.3))
    for _ in range(loops):
        points = bowel.draw_loop(rng, centre, size, corners=5)
        filling = str(rng.choice(_FILLINGS, p=weights))
        radius = rng.uniform(6, 9) if filling == "collapsed" else rng.uniform(8, 15)
        tube = canvas.tube(shapes.smooth_path(points, 2), radius)
        if tube is not None:
            _paint(canvas, build, tube, filling, wall_mm=float(rng.uniform(1.5, 2.5)))


def _paint(
    canvas: shapes.Canvas,
    build: Build,
    shape: shapes.Shape,
    filling: str,
    *,
    wall_mm: float,
) -> None:
    """Paint a part of the bowel with one of _FILLINGS, and gas where it collects."""
    box, depth = shape
    if filling == "collapsed":
        wall_mm = max(0.6 * float(depth.max()), wall_mm)
    rng = canvas.rng
    content = "bowel_content" if filling in ("collapsed", "gas") else filling
    if filling == "gas":
        gas = canvas.noise(box, 34.0) > rng.uniform(-1.5, -0.3)
    elif filling == "stool":
        # Bubbles, fewer in hard stool.
        gas = canvas.noise(box, 6.0) > rng.uniform(0.7, 2.2)
    else:
        gas = canvas.noise(box, 22.0) > rng.uniform(1.3, 3.0)
    bowel.paint_gut(canvas, shape, wall_mm=wall_mm, gas=gas, content=content)
    # Some fat between loops, even in thin people.
    gap = rng.uniform(-1.5, 1.5) + 1.5 * build.fatness
    canvas.reserved[box] |= depth > -gap

"""Spine, ribs and the muscles beside the spine."""

import numpy as np

from input_pipeline.phantom import shapes
from input_pipeline.phantom.build import BodyFrame, Build
from input_pipeline.phantom.tissues import LABELS

_SHELL_MM = 1.8


def paint_spine(
    canvas: shapes.Canvas,
    build: Build,
    *,
    shell_mm: float = _SHELL_MM,
    lowest_mm: float = -1e4,
) -> None:
    """Paint vertebral bodies with end plates, discs, canal, arches and processes.

    Args:
        shell_mm: thickness of cortical bone.
        lowest_mm: height of the lower end of the lumbar spine.
    """
    rng = canvas.rng
    spine = build.spine_mm
    box = canvas.box((lowest_mm, spine - 40, -55), (1e4, spine + 75, 55))
    if box is None:
        return
    z, y, x = canvas.coordinates(box)
    y = y - spine + 4 * np.cos((z + 60) / 60)  # lumbar lordosis
    period = float(rng.normal(33, 1.5))
    level = (z / period + rng.uniform()) % 1 * period
    disc_mm = float(rng.uniform(7, 9.5))
    half_depth, half_width = rng.normal(16.5, 1), rng.normal(22, 1.2)

    # Vertebral bodies are narrower between their end plates.
    waist = 1 - 0.08 * np.sin(np.pi * np.clip(level - disc_mm, 0, None) / period)
    radius = (
        np.abs(y / (half_depth * waist)) ** 2.4
        + np.abs(x / (half_width * waist)) ** 2.4
    ) ** (1 / 2.4)
    depth = (1 - radius) * half_depth
    from_plate = np.minimum(level - disc_mm, period - level)
    depth = np.where(z > lowest_mm, depth, -1)
    bone = (depth > 0) & (from_plate > 0)
    shell = np.minimum(depth, from_plate) < shell_mm
    canvas.paint(box, (depth > 0.5) & (from_plate <= 0), LABELS["disc"])
    canvas.paint(box, bone & shell, LABELS["cortical_bone"])
    canvas.paint(box, bone & ~shell, LABELS["marrow"])

    # The arch surrounds the canal; at the height of the disc there are only facets.
    behind = y - half_depth
    canal_mm = 8.5
    from_canal = np.hypot((behind - canal_mm) * 1.1, x) - canal_mm
    in_body = level - disc_mm > 0.1 * period
    arch_mm = np.where(behind > canal_mm, 6.5, 7.5)
    arch = np.minimum(from_canal, arch_mm - from_canal)
    arch = np.where(in_body & (behind > -1), arch, -1)
    facet = 6.5 - np.hypot(behind - 19, np.abs(x) - 15)
    process_end = behind - 2 * canal_mm
    tilted = level + 0.35 * np.clip(process_end, 0, None)
    spinous = np.minimum(3.6 - np.abs(x), np.minimum(process_end + 2, 27 - process_end))
    spinous = np.where((tilted > 0.4 * period) & (tilted < 1.05 * period), spinous, -1)
    transverse = np.minimum(
        4.2 - np.abs(behind - 7 - 0.12 * np.abs(x)),
        np.minimum(np.abs(x) - 12, 36 - np.abs(x)),
    )
    middle = np.abs(level - 0.62 * period) < 5.5
    transverse = np.where(middle, transverse, -1)
    posterior = np.maximum.reduce([arch, facet, spinous, transverse])
    posterior = np.where(z > lowest_mm, posterior, -1)
    canvas.paint(box, posterior > 0, LABELS["cortical_bone"])
    canvas.paint(box, posterior > shell_mm, LABELS["marrow"])
    canal = (from_canal < 0) & (behind > 0) & (z > lowest_mm)
    canvas.paint(box, canal, LABELS["spinal_canal"])


# Rib, height of its root in mm, angle of its end in radians from posterior.
_RIBS = ((12, 4, 0.95), (11, 33, 1.55), (10, 61, 2.25), (9, 89, 2.4), (8, 117, 2.5),
         (7, 145, 2.6))  # fmt: skip


def paint_ribs(canvas: shapes.Canvas, build: Build, frame: BodyFrame) -> None:
    """Paint ribs 12 to 7, marrow in a shell of bone, descending from the spine."""
    rng = canvas.rng
    shift = float(rng.normal(0, 4))
    turn = np.abs(frame.angle)
    # Ribs are in the inner part of the wall; at the back they rise to the spine.
    middle_mm = 5.5 + 7 * np.exp(-((turn / 0.45) ** 2))
    across = (frame.beyond_mm - middle_mm) / 3.7
    fall = 78 * np.sin(np.clip(turn - 0.2, 0, 2.4) * 0.62)
    for _, root_mm, reach in _RIBS:
        along = (canvas.z - (root_mm + shift - fall + rng.normal(0, 1))) * 0.8 / 6.3
        section = np.hypot(across, along)
        part = (turn > 0.24) & (turn < reach + rng.normal(0, 0.05))
        bone = part & (section < 1)
        canvas.labels[bone] = LABELS["cortical_bone"]
        canvas.labels[bone & (section < 0.6)] = LABELS["marrow"]


def paint_psoas(canvas: shapes.Canvas, build: Build) -> None:
    """Paint psoas, quadratus lumborum and the crura of the diaphragm."""
    rng = canvas.rng
    size = float(rng.uniform(0.85, 1.2))
    spine = build.spine_mm
    for side in (-1, 1):
        psoas = canvas.tube(
            [(20, spine + 8, side * 25), (-20, spine + 4, side * 33),
             (-60, spine, side * 42), (-120, spine - 8, side * 55)],
            np.array([5, 12, 18, 22]) * size,
        )  # fmt: skip
        quadratus = canvas.tube(
            [(15, spine + 24, side * 48), (-110, spine + 22, side * 66)],
            [6 * size, 12 * size],
        )
        crus = canvas.tube(
            [(70, spine - 26, side * 9), (20, spine - 22, side * 15),
             (-25, spine - 12, side * 22)],
            [3.5, 5, 3],
        )  # fmt: skip
        for shape in (psoas, quadratus, crus):
            if shape is None:
                continue
            box, depth = shape
            depth = depth + 0.8 * canvas.noise(box, 12.0)
            free = canvas.labels[box] == LABELS["visceral_fat"]
            canvas.paint(box, (depth > 0) & free, LABELS["muscle"])
